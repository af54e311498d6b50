"""How sure an accuracy is, and the difference of two: 95% confidence intervals over the choice of videos."""

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

Z = NormalDist().inv_cdf(0.975)


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """The ends, in percent, of Wilson's score interval (1927) of an accuracy."""
    from scipy.stats import binomtest  # noqa: PLC0415  # It takes a second, which most jobs have no use for.

    interval = binomtest(correct, total).proportion_ci(method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


class MeanDifference(NamedTuple):
    """The accuracy of B less that of A, two networks or sets of them, on the same videos, with its interval."""

    percent: float
    low: float
    high: float


def mean_difference(differences: Tensor) -> MeanDifference:
    """The mean of what B got right less what A did, (N,) in [-1, 1], video by video, with its interval.

    With several seeds a video's difference is the mean over them, so that the interval is for the choice of the videos,
    of these trained networks. It is Wald's with two videos added, half of one that only A gets right, half of one that
    only B does, and one without a difference: for a single seed that of `paired_difference`.
    """
    total = float(differences.sum(dtype=torch.float64))
    squares = float(differences.double().square().sum()) + 1.0
    pairs = len(differences) + 2
    centre = total / pairs
    half = Z * sqrt(squares - total**2 / pairs) / pairs
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return MeanDifference(100 * total / len(differences), 100 * low, 100 * high)


class PairedDifference(NamedTuple):
    """The accuracy of B less that of A on the same videos, in percent, with its interval."""

    percent: float
    low: float
    high: float
    only_a: int
    """Videos that A alone gets right."""
    only_b: int
    p: float
    """How often a fair coin would divide `only_a + only_b` as unevenly or more so: the exact McNemar test."""


def paired_difference(a: Tensor, b: Tensor) -> PairedDifference:
    """The difference of A and B by what they got right, (N,) bool each, video by video.

    The interval is Wald's for matched pairs with half a pair added to each cell of the 2x2 table ("Wald+2": Agresti and
    Min, Statistics in Medicine 24, 2005): with N + 2 pairs, b and c of which only one gets right,
    (c - b) / N ± z sqrt(b + c - (c - b)² / N) / N. Two networks that agree everywhere get an interval, too.
    """
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    differing = only_a + only_b
    from scipy.stats import binomtest  # noqa: PLC0415

    p = float(binomtest(only_a, differing).pvalue) if differing else 1.0
    return PairedDifference(*mean_difference(b.long() - a.long()), only_a, only_b, p)
