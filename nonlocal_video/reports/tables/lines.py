"""A line of a table: runs that differ in their seed only, what they reach, and what they gain over other runs."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import torch
from torch import Tensor

from nonlocal_video.metrics.average_precision import map_difference_interval, mean_ap
from nonlocal_video.metrics.intervals import MeanDifference, mean_difference
from nonlocal_video.models.complexity import Cost
from nonlocal_video.reports.tables.measures import LABEL, OBJECTS, Measure, main_metrics, measure_of_report
from nonlocal_video.reports.tables.runs import Run, Scored


class Spread(NamedTuple):
    """How a number varies over seeds."""

    mean: float
    deviation: float | None
    """The standard deviation; None of a single seed."""
    seeds: int

    def __format__(self, sign: str) -> str:
        """`71.0 ± 1.4`, of a difference (`+`) `+1.0 ± 1.4`."""
        return f"{self.mean:{sign}.1f}" + ("" if self.deviation is None else f" ± {self.deviation:.1f}")


def spread(values: Sequence[float]) -> Spread:
    """The spread of one value or more."""
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class TableLine:
    """Runs that differ in their seed only, in the order of the seeds; none if nobody ran them."""

    name: str
    runs: tuple[Run, ...] = ()
    cost: Cost | None = None
    baseline: "TableLine | None" = None

    def accuracy(self, metric: str) -> Spread | None:
        """The percents of the seeds; None if nothing was run, or the metric is not known."""
        values = [value for run in self.runs if (value := run.value(metric)) is not None]
        return spread(values) if values else None


def measured(lines: Iterable[TableLine]) -> Measure:
    """The measure of the tests of a table."""
    return next((measure_of_report(run.report) for line in lines for run in line.runs), LABEL)


def by_seed(name: str, runs: Sequence[Run], *, what: str) -> tuple[Run, ...]:
    """The runs of one line by their seeds. Raises ValueError where two have one seed: which of them should count?"""
    ordered = sorted(runs, key=lambda run: run.seed)
    for run, following in pairwise(ordered):
        if run.seed == following.seed:
            raise ValueError(
                f"{what} {name}, seed {run.seed}: has two tests, {run.test} and {following.test}; expected one, name "
                "only the folders that should count"
            )
    return tuple(ordered)


class Gain(NamedTuple):
    """The gain of one line over another on the same videos with the same seeds, in percent."""

    seeds: Spread
    """The mean over the seeds, and how it varies with them."""
    videos: MeanDifference | None = None
    """The mean with the interval for the choice of the videos; None where the metric has none."""
    num_videos: int = 0


def has_interval(metric: str) -> bool:
    """Whether the interval over the videos is known for this metric: the mean over them, or mAP."""
    return re.fullmatch(r"(clip_|first_clip_)?top\d+|map", metric) is not None


def gain_of(line: TableLine, metric: str) -> Gain | None:
    """The gain over the baseline; None where no seed has a run in both.

    Raises ValueError where the two were tested on videos of other classes or labels, or share none.
    """
    pairs = _pairs(line)
    if pairs and metric == "map":
        ours, theirs, targets = _sides(pairs, lambda scored: scored.scores)
        gained = [mean_ap(a, targets).mean - mean_ap(b, targets).mean for a, b in zip(ours, theirs, strict=True)]
        low, high = map_difference_interval(ours, theirs, targets)
        return Gain(spread(gained), MeanDifference(fmean(gained), low, high), len(targets))
    if pairs and has_interval(metric):
        ours, theirs, _ = _sides(pairs, lambda scored: scored.right(metric))
        by_video = ours - theirs
        over_seeds = spread((100 * by_video.mean(dim=1)).tolist())
        return Gain(over_seeds, mean_difference(by_video.mean(dim=0)), by_video.shape[1])
    reached = [(run.value(metric), base.value(metric)) for run, base in pairs]
    gained = [value - other for value, other in reached if value is not None and other is not None]
    return Gain(spread(gained)) if gained else None


class ClassGain(NamedTuple):
    """The gain of a line over its baseline for one class, in what `Measure.of_class` says."""

    name: str
    percent: float


def class_gains(line: TableLine) -> list[ClassGain]:
    """The mean over the seeds for each class that has videos, in their order; none without shared seeds."""
    pairs = _pairs(line)
    if not pairs:
        return []
    if measured([line]) is OBJECTS:
        return _category_gains(pairs)
    several, names = pairs[0][0].report.get("multi_label"), pairs[0][0].scored.classes
    ours, theirs, labels = _sides(pairs, lambda scored: scored.scores if several else scored.right("top1"))
    if several:
        seeds = [mean_ap(a, labels).classes - mean_ap(b, labels).classes for a, b in zip(ours, theirs, strict=True)]
        percents, counts = torch.stack(seeds).mean(dim=0), labels.sum(dim=0).tolist()
    else:
        by_video, counts = ours - theirs, labels.bincount().tolist()
        percents = torch.stack([100 * by_video[:, labels == label].mean() for label in range(len(counts))])
    return [
        ClassGain(names[label] if names else f"class {label}", float(percents[label]))
        for label, count in enumerate(counts)
        if count
    ]


def _category_gains(pairs: Sequence[tuple[Run, Run]]) -> list[ClassGain]:
    """Gains of single categories of detectors, by their most important number."""
    metric, names = main_metrics(pairs[0][0].report)[0], dict[int, str]()
    gained: dict[int, list[float]] = {}
    for run, base in pairs:
        theirs = {one["category_id"]: one[metric] for one in base.report["classes"]}
        for one in run.report["classes"]:
            number, names[one["category_id"]] = one["category_id"], one["name"]
            if one[metric] is not None and theirs.get(number) is not None:
                gained.setdefault(number, []).append(one[metric] - theirs[number])
    return [ClassGain(names[number], fmean(gains)) for number, gains in gained.items()]


def _pairs(line: TableLine) -> list[tuple[Run, Run]]:
    """Each run beside the baseline's with its seed."""
    baseline = {run.seed: run for run in line.baseline.runs} if line.baseline else {}
    return [(run, baseline[run.seed]) for run in line.runs if run.seed in baseline]


def _sides(pairs: Sequence[tuple[Run, Run]], part: Callable[[Scored], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """A part of our S tests and of theirs, (S, N, ...) each, of the N videos that all have; and their labels."""
    rows = _shared_rows([run for pair in pairs for run in pair])
    ours, theirs = ([part(run.scored)[rows[run.test]] for run in side] for side in zip(*pairs, strict=True))
    first = pairs[0][0]
    return torch.stack(ours), torch.stack(theirs), first.scored.labels[rows[first.test]]


def _shared_rows(runs: Sequence[Run]) -> dict[Path, Tensor]:
    """For the test of each run the rows (N,) of the videos that all have, in one order."""
    first = runs[0]
    places = {run.test: {video: row for row, video in enumerate(run.scored.videos)} for run in runs}
    common = sorted(set.intersection(*(set(place) for place in places.values())))
    if not common:
        raise ValueError(f"{', '.join(str(test) for test in places)}: have no video in common")
    rows = {test: torch.tensor([place[video] for video in common]) for test, place in places.items()}
    for run in runs[1:]:
        ours, theirs = (tested.scored.labels[rows[tested.test]] for tested in (run, first))
        if run.scored.classes != first.scored.classes or not torch.equal(ours, theirs):
            raise ValueError(f"{run.test}: has other classes or labels than {first.test}, expected the same")
    return rows
