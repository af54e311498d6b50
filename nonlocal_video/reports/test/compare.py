"""Two tests, video by video: is the difference of their accuracies real, and what else differs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nonlocal_video.metrics.average_precision import map_difference_interval, mean_ap
from nonlocal_video.metrics.intervals import PairedDifference, paired_difference
from nonlocal_video.reports.test.average_precision import scores_and_targets
from nonlocal_video.reports.test.predictions import Tested, label_ranks_of
from nonlocal_video.types import Prediction

FACTS = (
    "network", "data", "seed", "weights", "weights_hash", "step", "steps", "clips", "protocol", "census",
    "train_census", "batch_norm", "precision", "chunk", "processes", "config_hash", "recipe_hash", "ensemble",
    "versions",
)  # fmt: skip
"""What of two reports is compared: where their numbers come from."""


class Shared(NamedTuple):
    """The videos that several tests share, in one order."""

    predictions: list[list[Prediction]]
    """Those of each test."""
    only: list[list[str]]
    """The videos that each test has and not all others."""


def share(tests: Sequence[Tested]) -> Shared:
    """Puts the predictions of several tests side by side.

    Raises:
        ValueError: they are for other classes, a video has other labels, or they share no video.
    """
    first = tests[0]
    for other in tests[1:]:
        if other.num_classes != first.num_classes:
            raise ValueError(
                f"{other.folder}: has {other.num_classes} classes, expected {first.num_classes}, as {first.folder} has"
            )
        if first.classes and other.classes and first.classes != other.classes:
            label = next(i for i, (a, b) in enumerate(zip(first.classes, other.classes, strict=True)) if a != b)
            raise ValueError(
                f"{other.folder}: class {label} is {other.classes[label]!r}, expected {first.classes[label]!r}, "
                f"as in {first.folder}"
            )
    by_name = [{prediction.video: prediction for prediction in test.predictions} for test in tests]
    common = sorted(set.intersection(*(set(one) for one in by_name)))
    if not common:
        raise ValueError(f"{', '.join(str(test.folder) for test in tests)}: have no video in common")
    for test, one in zip(tests, by_name, strict=True):
        changed = [video for video in common if one[video].label != by_name[0][video].label]
        if changed:
            raise ValueError(
                f"{test.folder}: {len(changed)} videos have other labels than in {first.folder}: {changed[0]} has "
                f"{one[changed[0]].label}, expected {by_name[0][changed[0]].label}"
            )
    only = [sorted(one.keys() - set(common)) for one in by_name]
    return Shared([[one[video] for video in common] for one in by_name], only)


class Gain(NamedTuple):
    """How the accuracy of a class changed, in videos."""

    label: int
    videos: int
    gained: int


class Precision(NamedTuple):
    """mAP of two tests on the same videos, in percent."""

    a: float
    b: float
    low: float
    high: float
    """The ends of the paired interval of B less A."""
    classes: list[tuple[int, int, float]]
    """The classes that some video shows: label, videos, and B's average precision less A's; those that gained first."""


class Comparison(NamedTuple):
    """How test B differs from test A on the videos of both."""

    shared: Shared
    topk: dict[str, tuple[float, float, PairedDifference]]
    """For top1 and top5: A's accuracy and B's in percent, and their difference. Empty without labels."""
    changed: int
    """Videos whose best class is another."""
    largest: tuple[float, str, int]
    """The largest difference of a score, with the video and the class."""
    gains: list[Gain]
    """Of the classes that changed, those that gained most first."""
    facts: list[tuple[str, str, str]]
    """What differs in the reports: name, A's, B's."""
    precision: Precision | None
    """Of several classes a video, instead of `topk` and `gains`."""


def compare(a: Tested, b: Tested) -> Comparison:
    """Compares two tests on the videos that both have.

    Raises:
        ValueError: as in `share`.
    """
    shared = share([a, b])
    ours, theirs = shared.predictions
    scores = [torch.stack([prediction.scores for prediction in side]) for side in (ours, theirs)]  # 2 of (N, K)
    apart = (scores[0] - scores[1]).abs()
    video, label = divmod(int(apart.argmax()), apart.shape[1])
    topk: dict[str, tuple[float, float, PairedDifference]] = {}
    gains: list[Gain] = []
    labelled = a.report["labels"] and b.report["labels"]
    several = labelled and a.report.get("multi_label", False)
    if labelled and not several:
        ranks = [label_ranks_of(side) for side in (ours, theirs)]
        for k in (1, 5) if a.num_classes > 5 else (1,):
            right = [side < k for side in ranks]
            percents = [100 * int(side.sum()) / len(side) for side in right]
            topk[f"top{k}"] = (percents[0], percents[1], paired_difference(*right))
        gains = _gains(torch.tensor([prediction.label for prediction in ours]), ranks[0] < 1, ranks[1] < 1)
    return Comparison(
        shared,
        topk,
        int((scores[0].argmax(1) != scores[1].argmax(1)).sum()),
        (float(apart[video, label]), ours[video].video, label),
        gains,
        different_facts(a.report, b.report),
        precisions(ours, theirs) if several else None,
    )


def precisions(a: Sequence[Prediction], b: Sequence[Prediction]) -> Precision:
    """Of the same videos in the same order, with several classes each."""
    (ours, targets), (theirs, _) = scores_and_targets(a), scores_and_targets(b)
    found = mean_ap(ours, targets), mean_ap(theirs, targets)
    interval = map_difference_interval(theirs[None], ours[None], targets)
    gained = found[1].classes - found[0].classes
    classes = [(label, count, float(gained[label])) for label, count in enumerate(found[0].positives.tolist()) if count]
    ordered = sorted(classes, key=lambda one: (-one[2], one[0]))
    return Precision(found[0].mean, found[1].mean, *interval, ordered)


def _gains(labels: Tensor, a: Tensor, b: Tensor) -> list[Gain]:
    gained = torch.zeros(int(labels.max()) + 1, dtype=torch.int64).index_add_(0, labels, b.long() - a.long())
    counts = labels.bincount()
    changed = [Gain(label, int(counts[label]), int(gained[label])) for label in gained.nonzero()[:, 0].tolist()]
    return sorted(changed, key=lambda gain: (-gain.gained / gain.videos, gain.label))


def different_facts(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What the reports say differently of where their numbers come from, by dotted names."""
    ours, theirs = (
        {k: v for key in FACTS if key in report for k, v in _flat(key, report[key]).items()} for report in (a, b)
    )
    names = dict.fromkeys([*ours, *theirs])
    return [
        (name, str(ours.get(name, "not said")), str(theirs.get(name, "not said")))
        for name in names
        if ours.get(name) != theirs.get(name)
    ]


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        value = dict(enumerate(value, start=1))
    if not isinstance(value, dict):
        return {name: value}
    return {k: v for key, inner in value.items() for k, v in _flat(f"{name}.{key}", inner).items()}
