"""Beside a transcription of the official rule of Charades, and beside scikit-learn where the two mean the same."""

import math

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from nonlocal_video.metrics import average_precision
from nonlocal_video.metrics.average_precision import (
    AveragePrecision,
    map_difference_interval,
    map_interval,
    mean_ap,
    multi_hot,
)


def official(scores: list[list[float]], labels: list[list[int]]) -> tuple[float, float, list[float]]:
    """The rule of Charades, step by step: mAP, weighted mAP and the average precision of each class, as shares.

    Videos without any label get the score minus infinity. For each class the videos are put in the order of falling
    scores; at each video that shows the class the precision is the share of such videos so far; their mean is the
    average precision. A class with fewer than 0.1 such videos has none, and is left out of the mean.
    """
    num_classes = len(scores[0])
    scores = [row if any(shown) else [-math.inf] * num_classes for row, shown in zip(scores, labels, strict=True)]
    precisions, counts = [], []
    for c in range(num_classes):
        order = sorted(range(len(scores)), key=lambda video: -scores[video][c])
        found, total = 0, 0.0
        for place, video in enumerate(order, start=1):
            if labels[video][c]:
                found += 1
                total += found / place
        counts.append(found)
        precisions.append(total / found if found >= 0.1 else math.nan)
    known = [(ap, count) for ap, count in zip(precisions, counts, strict=True) if not math.isnan(ap)]
    weighted = sum(ap * count for ap, count in known) / sum(counts)
    return sum(ap for ap, _ in known) / len(known), weighted, precisions


def drawn(seed: int, *, videos: int = 40, classes: int = 9, ties: bool = False) -> tuple[Tensor, Tensor]:
    """Scores that know a little; videos without a label, and a class without videos."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.rand(videos, classes, generator=generator) < 0.2
    targets[:, 3] = False
    targets[5:8] = False
    scores = (torch.randn(videos, classes, generator=generator, dtype=torch.float64) + targets).sigmoid()
    return (scores * 5).round() / 5 if ties else scores, targets


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_it_is_the_official_rule(seed: int, ties: bool) -> None:
    scores, targets = drawn(seed, ties=ties)
    expected, weighted, classes = official(scores.tolist(), targets.int().tolist())
    found = mean_ap(scores, targets)
    assert found.mean == pytest.approx(100 * expected, rel=1e-12)
    assert found.weighted == pytest.approx(100 * weighted, rel=1e-12)
    assert found.classes.tolist() == pytest.approx([100 * ap for ap in classes], rel=1e-12, nan_ok=True)
    assert math.isnan(found.classes[3])
    assert found.positives.tolist() == targets.sum(dim=0).tolist()


@pytest.mark.parametrize("seed", range(10))
def test_without_ties_and_unlabelled_videos_it_is_that_of_scikit_learn(seed: int) -> None:
    scores, targets = drawn(seed)
    kept, shown = targets.any(dim=1), targets.any(dim=0)
    expected = average_precision_score(targets[kept][:, shown].numpy(), scores[kept][:, shown].numpy(), average=None)
    assert mean_ap(scores, targets).classes[shown].tolist() == pytest.approx((100 * expected).tolist(), rel=1e-12)


def test_videos_without_labels_change_nothing() -> None:
    scores, targets = drawn(0)
    labelled = targets.any(dim=1)
    assert mean_ap(scores, targets).mean == mean_ap(scores[labelled], targets[labelled]).mean


def test_lost_videos_are_never_found() -> None:
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    targets = torch.tensor([[True, False], [False, True]])
    assert mean_ap(scores, targets).classes.tolist() == [100, 100]
    found = mean_ap(scores, targets, lost=multi_hot([(0,), (0, 1), ()], 2).sum(dim=0))
    assert found.classes.tolist() == pytest.approx([100 / 3, 50])
    assert found.weighted == pytest.approx((100 / 3 * 3 + 50 * 2) / 5)


def test_batches_in_any_pieces_give_the_same() -> None:
    scores, targets = drawn(1)
    metric = AveragePrecision()
    assert metric.compute() == {"map": None}
    for part, labels in zip(scores.split(7), targets.float().split(7), strict=True):
        metric.update(part, labels)
    metric.reduce()
    assert (metric.count, metric.compute()) == (40, {"map": mean_ap(scores, targets).mean})


def test_intervals_hold_the_estimate_and_shrink_with_more_videos() -> None:
    widths = []
    for videos in (40, 640):
        scores, targets = drawn(2, videos=videos)
        low, high = map_interval(scores, targets)
        assert low < mean_ap(scores, targets).mean < high
        assert (low, high) == map_interval(scores, targets)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


@pytest.mark.slow
def test_interval_holds_the_mean_of_such_lists_in_95_of_100_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """150 lists of 240 videos: with 95% for each, fewer than 131 or all 150 come once in 1,000 experiments."""
    monkeypatch.setattr(average_precision, "RESAMPLES", 200)
    generator = torch.Generator().manual_seed(1)
    found, intervals = [], []
    for _ in range(150):
        targets = torch.rand(240, 7, generator=generator) < 0.27
        scores = torch.randn(240, 7, generator=generator) + targets
        found.append(mean_ap(scores, targets).mean)
        intervals.append(map_interval(scores, targets))
    mean = sum(found) / len(found)
    assert 131 <= sum(low <= mean <= high for low, high in intervals) < 150


def test_paired_intervals_know_that_the_videos_are_the_same() -> None:
    scores, targets = drawn(3, videos=300)
    assert map_difference_interval(scores[None], scores[None], targets) == (0, 0)
    better = scores + 0.02 * targets
    low, high = map_difference_interval(better[None], scores[None], targets)
    gain = mean_ap(better, targets).mean - mean_ap(scores, targets).mean
    alone = map_interval(scores, targets)
    assert 0 < low < gain < high
    assert high - low < (alone[1] - alone[0]) / 2


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        mean_ap(torch.tensor([[math.nan]]), torch.tensor([[True]]))
    with pytest.raises(ValueError, match="no video has a label"):
        mean_ap(torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.bool))
