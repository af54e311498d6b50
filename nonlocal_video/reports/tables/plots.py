"""The plots of a table: accuracy over the steps, training curves, accuracy against cost, and gains of classes."""

from collections.abc import Sequence
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nonlocal_video.reports.tables import looks
from nonlocal_video.reports.tables.curves import Values, curves_figure
from nonlocal_video.reports.tables.lines import ClassGain, TableLine, class_gains, measured
from nonlocal_video.reports.tables.looks import COLOURS, Look
from nonlocal_video.reports.tables.measures import measure_of, title_of
from nonlocal_video.reports.tables.sheet import PageFigure

NAMED = 20
"""Up to so many classes are all shown, of more the best and the worst."""
BESIDE = 0.02
"""The share of an axis by which points of one cost stand apart."""
SMOOTHED = 0.05
"""The share of the records of training that a smoothed value is the mean of."""


def draw(lines: Sequence[TableLine], *, metric: str, rows: str = "") -> list[PageFigure]:
    """All plots that these runs have something for; `rows` is the setting that the lines are named by, if they are."""
    drawn = looks.looks_of(lines)
    measure = measured(lines)
    logged = [Values("metrics.jsonl", key, words, SMOOTHED) for key, words in measure.logged.items()]
    validated = [Values("validation.jsonl", key, words) for key, words in measure.validated.items()]
    figures = [
        ("validation", measure.validation, curves_figure(drawn, validated, rows=rows)),
        ("training", "Training over the steps", curves_figure(drawn, logged, rows=rows)),
        ("cost", f"{measure.title} against FLOPs and parameters", cost_figure(drawn, metric, rows=rows)),
        ("classes", "What the classes gain over the baseline", classes_figure(lines, rows=rows)),
    ]
    return [PageFigure(name, title, looks.png_of(figure)) for name, title, figure in figures if figure is not None]


def cost_figure(lines: Sequence[Look], metric: str, *, rows: str = "") -> Figure | None:
    """Points: accuracy over FLOPs and over parameters; bars are the standard deviation over the seeds."""
    known = [
        (look, cost, reached)
        for look in lines
        if (cost := look.line.cost) is not None and (reached := look.line.accuracy(metric)) is not None
    ]
    if not known:
        return None
    figure, moved = looks.panels_figure(2, len(known)), False
    measure, billions = measure_of(metric), [cost.macs / 1e9 for _, cost, _ in known]
    millions = [getattr(cost, measure.size) / 1e6 for _, cost, _ in known]
    kinds = {f"GFLOPs of {measure.seen} (multiply-adds)": billions, "parameters (millions)": millions}
    for column, (words, costs) in enumerate(kinds.items(), start=1):
        axes, places = figure.add_subplot(1, 2, column), side_by_side(costs)
        moved = moved or places != costs
        for (look, _, reached), place in zip(known, places, strict=True):
            axes.errorbar(
                place, reached.mean, yerr=reached.deviation, color=look.colour, marker=look.marker, markersize=8,
                markerfacecolor="none", markeredgewidth=2, elinewidth=1.3, linestyle="none",
            )  # fmt: skip
        if len(set(costs)) == 1:
            axes.set_xticks(costs[:1])
            axes.set_xlim(0.95 * costs[0], 1.05 * costs[0])
        axes.margins(0.12)
        axes.set_xlabel(words)
        axes.set_ylabel(f"{title_of(metric)} (%)")
        looks.tidy(axes)
    looks.add_legend(figure, [look for look, _, _ in known], title=rows, points=True)
    bars = "; bars: standard deviation over the seeds" if any(len(look.line.runs) > 1 for look, _, _ in known) else ""
    beside = "; points of one cost stand side by side" if moved else ""
    looks.add_note(figure, f"{_seeds_note([look.line for look, _, _ in known])}{bars}{beside}")
    return figure


def side_by_side(costs: Sequence[float]) -> list[float]:
    """Places for points of these costs: those of one cost stand beside each other, so that none hides another."""
    reach = max(costs) - min(costs) or 0.2 * max(costs)
    places, groups = list(costs), dict[float, list[int]]()
    for i, cost in enumerate(costs):
        near = next((other for other in groups if abs(other - cost) < BESIDE * reach), cost)
        groups.setdefault(near, []).append(i)
    for members in groups.values():
        for number, i in enumerate(members):
            places[i] += (number - (len(members) - 1) / 2) * BESIDE * reach
    return places


def _seeds_note(lines: Sequence[TableLine]) -> str:
    seeds = looks.shared_seeds(lines)
    if all(len(line.runs) == 1 for line in lines):
        return f"{seeds or 'one seed'} of each row"
    return f"mean of {seeds or 'the seeds of each row'}"


def classes_figure(lines: Sequence[TableLine], *, rows: str = "") -> Figure | None:
    """Bars: the gains of classes over the baseline, a panel a line; 20 classes at most, the best and the worst."""
    shown = [(line, _extremes(gains)) for line in lines if (gains := class_gains(line))]
    if not shown:
        return None
    baselines = {line.baseline.name for line, _ in shown if line.baseline}
    over = f"{rows} {baselines.pop()}".strip() if len(baselines) == 1 else "the baseline"
    columns = min(3, len(shown))
    high = -(-len(shown) // columns)
    names = [[gain.name for gain in gains] for _, gains in shown]
    size = (1.5 + 4.2 * columns, high * (1.2 + 0.24 * max(map(len, names))))
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    reach = 1.08 * max(1.0, *(abs(gain.percent) for _, gains in shown for gain in gains))
    for place, (line, gains) in enumerate(shown):
        axes = figure.add_subplot(high, columns, place + 1)
        axes.set_xlim(-reach, reach)
        named = place % columns == 0 or any(others != names[0] for others in names)
        _draw_gains(axes, line.name, gains, named=named)
    seeds = _seeds_note([line for line, _ in shown])
    looks.add_note(figure, f"gain over {over} in {measured(lines).of_class}; {seeds}")
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
    looks.tidy(axes)


def _extremes(gains: Sequence[ClassGain]) -> list[ClassGain]:
    """All in the order of the classes, or of many the best, then the worst, in the order of their gains."""
    if len(gains) <= NAMED:
        return list(gains)
    ordered = sorted(gains, key=lambda gain: -gain.percent)
    return ordered[: NAMED // 2] + ordered[-NAMED // 2 :]
