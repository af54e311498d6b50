"""Small pieces of the pages that people read."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def number(value: float | None) -> str:
    """Percent; empty if it is not known."""
    return "" if value is None else f"{value:.2f}"


def interval(ends: Sequence[float] | None) -> str:
    """Its two ends; empty if they are not known."""
    return "" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"


def class_name(label: int, name: str | None) -> str:
    """The number of a class without a name."""
    return str(label) if name is None else name
