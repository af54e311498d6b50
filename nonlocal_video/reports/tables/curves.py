"""Curves over the steps: the mean of the seeds, and from the lowest to the highest of them.

Few lines share a panel. Where bands would cover one another each line has a panel of its own, in which the others are
grey. Where there are few steps, their points stand side by side, so that none hides another.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from nonlocal_video.reports.tables import looks
from nonlocal_video.reports.tables.looks import COLOURS, Look
from nonlocal_video.reports.tables.runs import Run

BANDS, BARS = 3, len(COLOURS)
"""Up to so many lines share a panel: with bands, and with bars beside each other."""
FEW_STEPS, MARKED_STEPS = 6, 20
"""Up to so many steps have their points side by side, with bars instead of bands; up to so many have markers."""
SPREAD, BESIDE = 0.5, 0.08
"""How much of the room between two steps the points of one step take at most, and how much each of them does."""
COLUMNS = (4, 3)
"""The number of panels side by side."""


class Values(NamedTuple):
    """A kind of values in the records of a run."""

    file: str
    """metrics.jsonl or validation.jsonl."""
    key: str
    words: str
    smoothed: float = 0.0
    """The share of the records that a value is the mean of."""

    def width(self, num_steps: int) -> int:
        """How many records a value is the mean of."""
        return max(1, round(self.smoothed * num_steps))


class Curve(NamedTuple):
    """The values that the runs of a line logged."""

    look: Look
    steps: np.ndarray
    """(N,) that all seeds have."""
    values: np.ndarray
    """(R, N), a row a seed."""


class Panel(NamedTuple):
    """The curves of one kind of values."""

    values: Values
    curves: list[Curve]

    @property
    def steps(self) -> list[int]:
        return sorted({int(step) for curve in self.curves for step in curve.steps})

    @property
    def few_steps(self) -> bool:
        return len(self.steps) <= FEW_STEPS


def curves_figure(lines: Sequence[Look], values: Sequence[Values], *, rows: str = "") -> Figure | None:
    """A figure of the lines that logged these values, None if none did; `rows` is the setting of their names."""
    panels = []
    for kind in values:
        curves = [Curve(look, *read_curves(look.line.runs, kind)) for look in lines]
        panels.append(Panel(kind, [curve for curve in curves if len(curve.steps)]))
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        return None
    several = any(len(curve.values) > 1 for panel in panels for curve in panel.curves)
    room = BARS if all(panel.few_steps for panel in panels) else BANDS
    apart = several and max(len(panel.curves) for panel in panels) > room
    return _apart(panels, rows) if apart else _together(panels, rows)


def read_curves(runs: Sequence[Run], values: Values) -> tuple[np.ndarray, np.ndarray]:
    """Steps (N,) that all runs have, and their values (R, N), each the mean of the last records, of fewer at first."""
    logged = [
        {int(record["step"]): record[values.key] for record in run.records(values.file) if values.key in record}
        for run in runs
    ]
    logged = [curve for curve in logged if curve]
    steps = sorted(set.intersection(*(set(curve) for curve in logged))) if logged else []
    sums = np.cumsum([[0.0, *(curve[step] for step in steps)] for curve in logged], axis=-1)
    ends = np.arange(1, len(steps) + 1)
    starts = np.maximum(0, ends - values.width(len(steps)))
    return np.array(steps), (sums[..., ends] - sums[..., starts]) / (ends - starts)


def _together(panels: Sequence[Panel], rows: str) -> Figure:
    """A panel a kind of values, with all lines; a legend at the right."""
    drawn = list({curve.look.line.name: curve.look for panel in panels for curve in panel.curves}.values())
    figure = looks.panels_figure(len(panels), len(drawn))
    for column, panel in enumerate(panels, start=1):
        axes, curves = figure.add_subplot(1, len(panels), column), panel.curves
        apart = min(np.diff(panel.steps), default=1) * min(SPREAD / len(curves), BESIDE) if panel.few_steps else 0.0
        for place, curve in enumerate(curves):
            look, steps = curve.look, curve.steps + (place - (len(curves) - 1) / 2) * apart
            axes.plot(
                steps, curve.values.mean(axis=0), color=look.colour, linestyle=look.dash, markersize=6,
                markerfacecolor="none", marker=look.marker if len(steps) <= MARKED_STEPS else "", label=look.line.name,
            )  # fmt: skip
            low, high = curve.values.min(axis=0), curve.values.max(axis=0)
            if len(curve.values) > 1 and panel.few_steps:
                axes.vlines(steps, low, high, color=look.colour, linewidth=1.3)
            elif len(curve.values) > 1:
                axes.fill_between(steps, low, high, color=look.colour, alpha=0.15, linewidth=0)
        _name_axes(axes, panel, panel.values.words)
        axes.set_xlabel("step", fontsize=9)
    looks.add_legend(figure, drawn, title=rows)
    looks.add_note(figure, _note(panels, bars=panels[0].few_steps))
    return figure


def _apart(panels: Sequence[Panel], rows: str) -> Figure:
    """For each kind of values a block of panels, one a line; in each the others are grey, its baseline is dashed."""
    most = max(len(panel.curves) for panel in panels)
    columns = min(COLUMNS, key=lambda number: (-(-most // number) * number, -number))  # Few empty places.
    high = -(-most // columns)
    figure = Figure(figsize=(2.7 * columns + 0.5, 2.1 * high * len(panels) + 0.5), layout="constrained", dpi=120)
    for block, panel in enumerate(panels):
        titles = looks.names_of([curve.look.line for curve in panel.curves], width=32)
        first = None
        for place, (curve, title) in enumerate(zip(panel.curves, titles, strict=True)):
            at_left, at_bottom = place % columns == 0, place + columns >= len(panel.curves)
            cell = block * high * columns + place + 1
            axes = figure.add_subplot(high * len(panels), columns, cell, sharex=first, sharey=first)
            first = first or axes
            _draw_one(axes, curve, panel.curves)
            axes.set_title(title, fontsize=9, parse_math=False)
            _name_axes(axes, panel, panel.values.words if at_left else "")
            axes.tick_params(labelsize=8, labelleft=at_left, labelbottom=at_bottom)
            if at_bottom:
                axes.set_xlabel("step", fontsize=9)
    dashed = any(curve.look.line.baseline is not None for panel in panels for curve in panel.curves)
    also = "; dashed: the row that it is compared with" if dashed else ""
    of = f"rows: {rows}; " if rows else ""
    looks.add_note(figure, f"{of}{_note(panels, bars=False)}{also}; grey: the other rows")
    return figure


def _draw_one(axes: Axes, curve: Curve, curves: Sequence[Curve]) -> None:
    line = curve.look.line
    for other in curves:
        if other is not curve:
            is_base = line.baseline is not None and other.look.line.name == line.baseline.name
            axes.plot(
                other.steps, other.values.mean(axis=0), color="0.3" if is_base else "0.8",
                linestyle="dashed" if is_base else "solid", linewidth=1.2 if is_base else 0.8,
                zorder=2 if is_base else 1,
            )  # fmt: skip
    marker = "o" if len(curve.steps) <= MARKED_STEPS else ""
    mean = curve.values.mean(axis=0)
    axes.plot(curve.steps, mean, color=COLOURS[0], marker=marker, markersize=4, zorder=3, label=line.name)
    if len(curve.values) > 1:
        low, high = curve.values.min(axis=0), curve.values.max(axis=0)
        axes.fill_between(curve.steps, low, high, color=COLOURS[0], alpha=0.25, linewidth=0, zorder=2.5)
        if len(curve.steps) == 1:
            axes.vlines(curve.steps, low, high, color=COLOURS[0], zorder=3)


def _name_axes(axes: Axes, panel: Panel, words: str) -> None:
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if panel.few_steps:  # There is nothing between them.
        axes.set_xticks(panel.steps)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    if len(panel.steps) == 1:
        axes.set_xlim(panel.steps[0] - 0.6, panel.steps[0] + 0.6)
    axes.set_ylabel(words, fontsize=9 if words else None)
    looks.tidy(axes)


def _note(panels: Sequence[Panel], *, bars: bool) -> str:
    """The meaning of lines and bands."""
    curves = [curve for panel in panels for curve in panel.curves]
    seeds = looks.shared_seeds([curve.look.line for curve in curves])
    if all(len(curve.values) == 1 for curve in curves):
        parts = [f"{seeds or 'one seed'} of each row"]
    else:
        parts = [f"mean of {seeds or 'the seeds'}; {'bars' if bars else 'bands'}: from the lowest to the highest seed"]
    if bars and len({curve.look.line.name for curve in curves}) > 1:
        parts.append("points of one step stand side by side")
    width = max(panel.values.width(len(curve.steps)) for panel in panels for curve in panel.curves)
    if width > 1:
        parts.append(f"each value is the mean of up to {width} records")
    return "; ".join(parts)
