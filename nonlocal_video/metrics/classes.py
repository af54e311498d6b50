"""Accuracy class by class, and which classes are taken for which."""

from typing import NamedTuple

import torch
from torch import Tensor


def count_confusions(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Labels and best classes (N,) each -> how many videos of each class (row) are taken for each (column), (K, K)."""
    pairs = torch.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


class ClassResult(NamedTuple):
    """The accuracy of the videos of one class."""

    label: int
    videos: int
    top1: float | None
    """Percent; None without videos."""
    confused_with: int | None
    """The class that most of the videos are taken for by mistake, if any is, and their percentage `share`."""
    share: float | None


def class_results(confusions: Tensor) -> list[ClassResult]:
    """A result for each row of `count_confusions`."""
    wrong = confusions.clone().fill_diagonal_(0)
    results = []
    for label, (row, mistakes) in enumerate(zip(confusions, wrong, strict=True)):
        videos, most = int(row.sum()), int(mistakes.max())
        top1 = 100 * int(row[label]) / videos if videos else None
        confused = (int(mistakes.argmax()), 100 * most / videos) if most else (None, None)
        results.append(ClassResult(label, videos, top1, *confused))
    return results


def worst_classes(results: list[ClassResult], count: int) -> list[ClassResult]:
    """The classes with the lowest accuracy, the worst first; of equals the one with more videos."""
    tested = [result for result in results if result.videos]
    return sorted(tested, key=lambda result: (result.top1, -result.videos, result.label))[:count]


class Confusion(NamedTuple):
    """Videos of one class that are taken for another, and their percentage of the class."""

    label: int
    predicted: int
    videos: int
    share: float


def most_confused(confusions: Tensor, count: int) -> list[Confusion]:
    """The pairs of classes with the most mistakes; of equals the larger share."""
    totals = confusions.sum(dim=1).tolist()
    wrong = confusions.clone().fill_diagonal_(0)
    pairs = [
        Confusion(label, other, videos, 100 * videos / totals[label])
        for label, row in enumerate(wrong.tolist())
        for other, videos in enumerate(row)
        if videos
    ]
    return sorted(pairs, key=lambda pair: (-pair.videos, -pair.share, pair.label, pair.predicted))[:count]
