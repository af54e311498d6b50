"""Two tests, video by video: is the difference of their accuracies real, and what else differs; then in words."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from nonlocal_video.metrics.average_precision import map_difference_interval, mean_ap
from nonlocal_video.metrics.intervals import MeanDifference, PairedDifference, paired_difference
from nonlocal_video.reports.test.accuracy import one_class_words
from nonlocal_video.reports.test.predictions import Tested, label_ranks_of, scores_and_targets, stacked_scores
from nonlocal_video.reports.test.report import title
from nonlocal_video.types import Prediction

FACTS = (
    "network", "data", "seed", "weights", "weights_hash", "step", "steps", "clips", "protocol", "census",
    "train_census", "batch_norm", "precision", "chunk", "processes", "config_hash", "recipe_hash", "ensemble",
    "versions",
)  # fmt: skip
"""The entries of two reports that are compared: where their numbers come from."""


class Shared(NamedTuple):
    """The videos that several tests share, in one order."""

    predictions: list[list[Prediction]]
    only: list[list[str]]
    """The videos that each test has and not all others."""


def share(tests: Sequence[Tested]) -> Shared:
    """Puts the predictions of several tests side by side.

    Raises ValueError where they are for other classes, a video has other labels, or they share no video.
    """
    first = tests[0]
    by_name = [{prediction.video: prediction for prediction in test.predictions} for test in tests]
    for test in tests[1:]:
        _check_classes(test, first)
    common = sorted(set.intersection(*map(set, by_name)))
    if not common:
        raise ValueError(f"{', '.join(str(test.folder) for test in tests)}: have no video in common")
    for test, named in zip(tests, by_name, strict=True):
        changed = [video for video in common if named[video].label != by_name[0][video].label]
        if changed:
            raise ValueError(
                f"{test.folder}: {len(changed)} videos have other labels than in {first.folder}: {changed[0]} has "
                f"{named[changed[0]].label}, expected {by_name[0][changed[0]].label}"
            )
    only = [sorted(named.keys() - set(common)) for named in by_name]
    return Shared([[named[video] for video in common] for named in by_name], only)


def _check_classes(test: Tested, first: Tested) -> None:
    if test.num_classes != first.num_classes:
        raise ValueError(
            f"{test.folder}: has {test.num_classes} classes, expected {first.num_classes}, as {first.folder} has"
        )
    for label, (name, expected) in enumerate(zip(test.classes or (), first.classes or (), strict=False)):
        if name != expected:
            raise ValueError(f"{test.folder}: class {label} is {name!r}, expected {expected!r}, as in {first.folder}")


class ClassChange(NamedTuple):
    """How a class did in test B against test A."""

    label: int
    videos: int
    gained: float
    """Videos that are right; average precision in percent where videos have several classes."""


class Comparison(NamedTuple):
    """How test B differs from test A on the videos of both."""

    shared: Shared
    accuracies: dict[str, tuple[float, float, PairedDifference]]
    """For top1 and top5: A's accuracy and B's in percent, and their difference. Empty without labels, or several."""
    precision: tuple[float, float, MeanDifference] | None
    """The mAP of A and B in percent, and their difference, of several classes a video."""
    classes: list[ClassChange]
    """The classes that some video shows, those that gained most first."""
    changed: int
    """Videos whose best class is another."""
    largest: tuple[float, str, int]
    """The largest difference of a score, with the video and the class."""
    facts: list[tuple[str, str, str]]
    """The differences of the reports: name, A's, B's."""


def compare_tests(a: Tested, b: Tested) -> Comparison:
    """Compares two tests on the videos that both have. Raises ValueError as `share` does."""
    shared, labelled = share([a, b]), a.report["labels"] and b.report["labels"]
    several = labelled and a.report.get("multi_label", False)
    ours, theirs = (stacked_scores(side) for side in shared.predictions)  # (N, K)
    apart = (ours - theirs).abs()
    video, label = divmod(int(apart.argmax()), apart.shape[1])
    return Comparison(
        shared,
        _accuracies(shared) if labelled and not several else {},
        precisions(*shared.predictions) if several else None,
        _class_changes(shared, several=several) if labelled else [],
        int((ours.argmax(1) != theirs.argmax(1)).sum()),
        (float(apart[video, label]), shared.predictions[0][video].video, label),
        _different_facts(a.report, b.report),
    )


def _accuracies(shared: Shared) -> dict[str, tuple[float, float, PairedDifference]]:
    ranks, found = [label_ranks_of(side) for side in shared.predictions], {}
    for k in (1, 5) if len(shared.predictions[0][0].scores) > 5 else (1,):
        ours, theirs = (side < k for side in ranks)
        a, b = (100 * int(side.sum()) / len(side) for side in (ours, theirs))
        found[f"top{k}"] = (a, b, paired_difference(ours, theirs))
    return found


def precisions(a: Sequence[Prediction], b: Sequence[Prediction]) -> tuple[float, float, MeanDifference]:
    """The mAP in percent of two tests of the same videos in the same order, and the paired difference of B less A."""
    (ours, targets), (theirs, _) = scores_and_targets(a), scores_and_targets(b)
    reached = mean_ap(ours, targets).mean, mean_ap(theirs, targets).mean
    interval = map_difference_interval(theirs[None], ours[None], targets)
    return *reached, MeanDifference(reached[1] - reached[0], *interval)


def _class_changes(shared: Shared, *, several: bool) -> list[ClassChange]:
    a, b = shared.predictions
    if several:
        (ours, targets), (theirs, _) = scores_and_targets(a), scores_and_targets(b)
        gained, counts = mean_ap(theirs, targets).classes - mean_ap(ours, targets).classes, targets.sum(dim=0)
    else:
        labels = torch.tensor([prediction.label for prediction in a])
        ours, theirs = (label_ranks_of(side) < 1 for side in (a, b))
        counts = labels.bincount()
        gained = torch.zeros_like(counts).index_add_(0, labels, theirs.long() - ours.long())
    rows = enumerate(zip(counts.tolist(), gained.tolist(), strict=True))
    changes = [ClassChange(label, count, by) for label, (count, by) in rows if count]
    return sorted(changes, key=lambda c: (-c.gained if several else -c.gained / c.videos, c.label))


def _different_facts(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The differences of what two reports say of where their numbers come from, by dotted names."""
    ours, theirs = (
        {k: v for key in FACTS if key in report for k, v in _flat(key, report[key]).items()} for report in (a, b)
    )
    return [
        (name, str(ours.get(name, "not said")), str(theirs.get(name, "not said")))
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        value = dict(enumerate(value, start=1))
    if not isinstance(value, dict):
        return {name: value}
    return {k: v for key, inner in value.items() for k, v in _flat(f"{name}.{key}", inner).items()}


def format_comparison(a: Tested, b: Tested, found: Comparison, *, top: int) -> str:
    """The comparison in words; of the classes that gained and that lost, `top` are named."""
    count, tests = len(found.shared.predictions[0]), (("A", a), ("B", b))
    lines = [f"{name}: {title(test.report)}, {test.folder}" for name, test in tests]
    lines.append(f"{count} videos in both")
    for name, only in zip("AB", found.shared.only, strict=True):
        if only:
            lines.append(f"{len(only)} only in {name}, left out here: {', '.join(only[:5])}{', ...' * (len(only) > 5)}")
    lines += ["", *_difference_lines(found)]
    lines += [f"{name}: {words}" for name, test in tests for words in one_class_words(test.report)]
    size, video, label = found.largest
    lines += ["", f"best class: another one in {found.changed} of {count} videos"]
    lines.append(f"scores: differ by {size:.3g} at most ({video}, {a.name_of(label)})")
    gained = [change for change in found.classes if change.gained > 0]
    lost = [change for change in found.classes[::-1] if change.gained < 0]
    precise = found.precision is not None
    for word, changes in (("gained", gained[:top]), ("lost", lost[:top])):
        if changes:
            lines += ["", f"classes {'whose average precision' if precise else 'that'} {word} most from A to B:"]
        for label, videos, by in changes:
            amount = f"{by:+7.2f} " if precise else f"{by:+4.0f} of"
            lines.append(f"  {amount} {videos:4d} videos  {a.name_of(label)}")
    lines += ["", "the reports differ in:" if found.facts else "the reports name the same weights, videos and protocol"]
    return "\n".join([*lines, *(f"  {name}: {ours} | {theirs}" for name, ours, theirs in found.facts)])


def _difference_lines(found: Comparison) -> list[str]:
    head = f"{'':6}{'A':>8}{'B':>8}{'B - A':>8}   "
    if found.precision is not None:
        ours, theirs, gain = found.precision
        row = f"{'mAP':6}{ours:8.2f}{theirs:8.2f}{gain.percent:+8.2f}   {gain.low:+.2f} to {gain.high:+.2f}"
        return [f"{head}95% interval", row, "interval: for matched videos (bootstrap)", _verdict(gain)]
    if not found.accuracies:
        return ["no labels in both: accuracies cannot be compared"]
    lines = [f"{head}{'95% interval':18}{'only A':>8}{'only B':>8}{'p':>10}"]
    for key, (ours, theirs, paired) in found.accuracies.items():
        interval = f"{paired.low:+.2f} to {paired.high:+.2f}"
        counts = f"{paired.only_a:8}{paired.only_b:8}{paired.p:10.3g}"
        lines.append(f"{key:6}{ours:8.2f}{theirs:8.2f}{paired.percent:+8.2f}   {interval:18}{counts}")
    note = "interval: for matched pairs (Agresti and Min 2005); only: that one alone gets right; p: exact McNemar test"
    return [*lines, note, _verdict(found.accuracies["top1"][2])]


def _verdict(gain: MeanDifference | PairedDifference) -> str:
    """Whether the difference is real, in plain words."""
    between, either = "", ""
    if isinstance(gain, PairedDifference):
        if gain.only_a == gain.only_b == 0:
            return "Is it real? There is no difference: A and B get the same videos right."
        between, either = f" {gain.low:+.2f} to {gain.high:+.2f}", ", so that either may be the better one"
    if gain.low <= 0 <= gain.high:
        return f"Is {gain.percent:+.2f} real? These videos cannot tell: the interval{between} contains 0{either}."
    better, worse = ("B", "A") if gain.percent > 0 else ("A", "B")
    return (
        f"Is {gain.percent:+.2f} real? Yes, for videos such as these: the interval{between} leaves out 0, "
        f"{better} is better than {worse}.\nIt tells nothing of another seed: train several."
    )
