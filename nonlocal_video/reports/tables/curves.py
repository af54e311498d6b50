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

from nonlocal_video.reports.tables.looks import (
    COLOURS,
    Look,
    add_legend,
    add_note,
    names_of,
    panels,
    shared_seeds,
    tidy,
)
from nonlocal_video.reports.tables.runs import Run

BANDS = 3
"""Up to so many lines with bands share a panel."""
BARS = len(COLOURS)
"""Up to so many lines with bars beside each other share one."""
FEW_STEPS = 6
"""Up to so many steps have their points side by side, with bars instead of bands."""
MARKED_STEPS = 20
"""Up to so many have markers."""
SPREAD, BESIDE = 0.5, 0.08
"""How much of the room between two steps the points of one step take at most, and how much each of them does."""
COLUMNS = (4, 3)
"""So many panels stand side by side."""


class Values(NamedTuple):
    """What of the records of a run is drawn."""

    file: str
    """metrics.jsonl or validation.jsonl."""
    key: str
    words: str
    """At the axis."""
    smoothed: float = 0.0
    """The share of the records that a value is the mean of."""


class Curve(NamedTuple):
    """What the runs of a line logged."""

    look: Look
    steps: np.ndarray
    """(N,) that all seeds have."""
    values: np.ndarray
    """(R, N), a row a seed."""

    @property
    def mean(self) -> np.ndarray:
        return np.asarray(self.values.mean(axis=0))


def curves_figure(looks: Sequence[Look], values: Sequence[Values], *, rows: str = "") -> Figure | None:
    """A figure of the lines that logged these values; None if none did.

    Args:
        rows: the setting whose values the lines are named by, if they are.
    """
    logged = [(one, curves) for one in values if (curves := _curves(looks, one))]
    if not logged:
        return None
    shown, drawn = (list(side) for side in zip(*logged, strict=True))
    several = any(len(curve.values) > 1 for curves in drawn for curve in curves)
    room = BARS if all(_few_steps(curves) for curves in drawn) else BANDS
    if several and max(map(len, drawn)) > room:
        return _apart(drawn, shown, rows)
    return _together(drawn, shown, rows)


def _curves(looks: Sequence[Look], values: Values) -> list[Curve]:
    found = [Curve(look, *read_curves(look.line.runs, values)) for look in looks]
    return [curve for curve in found if len(curve.steps)]


def read_curves(runs: Sequence[Run], values: Values) -> tuple[np.ndarray, np.ndarray]:
    """Steps (N,) that all runs have, and their values (R, N)."""
    curves = [
        {int(one["step"]): one[values.key] for one in run.records(values.file) if values.key in one} for run in runs
    ]
    curves = [curve for curve in curves if curve]
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    read = np.array([[curve[step] for step in steps] for curve in curves])
    return np.array(steps), np.array([_smooth(curve, _width(values, len(steps))) for curve in read])


def _width(values: Values, num_steps: int) -> int:
    return max(1, round(values.smoothed * num_steps))


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of the last `width` values, of fewer at the beginning."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return (sums[ends] - sums[starts]) / (ends - starts)


# In one panel


def _together(drawn: Sequence[Sequence[Curve]], values: Sequence[Values], rows: str) -> Figure:
    """A panel a value, with all lines; a legend at the right."""
    looks = list({curve.look.line.name: curve.look for curves in drawn for curve in curves}.values())
    figure = panels(len(drawn), len(looks))
    for column, (curves, one) in enumerate(zip(drawn, values, strict=True), start=1):
        axes = figure.add_subplot(1, len(drawn), column)
        few = _few_steps(curves)
        for curve, offset in zip(curves, _offsets(curves) if few else np.zeros(len(curves)), strict=True):
            _draw(axes, curve, offset, bars=few)
        _name_axes(axes, curves, one.words)
        axes.set_xlabel("step", fontsize=9)
    add_legend(figure, looks, title=rows)
    add_note(figure, _note(drawn, values, bars=_few_steps(drawn[0])))
    return figure


def _draw(axes: Axes, curve: Curve, offset: float, *, bars: bool) -> None:
    look, steps, mean = curve.look, curve.steps + offset, curve.mean
    marker = look.marker if len(steps) <= MARKED_STEPS else ""
    axes.plot(
        steps, mean, color=look.colour, linestyle=look.dash, marker=marker, markersize=6, markerfacecolor="none",
        label=look.line.name,
    )  # fmt: skip
    if len(curve.values) < 2:
        return
    low, high = curve.values.min(axis=0), curve.values.max(axis=0)
    if bars:
        axes.vlines(steps, low, high, color=look.colour, linewidth=1.3)
    else:
        axes.fill_between(steps, low, high, color=look.colour, alpha=0.15, linewidth=0)


def _few_steps(curves: Sequence[Curve]) -> bool:
    return len(_steps(curves)) <= FEW_STEPS


def _steps(curves: Sequence[Curve]) -> list[int]:
    return sorted({int(step) for curve in curves for step in curve.steps})


def _offsets(curves: Sequence[Curve]) -> np.ndarray:
    """How far each line's points are moved along the axis."""
    steps = _steps(curves)
    apart = min(np.diff(steps), default=1) * min(SPREAD / len(curves), BESIDE)
    return (np.arange(len(curves)) - (len(curves) - 1) / 2) * apart


# A panel a line


def _apart(drawn: Sequence[Sequence[Curve]], values: Sequence[Values], rows: str) -> Figure:
    """For each value a block of panels, one a line; in each the others are grey, and its baseline is dashed."""
    most = max(map(len, drawn))
    columns = min(COLUMNS, key=lambda number: (-(-most // number) * number, -number))  # Few empty places.
    high = -(-most // columns)
    figure = Figure(figsize=(2.7 * columns + 0.5, 2.1 * high * len(drawn) + 0.5), layout="constrained", dpi=120)
    for block, (curves, one) in enumerate(zip(drawn, values, strict=True)):
        titles = names_of([curve.look.line for curve in curves], width=32)
        first = None
        for place, (curve, title) in enumerate(zip(curves, titles, strict=True)):
            cell = block * high * columns + place + 1
            axes = figure.add_subplot(high * len(drawn), columns, cell, sharex=first, sharey=first)
            first = first or axes
            _draw_one(axes, curve, curves)
            axes.set_title(title, fontsize=9, parse_math=False)
            _name_axes(axes, curves, one.words if place % columns == 0 else "")
            axes.tick_params(labelsize=8, labelleft=place % columns == 0, labelbottom=place + columns >= len(curves))
            if place + columns >= len(curves):
                axes.set_xlabel("step", fontsize=9)
    dashed = any(curve.look.line.baseline is not None for curves in drawn for curve in curves)
    also = "; dashed: the row that it is compared with" if dashed else ""
    of = f"rows: {rows}; " if rows else ""
    add_note(figure, f"{of}{_note(drawn, values, bars=False)}{also}; grey: the other rows")
    return figure


def _draw_one(axes: Axes, curve: Curve, curves: Sequence[Curve]) -> None:
    baseline = curve.look.line.baseline
    for other in curves:
        if other is curve:
            continue
        is_base = baseline is not None and other.look.line.name == baseline.name
        axes.plot(
            other.steps, other.mean, color="0.3" if is_base else "0.8", linestyle="dashed" if is_base else "solid",
            linewidth=1.2 if is_base else 0.8, zorder=2 if is_base else 1,
        )  # fmt: skip
    marker = "o" if len(curve.steps) <= MARKED_STEPS else ""
    label = curve.look.line.name
    axes.plot(curve.steps, curve.mean, color=COLOURS[0], marker=marker, markersize=4, zorder=3, label=label)
    if len(curve.values) > 1:
        low, high = curve.values.min(axis=0), curve.values.max(axis=0)
        axes.fill_between(curve.steps, low, high, color=COLOURS[0], alpha=0.25, linewidth=0, zorder=2.5)
        if len(curve.steps) == 1:
            axes.vlines(curve.steps, low, high, color=COLOURS[0], zorder=3)


def _name_axes(axes: Axes, curves: Sequence[Curve], words: str) -> None:
    steps = _steps(curves)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if len(steps) <= FEW_STEPS:  # There is nothing between them.
        axes.set_xticks(steps)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    if len(steps) == 1:
        axes.set_xlim(steps[0] - 0.6, steps[0] + 0.6)
    axes.set_ylabel(words, fontsize=9 if words else None)
    tidy(axes)


def _note(drawn: Sequence[Sequence[Curve]], values: Sequence[Values], *, bars: bool) -> str:
    """What lines and bands are of."""
    curves = [curve for one in drawn for curve in one]
    seeds = shared_seeds([curve.look.line for curve in curves])
    if all(len(curve.values) == 1 for curve in curves):
        parts = [f"{seeds} of each row" if seeds else "one seed of each row"]
    else:
        band = "bars" if bars else "bands"
        parts = [f"mean of {seeds or 'the seeds'}; {band}: from the lowest to the highest seed"]
    if bars and len({curve.look.line.name for curve in curves}) > 1:
        parts.append("points of one step stand side by side")
    widths = [_width(one, len(curve.steps)) for one, ours in zip(values, drawn, strict=True) for curve in ours]
    if max(widths) > 1:
        parts.append(f"each value is the mean of up to {max(widths)} records")
    return "; ".join(parts)
