"""The plots of a table: accuracy over the steps, training curves, accuracy against cost, and what classes gain."""

from collections.abc import Sequence
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nonlocal_video.reports.tables.cells import title_of
from nonlocal_video.reports.tables.curves import Values, curves_figure
from nonlocal_video.reports.tables.lines import ClassGain, Line, class_gains
from nonlocal_video.reports.tables.looks import (
    COLOURS,
    Look,
    add_legend,
    add_note,
    looks_of,
    panels,
    png_of,
    shared_seeds,
    tidy,
)
from nonlocal_video.reports.tables.sheet import Picture

NAMED = 20
"""Up to so many classes are all shown, of more the best and the worst."""
BESIDE = 0.02
"""The share of an axis by which points of one cost stand apart."""
GAIN_OF_VIDEOS = "top-1 (percent of the class's videos)"
SMOOTHED = 0.05
"""The share of the records of training that a smoothed value is the mean of."""


def draw(lines: Sequence[Line], *, metric: str, rows: str = "") -> list[Picture]:
    """All plots that these runs have something for.

    Args:
        rows: the setting whose values the lines are named by, if they are.
    """
    looks = looks_of(lines)
    several = any(run.report.get("multi_label") for look in looks for run in look.line.runs)
    key, words = ("clip_map", "single-clip mAP (%)") if several else ("clip_top1", "single-clip top-1 (%)")
    right = "training hit@1 (%)" if several else "training top-1 (%)"
    trained = [
        Values("metrics.jsonl", key, words, SMOOTHED) for key, words in (("top1", right), ("loss", "training loss"))
    ]
    figures = [
        (
            "validation",
            "Single-clip validation over the steps",
            curves_figure(looks, [Values("validation.jsonl", key, words)], rows=rows),
        ),
        ("training", "Training over the steps", curves_figure(looks, trained, rows=rows)),
        ("cost", "Accuracy against FLOPs and parameters", cost_figure(looks, metric, rows=rows)),
        (
            "classes",
            "What the classes gain over the baseline",
            classes_figure([line for line in lines if line.baseline], rows=rows),
        ),
    ]
    return [Picture(name, title, png_of(figure)) for name, title, figure in figures if figure is not None]


def cost_figure(looks: Sequence[Look], metric: str, *, rows: str = "") -> Figure | None:
    """Points: accuracy over FLOPs and over parameters; bars are the standard deviation over the seeds."""
    known = [look for look in looks if look.line.cost is not None and look.line.accuracy(metric) is not None]
    if not known:
        return None
    figure, moved = panels(2, len(known)), False
    for column, (words, field, unit) in enumerate(
        [("GFLOPs of a clip (multiply-adds)", "macs", 1e9), ("parameters (millions)", "weights", 1e6)], start=1
    ):
        axes = figure.add_subplot(1, 2, column)
        costs = [getattr(look.line.cost, field) / unit for look in known]
        places = side_by_side(costs)
        moved = moved or places != costs
        for look, place in zip(known, places, strict=True):
            reached = look.line.accuracy(metric)
            assert reached is not None, "only lines with an accuracy are known"
            axes.errorbar(
                place, reached.mean, yerr=reached.deviation, color=look.colour,
                marker=look.marker, markersize=8, markerfacecolor="none", markeredgewidth=2, elinewidth=1.3,
                linestyle="none",
            )  # fmt: skip
        if len(set(costs)) == 1:
            axes.set_xticks(costs[:1])
            axes.set_xlim(0.95 * costs[0], 1.05 * costs[0])
        axes.margins(0.12)
        axes.set_xlabel(words)
        axes.set_ylabel(f"{title_of(metric)} (%)")
        tidy(axes)
    add_legend(figure, known, title=rows, points=True)
    bars = "; bars: standard deviation over the seeds" if any(len(look.line.runs) > 1 for look in known) else ""
    beside = "; points of one cost stand side by side" if moved else ""
    add_note(figure, f"{_seeds_note([look.line for look in known])}{bars}{beside}")
    return figure


def side_by_side(costs: Sequence[float]) -> list[float]:
    """Places for points of these costs: those of one cost stand beside each other, so that none hides another."""
    reach = max(costs) - min(costs) or 0.2 * max(costs)
    places, groups = list(costs), dict[float, list[int]]()
    for i, cost in enumerate(costs):
        near = next((one for one in groups if abs(one - cost) < BESIDE * reach), cost)
        groups.setdefault(near, []).append(i)
    for members in groups.values():
        for number, i in enumerate(members):
            places[i] += (number - (len(members) - 1) / 2) * BESIDE * reach
    return places


def _seeds_note(lines: Sequence[Line]) -> str:
    seeds = shared_seeds(lines)
    if all(len(line.runs) == 1 for line in lines):
        return f"{seeds} of each row" if seeds else "one seed of each row"
    return f"mean of {seeds or 'the seeds of each row'}"


def classes_figure(lines: Sequence[Line], *, rows: str = "") -> Figure | None:
    """Bars: what the classes gain over the baseline, a panel a line; 20 classes at most, the best and the worst."""
    shown = [(line, _extremes(gains)) for line in lines if (gains := class_gains(line))]
    if not shown:
        return None
    several = any(run.report.get("multi_label") for line, _ in shown for run in line.runs)
    baselines = {line.baseline.name for line, _ in shown if line.baseline}
    over = f"{rows} {baselines.pop()}".strip() if len(baselines) == 1 else "the baseline"
    words = f"gain over {over} in {'average precision (%)' if several else GAIN_OF_VIDEOS}"
    columns = min(3, len(shown))
    high = -(-len(shown) // columns)
    names = [[gain.name for gain in gains] for _, gains in shown]
    alike = all(one == names[0] for one in names)
    figure = Figure(
        figsize=(1.5 + 4.2 * columns, high * (1.2 + 0.24 * max(map(len, names)))), layout="constrained", dpi=120
    )
    reach = 1.08 * max(1.0, *(abs(gain.percent) for _, gains in shown for gain in gains))
    for place, (line, gains) in enumerate(shown):
        axes = figure.add_subplot(high, columns, place + 1)
        axes.set_xlim(-reach, reach)
        _draw_gains(axes, line.name, gains, named=not alike or place % columns == 0)
    add_note(figure, f"{words}; {_seeds_note([line for line, _ in shown])}")
    return figure


def _draw_gains(axes: Axes, name: str, gains: Sequence[ClassGain], *, named: bool) -> None:
    colours = [COLOURS[0] if gain.percent >= 0 else COLOURS[1] for gain in gains]
    axes.barh(range(len(gains)), [gain.percent for gain in gains], color=colours, height=0.7)
    axes.axvline(0, color="0.3", linewidth=0.8)
    names = [gain.name if named else "" for gain in gains]
    axes.set_yticks(range(len(gains)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(gains) - 0.4, -0.6)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title("\n".join(wrap(name, 44)), fontsize=9, parse_math=False)
    tidy(axes)


def _extremes(gains: Sequence[ClassGain]) -> list[ClassGain]:
    """All in the order of the classes, or of many the best, then the worst, in the order of their gains."""
    if len(gains) <= NAMED:
        return list(gains)
    ordered = sorted(gains, key=lambda gain: -gain.percent)
    return ordered[: NAMED // 2] + ordered[-NAMED // 2 :]
