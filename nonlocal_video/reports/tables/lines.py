"""A line of a table: runs that differ in their seed only, what they reach, and what they gain over other runs."""

from collections.abc import Sequence
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
from nonlocal_video.reports.tables.runs import Run, is_of_videos


class Spread(NamedTuple):
    """Over seeds."""

    mean: float
    deviation: float | None
    """Standard deviation; None of a single seed."""
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + (f" ± {self.deviation:.1f}" if self.deviation is not None else "")

    def signed(self) -> str:
        """The same of a difference."""
        return f"{self.mean:+.1f}" + (f" ± {self.deviation:.1f}" if self.deviation is not None else "")


def spread(values: Sequence[float]) -> Spread | None:
    """None without values."""
    if not values:
        return None
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Line:
    """Runs that differ in their seed only, in the order of the seeds; none if nobody ran them."""

    name: str
    runs: tuple[Run, ...] = ()
    cost: Cost | None = None
    """Of the network."""
    baseline: "Line | None" = None
    """What it is compared with."""

    def accuracy(self, metric: str) -> Spread | None:
        """None if nothing was run, or it is not known."""
        return spread([value for run in self.runs if (value := run.value(metric)) is not None])


def by_seed(name: str, runs: Sequence[Run], *, what: str) -> tuple[Run, ...]:
    """The runs of one line, in the order of their seeds.

    Raises:
        ValueError: two have one seed: which of them should count?
    """
    ordered = sorted(runs, key=lambda run: run.seed)
    for one, other in pairwise(ordered):
        if one.seed == other.seed:
            raise ValueError(
                f"{what} {name}, seed {one.seed}: has two tests, {one.test} and {other.test}; expected one, name only "
                "the folders that should count"
            )
    return tuple(ordered)


class Gain(NamedTuple):
    """What one line gains over another on the same videos with the same seeds, in percent."""

    seeds: Spread
    """The mean over the seeds, and how it varies with them."""
    videos: MeanDifference | None
    """The same mean with the interval for the choice of the videos; None where the metric has none."""
    num_videos: int


def has_interval(metric: str) -> bool:
    """Whether the interval over the videos is known for this metric."""
    return is_of_videos(metric) or metric == "map"


def gain_of(line: Line, metric: str) -> Gain | None:
    """None where the line or its baseline has no run with a seed that both have.

    Raises:
        ValueError: the two were tested on videos of other classes or labels, or share none.
    """
    pairs = _pairs(line)
    if not pairs:
        return None
    if metric == "map":
        return _map_gain(pairs)
    if not is_of_videos(metric):
        reached = [(run.value(metric), base.value(metric)) for run, base in pairs]
        over_seeds = spread([ours - theirs for ours, theirs in reached if ours is not None and theirs is not None])
        return None if over_seeds is None else Gain(over_seeds, None, 0)
    gained = _differences(pairs, metric)
    over_seeds = spread((100 * gained.mean(dim=1)).tolist())
    assert over_seeds is not None, "there are pairs"
    return Gain(over_seeds, mean_difference(gained.mean(dim=0)), gained.shape[1])


def _map_gain(pairs: Sequence[tuple[Run, Run]]) -> Gain:
    ours, theirs, targets = _several(pairs)
    gained = [mean_ap(a, targets).mean - mean_ap(b, targets).mean for a, b in zip(ours, theirs, strict=True)]
    over_seeds = spread(gained)
    assert over_seeds is not None, "there are pairs"
    low, high = map_difference_interval(ours, theirs, targets)
    return Gain(over_seeds, MeanDifference(over_seeds.mean, low, high), len(targets))


def _several(pairs: Sequence[tuple[Run, Run]]) -> tuple[Tensor, Tensor, Tensor]:
    """Of S pairs, on the videos that all have: our scores and theirs (S, N, K), and the videos' classes (N, K)."""
    order = shared_videos([run for pair in pairs for run in pair])
    ours, theirs = (
        torch.stack([run.scored.scores[order[run.test]] for run in side]) for side in zip(*pairs, strict=True)
    )
    first = pairs[0][0]
    return ours, theirs, first.scored.labels[order[first.test]]


def _pairs(line: Line) -> list[tuple[Run, Run]]:
    """Each run beside the baseline's with its seed."""
    baseline = {run.seed: run for run in line.baseline.runs} if line.baseline else {}
    return [(run, baseline[run.seed]) for run in line.runs if run.seed in baseline]


def _differences(pairs: Sequence[tuple[Run, Run]], metric: str) -> Tensor:
    """How much more right each video that all have is, (S, N) for S pairs."""
    order = shared_videos([run for pair in pairs for run in pair])
    ours, theirs = (
        torch.stack([run.scored.right(metric)[order[run.test]] for run in side]) for side in zip(*pairs, strict=True)
    )
    return ours - theirs


def shared_videos(runs: Sequence[Run]) -> dict[Path, Tensor]:
    """For the test of each run the rows (N,) of the videos that all have, in one order.

    Raises:
        ValueError: they are of other classes, a video has other labels, or they share no video.
    """
    first = runs[0]
    places = {run.test: {video: row for row, video in enumerate(run.scored.videos)} for run in runs}
    common = sorted(set.intersection(*(set(place) for place in places.values())))
    if not common:
        raise ValueError(f"{', '.join(str(test) for test in places)}: have no video in common")
    rows = {test: torch.tensor([place[video] for video in common]) for test, place in places.items()}
    for run in runs[1:]:
        ours, theirs = (one.scored.labels[rows[one.test]] for one in (run, first))
        if run.scored.classes != first.scored.classes or not torch.equal(ours, theirs):
            raise ValueError(f"{run.test}: has other classes or labels than {first.test}, expected the same")
    return rows


class ClassGain(NamedTuple):
    """What a line gains over its baseline for one class: in top-1, or in average precision of several a video."""

    name: str
    percent: float
    videos: int


def class_gains(line: Line) -> list[ClassGain]:
    """The mean over the seeds for each class that has videos, in their order; none without shared seeds."""
    pairs = _pairs(line)
    if not pairs:
        return []
    if pairs[0][0].report.get("multi_label"):
        return _precision_gains(pairs)
    gained = _differences(pairs, "top1")
    runs = [run for pair in pairs for run in pair]
    scored = runs[0].scored
    labels = scored.labels[shared_videos(runs)[runs[0].test]]
    gains = []
    for label in labels.unique().tolist():
        name = scored.classes[label] if scored.classes else f"class {label}"
        of_class = gained[:, labels == label]
        gains.append(ClassGain(name, 100 * float(of_class.mean()), of_class.shape[1]))
    return gains


def _precision_gains(pairs: Sequence[tuple[Run, Run]]) -> list[ClassGain]:
    ours, theirs, targets = _several(pairs)
    gained = torch.stack(
        [mean_ap(a, targets).classes - mean_ap(b, targets).classes for a, b in zip(ours, theirs, strict=True)]
    ).mean(dim=0)
    names, counts = pairs[0][0].scored.classes, targets.sum(dim=0).tolist()
    return [
        ClassGain(names[label] if names else f"class {label}", float(gained[label]), count)
        for label, count in enumerate(counts)
        if count
    ]
