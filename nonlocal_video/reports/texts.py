"""Tables, cells and files as all reports write them."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from nonlocal_video.system.files import whole_file


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, texts: Collection[int] = (0,), form: str = "pipe"
) -> str:
    """A table in Markdown (`pipe`) or another form of tabulate's; columns of `texts` are left-aligned, others right."""
    sides = ["left" if column in texts else "right" for column in range(len(header))]
    if form == "pipe":
        header, *rows = ([cell.replace("|", "\\|") for cell in line] for line in (header, *rows))
    return tabulate(rows, header, tablefmt=form, disable_numparse=True, colalign=sides if rows else None)


def number(value: float | None) -> str:
    """Percent; empty if it is not known."""
    return "" if value is None else f"{value:.2f}"


def interval(ends: Sequence[float] | None) -> str:
    """`1.00 to 2.00`; empty if the ends are not known."""
    return "" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"


def class_name(label: int, name: str | None) -> str:
    """The number of a class without a name."""
    return str(label) if name is None else name


def classes_table(classes: Sequence[Mapping[str, Any]], *, key: str, words: str) -> str:
    """Classes with their videos and a percentage, its key and the words for it."""
    rows = [[class_name(c["class"], c["name"]), str(c["videos"]), number(c[key])] for c in classes]
    return table(["class", "videos", words], rows)


def csv_text(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Comma-separated values; None is empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def write_text(path: Path, text: str) -> None:
    """Writes a whole file, in UTF-8; names of files that are none come out as the bytes that they are."""
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
