"""The plots of a table: accuracy over the steps, training curves, accuracy against cost, and what classes gain."""

import io
from collections.abc import Sequence
from textwrap import wrap
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from nonlocal_video.reports.cells import title_of
from nonlocal_video.reports.lines import ClassGain, Line, class_gains
from nonlocal_video.reports.runs import Run
from nonlocal_video.reports.tables import Picture

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind people can tell apart, without the yellow, which is too light for lines."""
DASHES: tuple[Literal["solid", "dashed", "dashdot", "dotted"], ...] = ("solid", "dashed", "dashdot", "dotted")
MARKERS = ("o", "s", "^", "D", "v")
"""Lines that lie on each other are still seen, and colours that come again have others."""
NAMED = 20
"""Up to so many classes are all shown, of more the best and the worst."""
GAIN_OF_VIDEOS = "top-1 (percent of the class's videos)"
SMOOTHED = 0.05
"""The share of the records that a smoothed value is the mean of."""


class Look(NamedTuple):
    """How a line is drawn in every plot."""

    line: Line
    colour: str
    dash: Literal["solid", "dashed", "dashdot", "dotted"]
    marker: str


def draw(lines: Sequence[Line], *, metric: str) -> list[Picture]:
    """All plots that these runs have something for."""
    looks = [
        Look(line, COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)])
        for i, line in enumerate(line for line in lines if line.runs)
    ]
    several = any(run.report.get("multi_label") for look in looks for run in look.line.runs)
    validated = ("clip_map", "single-clip mAP (%)") if several else ("clip_top1", "single-clip top-1 (%)")
    trained = ("top1", "training hit@1 (%)" if several else "training top-1 (%)")
    pictures = [
        _over_steps(looks, "validation", "Single-clip validation over the steps", [validated]),
        _over_steps(looks, "training", "Training over the steps", [trained, ("loss", "training loss")]),
        _against_cost(looks, metric),
        _classes([line for line in lines if line.baseline is not None]),
    ]
    return [picture for picture in pictures if picture is not None]


def _over_steps(looks: Sequence[Look], name: str, title: str, values: Sequence[tuple[str, str]]) -> Picture | None:
    """Curves: the mean of the seeds, and a band from the lowest to the highest of them."""
    file, smoothed = {"validation": ("validation.jsonl", 0.0), "training": ("metrics.jsonl", SMOOTHED)}[name]
    figure = _figure(len(values), len(looks))
    drawn = False
    for column, (key, words) in enumerate(values, start=1):
        axes = figure.add_subplot(1, len(values), column)
        for look in looks:
            steps, curves = _curves(look.line.runs, file, key, smoothed=smoothed)
            if not len(steps):
                continue
            drawn = True
            marker = look.marker if len(steps) <= 20 else ""
            axes.plot(steps, curves.mean(axis=0), color=look.colour, linestyle=look.dash, marker=marker, markersize=4)
            if len(curves) > 1:
                axes.fill_between(
                    steps, curves.min(axis=0), curves.max(axis=0), color=look.colour, alpha=0.12, linewidth=0
                )
        axes.set_xlabel("step")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_ylabel(words)
        _tidy(axes)
    _legend(figure, looks)
    return Picture(name, title, _png(figure)) if drawn else None


def _curves(runs: Sequence[Run], file: str, key: str, *, smoothed: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps (N,) that all runs have, and their values (R, N)."""
    curves = [{int(one["step"]): one[key] for one in run.records(file) if key in one} for run in runs]
    curves = [curve for curve in curves if curve]
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    values = np.array([[curve[step] for step in steps] for curve in curves])
    width = max(1, round(smoothed * len(steps)))
    return np.array(steps), np.array([_smooth(curve, width) for curve in values])


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of the last `width` values, of fewer at the beginning."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _against_cost(looks: Sequence[Look], metric: str) -> Picture | None:
    """Points: accuracy over FLOPs and over parameters; bars are the standard deviation over the seeds."""
    known = [look for look in looks if look.line.cost is not None and look.line.accuracy(metric) is not None]
    if not known:
        return None
    figure = _figure(2, len(known))
    for column, (words, field, unit) in enumerate(
        [("GFLOPs of a clip (multiply-adds)", "macs", 1e9), ("parameters (millions)", "weights", 1e6)], start=1
    ):
        axes = figure.add_subplot(1, 2, column)
        for look in known:
            reached = look.line.accuracy(metric)
            assert reached is not None, "only lines with an accuracy are known"
            axes.errorbar(
                getattr(look.line.cost, field) / unit, reached.mean, yerr=reached.deviation, color=look.colour,
                marker=look.marker, markersize=8, markerfacecolor="none", markeredgewidth=2, elinewidth=1.3,
                linestyle="none",
            )  # fmt: skip
        axes.margins(0.12)
        axes.set_xlabel(words)
        axes.set_ylabel(f"{title_of(metric)} (%)")
        _tidy(axes)
    _legend(figure, known, points=True)
    return Picture("cost", "Accuracy against FLOPs and parameters", _png(figure))


def _classes(lines: Sequence[Line]) -> Picture | None:
    """Bars: what the classes gain over the baseline, a panel a line; 20 classes at most, the best and the worst."""
    panels = [(line, _extremes(gains)) for line in lines if (gains := class_gains(line))]
    if not panels:
        return None
    several = any(run.report.get("multi_label") for line, _ in panels for run in line.runs)
    words = f"gain over the baseline in {'average precision (%)' if several else GAIN_OF_VIDEOS}"
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    names = [[gain.name for gain in gains] for _, gains in panels]
    alike = all(one == names[0] for one in names)
    figure = Figure(
        figsize=(1.5 + 4.2 * columns, rows * (1.2 + 0.24 * max(map(len, names)))), layout="constrained", dpi=120
    )
    reach = 1.08 * max(1.0, *(abs(gain.percent) for _, gains in panels for gain in gains))
    for place, (line, gains) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.set_xlim(-reach, reach)
        _draw_gains(axes, line.name, gains, named=not alike or place % columns == 0)
    figure.supxlabel(words, fontsize=9)
    return Picture("classes", "What the classes gain over the baseline", _png(figure))


def _draw_gains(axes: Axes, name: str, gains: Sequence[ClassGain], *, named: bool) -> None:
    colours = [COLOURS[0] if gain.percent >= 0 else COLOURS[1] for gain in gains]
    axes.barh(range(len(gains)), [gain.percent for gain in gains], color=colours, height=0.7)
    axes.axvline(0, color="0.3", linewidth=0.8)
    names = [gain.name if named else "" for gain in gains]
    axes.set_yticks(range(len(gains)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(gains) - 0.4, -0.6)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title("\n".join(wrap(name, 44)), fontsize=9, parse_math=False)
    _tidy(axes)


def _extremes(gains: Sequence[ClassGain]) -> list[ClassGain]:
    """All in the order of the classes, or of many the best, then the worst, in the order of their gains."""
    if len(gains) <= NAMED:
        return list(gains)
    ordered = sorted(gains, key=lambda gain: -gain.percent)
    return ordered[: NAMED // 2] + ordered[-NAMED // 2 :]


def _figure(panels: int, num_lines: int) -> Figure:
    """Panels side by side, with room for the legend at the right."""
    return Figure(figsize=(4.8 * panels + 2.6, max(3.8, 0.8 + 0.23 * num_lines)), layout="constrained", dpi=120)


def _legend(figure: Figure, looks: Sequence[Look], *, points: bool = False) -> None:
    """At the right of the panels, in the order of the table."""
    handles = []
    for look in looks:
        if points:
            handle = Line2D([], [], color=look.colour, marker=look.marker, markerfacecolor="none", markeredgewidth=2)
            handle.set_linestyle("none")
        else:
            handle = Line2D([], [], color=look.colour, marker=look.marker, markersize=4, linestyle=look.dash)
        handles.append(handle)
    names = ["\n".join(wrap(look.line.name, 34)) for look in looks]
    legend = figure.legend(handles, names, handlelength=3, loc="outside right upper", frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _tidy(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getvalue()
