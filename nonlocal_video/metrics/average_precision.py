"""Average precision, for videos with several classes each, as the official evaluation of Charades has it.

A class's videos are ranked by their scores for it; its average precision is the mean of the precision at each of the
videos that show it. Videos without any label are left out (there they are ranked behind all others, which is the same),
and classes that no video shows have no average precision. Of equal scores the video that is listed first leads; the
official evaluation leaves that to its sorting, and scikit-learn counts them together.
"""

from collections.abc import Callable
from statistics import stdev
from typing import NamedTuple

import torch
from torch import Tensor

from nonlocal_video.metrics.intervals import Z
from nonlocal_video.system.distributed import all_gather

RESAMPLES = 1000  # The number of draws of the bootstrap.


class MeanAp(NamedTuple):
    """The average precisions of one set of videos, in percent."""

    classes: Tensor
    """(K,) float64: the average precision of each class; NaN where no video shows it."""
    positives: Tensor
    """(K,) int64: videos that show each class."""

    @property
    def mean(self) -> float:
        """The mAP: the mean over the classes that some video shows."""
        return float(self.classes.nanmean())

    @property
    def weighted(self) -> float:
        """The mean over these classes, each with the number of its videos for a weight."""
        return float((self.classes.nan_to_num() * self.positives).sum() / self.positives.sum())

    @property
    def ranked(self) -> list[int]:
        """The classes that some video shows, the best first."""
        order = self.classes.nan_to_num(nan=-1.0).sort(descending=True, stable=True).indices.tolist()
        return [label for label in order if self.positives[label] > 0]


def mean_ap(scores: Tensor, targets: Tensor, *, lost: Tensor | None = None) -> MeanAp:
    """Scores (N, K) and targets (N, K) of 0 and 1 -> the average precisions; `lost` (K,) videos count as never found.

    Raises:
        ValueError: a score that is not finite, or no video with a label.
    """
    if not torch.isfinite(scores).all():
        raise ValueError("a score is not finite: the weights are broken, or the precision is too low")
    positives = targets.long().sum(dim=0) + (0 if lost is None else lost)
    if not positives.any():
        raise ValueError("no video has a label: there is no average precision")
    ranking = _Ranking(scores, targets)
    sums = ranking.sums(torch.ones(len(ranking.hits), dtype=torch.float64))
    return MeanAp(100 * sums / torch.where(positives > 0, positives, torch.nan), positives)


class AveragePrecision:
    """mAP of clips that are scored batch by batch; with other numbers of ranks only equal scores may lie otherwise."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Tensor]] = []

    @property
    def count(self) -> int:
        """Clips so far; of all ranks once they are reduced."""
        return sum(len(labels) for _, labels in self.batches)

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Scores (B, K), labels (B, K) of 0 and 1."""
        self.batches.append((scores, labels))

    def reduce(self) -> None:
        """Brings the ranks together; called once, by all of them."""
        self.batches = [batch for part in all_gather(self.batches) for batch in part]

    def compute(self) -> dict[str, float | None]:
        """`map` in percent, None without clips; raises what `mean_ap` does."""
        if not self.batches:
            return {"map": None}
        scores, labels = (torch.cat(part) for part in zip(*self.batches, strict=True))
        return {"map": mean_ap(scores, labels > 0).mean}


class _Ranking:
    """Videos ranked by their scores for each class."""

    def __init__(self, scores: Tensor, targets: Tensor) -> None:
        labelled = targets.any(dim=1)
        self.order = scores[labelled].argsort(dim=0, descending=True, stable=True)  # (N', K)
        self.hits = targets[labelled].gather(0, self.order).double()

    def sums(self, weights: Tensor) -> Tensor:
        """The sum of the precisions at the positives, (K,), where video n counts weights[n] times, (N',)."""
        counts = weights[self.order]
        right = counts * self.hits
        precision = right.cumsum(dim=0) / counts.cumsum(dim=0).clamp(min=1)
        return (precision * right).sum(dim=0)

    def mean(self, weights: Tensor) -> float:
        """The mAP in percent."""
        positives = (weights[self.order] * self.hits).sum(dim=0)
        return float((100 * self.sums(weights) / torch.where(positives > 0, positives, torch.nan)).nanmean())


def map_interval(scores: Tensor, targets: Tensor) -> tuple[float, float]:
    """The ends, in percent, of the 95% interval of mAP over the choice of the videos; takes what `mean_ap` takes.

    The estimate and 1.96 standard errors, of bootstrap resamples, to either side; their percentiles would lie too high,
    since a video that is drawn twice is found twice at once.
    """
    low, high = _interval(_Ranking(scores, targets).mean, targets)
    return max(0.0, low), min(100.0, high)


def map_difference_interval(ours: Tensor, theirs: Tensor, targets: Tensor) -> tuple[float, float]:
    """The ends of the 95% interval of a difference of mAPs on the same videos: our scores and theirs, (S, N, K) each.

    It is for these networks: the difference is the mean over S seeds, and every resample takes the same videos of all.
    """
    pairs = [(_Ranking(a, targets), _Ranking(b, targets)) for a, b in zip(ours, theirs, strict=True)]

    def difference(weights: Tensor) -> float:
        return sum(a.mean(weights) - b.mean(weights) for a, b in pairs) / len(pairs)

    return _interval(difference, targets)


def _interval(value: Callable[[Tensor], float], targets: Tensor) -> tuple[float, float]:
    """The ends around the value of all videos, each counted once; the resamples are always the same."""
    num_videos, values = int(targets.any(dim=1).sum()), list[float]()
    generator = torch.Generator().manual_seed(0)
    for _ in range(RESAMPLES):
        drawn = torch.randint(num_videos, (num_videos,), generator=generator)
        values.append(value(drawn.bincount(minlength=num_videos).double()))
    centre, half = value(torch.ones(num_videos, dtype=torch.float64)), Z * stdev(values)
    return centre - half, centre + half


def multi_hot(labels: list[tuple[int, ...]], num_classes: int) -> Tensor:
    """The classes of N videos -> (N, K) bool."""
    targets = torch.zeros(len(labels), num_classes, dtype=torch.bool)
    for row, classes in zip(targets, labels, strict=True):
        row[list(classes)] = True
    return targets
