from math import comb

import pytest
import torch
from torch import Tensor

from nonlocal_video.metrics.intervals import mean_difference, paired_difference, wilson_interval


def pairs(only_a: int, only_b: int, total: int) -> tuple[Tensor, Tensor]:
    """What A and B get right: half of the other videos both, half neither."""
    a, b = torch.zeros(total, dtype=torch.bool), torch.zeros(total, dtype=torch.bool)
    a[:only_a] = b[only_a : only_a + only_b] = True
    both = slice(only_a + only_b, (only_a + only_b + total) // 2)
    a[both] = b[both] = True
    return a, b


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.00, 16.11), (1, 29, 0.61, 17.18)],
)
def test_wilsons_interval_is_that_of_newcombes_table(correct: int, total: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857, Table I, method 3; to its four digits."""
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=0.005)


def test_paired_interval_is_that_of_the_r_package_propcis() -> None:
    """The example of `diffpropci.mp`, Agresti and Min's "Wald+2": b = 40, c = 20, n = 160."""
    found = paired_difference(*pairs(40, 20, 160))
    assert (found.low, found.high) == pytest.approx((-21.601726, -3.089632), abs=1e-6)
    assert (found.percent, found.only_a, found.only_b) == (-12.5, 40, 20)


@pytest.mark.parametrize(("only_a", "only_b"), [(3, 9), (9, 3), (5, 5), (0, 4), (86, 150)])
def test_p_is_how_often_a_fair_coin_is_at_least_as_uneven(only_a: int, only_b: int) -> None:
    tosses, few = only_a + only_b, min(only_a, only_b)
    tail = sum(comb(tosses, heads) for heads in range(few + 1)) / 2**tosses
    found = paired_difference(*pairs(only_a, only_b, 1600))
    assert found.p == pytest.approx(min(1, 2 * tail), rel=1e-9)


def test_paired_interval_turns_round_with_the_tests() -> None:
    a, b = pairs(7, 20, 200)
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert (one.percent, one.low, one.high) == pytest.approx((-other.percent, -other.high, -other.low))
    assert one.low < one.percent < one.high


def test_tests_that_agree_on_every_video_have_an_interval_round_zero() -> None:
    found = paired_difference(*pairs(0, 0, 256))
    assert (found.percent, found.p) == (0, 1)
    assert found.low < 0 < found.high


@pytest.mark.parametrize(
    ("videos", "only_a", "only_b"), [(256, 0.05, 0.05), (256, 0.08, 0.12), (2000, 0.02, 0.05), (19761, 0.08, 0.085)]
)
def test_paired_interval_covers_the_true_difference_in_95_of_100_tests(
    videos: int, only_a: float, only_b: float
) -> None:
    """1,000 simulated tests: the share that covers has a standard deviation of 0.7%, four of which are allowed."""
    chances, tests = torch.tensor([only_a, only_b, 1 - only_a - only_b]), 1000
    covered = 0
    for _ in range(tests):
        outcome = torch.multinomial(chances, videos, replacement=True)
        found = paired_difference(outcome == 0, outcome == 1)
        covered += found.low <= 100 * (only_b - only_a) <= found.high
    assert covered / tests == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / tests) ** 0.5)


@pytest.mark.parametrize(("only_a", "only_b", "total"), [(40, 20, 160), (0, 0, 8), (0, 4, 4), (86, 150, 1600)])
def test_mean_difference_of_one_seed_is_the_paired_difference(only_a: int, only_b: int, total: int) -> None:
    a, b = pairs(only_a, only_b, total)
    assert mean_difference(b.double() - a.double()) == paired_difference(a, b)[:3]


@pytest.mark.parametrize(("videos", "seeds"), [(256, 3), (2000, 5)])
def test_mean_difference_of_seeds_covers_the_true_one_in_95_of_100_tests(videos: int, seeds: int) -> None:
    """Videos are drawn that differ in how likely each network is right; networks and seeds stay."""
    torch.manual_seed(0)
    chances = torch.rand(20_000, 1)
    kinds = (torch.rand(20_000, seeds) < (chances + 0.1)).double() - (torch.rand(20_000, seeds) < chances).double()
    differences, tests = kinds.mean(dim=1), 1000
    covered = 0
    for _ in range(tests):
        found = mean_difference(differences[torch.randint(len(differences), (videos,))])
        covered += found.low <= 100 * float(differences.mean()) <= found.high
    assert covered / tests == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / tests) ** 0.5)
