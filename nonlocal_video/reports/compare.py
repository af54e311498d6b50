"""Two tests, video by video: is the difference of their accuracies real, and what else differs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nonlocal_video.metrics.intervals import PairedDifference, paired_difference
from nonlocal_video.reports.page import title
from nonlocal_video.reports.predictions import Tested, label_ranks_of
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
    if a.report["labels"] and b.report["labels"]:
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
    )


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


def format_comparison(a: Tested, b: Tested, found: Comparison, *, top: int) -> str:
    """The comparison in words.

    Args:
        top: how many of the classes that gained and that lost are named.
    """
    count = len(found.shared.predictions[0])
    lines = [f"{name}: {title(test.report)}, {test.folder}" for name, test in (("A", a), ("B", b))]
    lines.append(f"{count} videos in both")
    for name, only in zip("AB", found.shared.only, strict=True):
        if only:
            lines.append(f"{len(only)} only in {name}, left out here: {', '.join(only[:5])}{', ...' * (len(only) > 5)}")
    lines += ["", *_accuracy_lines(found), ""]
    size, video, label = found.largest
    name = a.classes[label] if a.classes else f"class {label}"
    lines.append(f"best class: another one in {found.changed} of {count} videos")
    lines.append(f"scores: differ by {size:.3g} at most ({video}, {name})")
    for title_, gains in (
        ("gained most", [gain for gain in found.gains if gain.gained > 0][:top]),
        ("lost most", [gain for gain in found.gains[::-1] if gain.gained < 0][:top]),
    ):
        if gains:
            lines += ["", f"classes that {title_} from A to B:"]
            lines += [f"  {gain.gained:+4d} of {gain.videos:4d} videos  {_name(a, gain.label)}" for gain in gains]
    lines += ["", "the reports differ in:" if found.facts else "the reports name the same weights, videos and protocol"]
    lines += [f"  {name}: {ours} | {theirs}" for name, ours, theirs in found.facts]
    return "\n".join(lines)


def _name(test: Tested, label: int) -> str:
    return test.classes[label] if test.classes else f"class {label}"


def _accuracy_lines(found: Comparison) -> list[str]:
    if not found.topk:
        return ["no labels in both: accuracies cannot be compared"]
    lines = [f"{'':6}{'A':>8}{'B':>8}{'B - A':>8}   {'95% interval':18}{'only A':>8}{'only B':>8}{'p':>10}"]
    for key, (ours, theirs, one) in found.topk.items():
        interval = f"{one.low:+.2f} to {one.high:+.2f}"
        lines.append(
            f"{key:6}{ours:8.2f}{theirs:8.2f}{one.percent:+8.2f}   {interval:18}{one.only_a:8}{one.only_b:8}"
            f"{one.p:10.3g}"
        )
    lines += [
        "interval: for matched pairs (Agresti and Min 2005); only: that one alone gets right; p: exact McNemar test",
        verdict(found.topk["top1"][2]),
    ]
    return lines


def verdict(top1: PairedDifference) -> str:
    """Whether the difference is real, in plain words."""
    between = f"{top1.low:+.2f} to {top1.high:+.2f}"
    if top1.only_a == top1.only_b == 0:
        return "Is it real? There is no difference: A and B get the same videos right."
    if not top1.is_real:
        return (
            f"Is {top1.percent:+.2f} real? These videos cannot tell: the interval {between} contains 0, "
            "so that either may be the better one."
        )
    better, worse = ("B", "A") if top1.percent > 0 else ("A", "B")
    return (
        f"Is {top1.percent:+.2f} real? Yes, for videos such as these: the interval {between} leaves out 0, "
        f"{better} is better than {worse}.\nIt tells nothing of another seed: train several."
    )
