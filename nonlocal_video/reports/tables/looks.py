"""The looks that all plots of a table share: how a line is drawn in each, legends, and the notes below."""

import io
from collections.abc import Sequence
from textwrap import wrap
from typing import Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nonlocal_video.reports.tables.cells import seeds_words
from nonlocal_video.reports.tables.lines import TableLine

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind people can tell apart, without the yellow, which is too light for lines."""
DASHES: tuple[Literal["solid", "dashed", "dashdot", "dotted"], ...] = ("solid", "dashed", "dashdot", "dotted")
MARKERS = ("o", "s", "^", "D", "v")
"""Lines that lie on each other are still seen, and colours that come again have others."""


class Look(NamedTuple):
    """How a line is drawn in every plot."""

    line: TableLine
    colour: str
    dash: Literal["solid", "dashed", "dashdot", "dotted"]
    marker: str


def looks_of(lines: Sequence[TableLine]) -> list[Look]:
    """The looks of the lines that have runs."""
    return [
        Look(line, COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)])
        for i, line in enumerate(line for line in lines if line.runs)
    ]


def shared_seeds(lines: Sequence[TableLine]) -> str | None:
    """The seeds in words if all lines have the same ones."""
    words = {seeds_words(line.runs) for line in lines}
    return words.pop() if len(words) == 1 else None


def names_of(lines: Sequence[TableLine], *, width: int) -> list[str]:
    """The names for legends and titles, in lines of so many characters; with the seeds where these are not the same."""
    alike = shared_seeds(lines) is not None
    seeds = [seeds_words(line.runs) for line in lines]
    said = [
        line.name if alike or words in line.name else f"{line.name} ({words})"
        for line, words in zip(lines, seeds, strict=True)
    ]
    return ["\n".join(wrap(name, width)) for name in said]


def panels_figure(number: int, num_lines: int) -> Figure:
    """A figure of panels side by side, with room for the legend at the right."""
    return Figure(figsize=(4.8 * number + 2.6, max(3.8, 0.8 + 0.23 * num_lines)), layout="constrained", dpi=120)


def add_legend(figure: Figure, looks: Sequence[Look], *, title: str, points: bool = False) -> None:
    """Adds a legend at the right of the panels, in the order of the table."""
    handles = [
        Line2D(
            [], [], color=look.colour, marker=look.marker, markersize=7 if points else 5, markerfacecolor="none",
            linestyle="none" if points else look.dash,
        )
        for look in looks
    ]  # fmt: skip
    names = names_of([look.line for look in looks], width=34)
    legend = figure.legend(
        handles, names, title=title or None, title_fontsize=9, handlelength=3, loc="outside right upper",
        frameon=False, fontsize=9,
    )  # fmt: skip
    for text in (legend.get_title(), *legend.get_texts()):
        text.set_parse_math(False)


def add_note(figure: Figure, text: str) -> None:
    """Says below the panels what lines, bands and bars are."""
    width = int(figure.get_figwidth() * 15)
    figure.supxlabel("\n".join(wrap(text, width)), fontsize=8, color="0.3", parse_math=False)


def tidy(axes: Axes) -> None:
    """A light grid behind, and no frame at the top and at the right."""
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def png_of(figure: Figure) -> bytes:
    """The figure as a file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getvalue()
