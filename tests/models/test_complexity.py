"""Parameters and FLOPs against the counts of the fact sheet, the paper's Table 2e and PyTorch's counter."""

from functools import cache

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from nonlocal_video.models import build_model
from nonlocal_video.models.complexity import Cost, complexity

GOLDEN = [
    ("c2d_r50_32x2", {}, 24.27, 20.2), ("c2d_r50_32x2", {"nonlocal_blocks": 1}, 26.37, 21.4),
    ("nl_c2d_r50_32x2", {}, 31.61, 28.4), ("c2d_r50_32x2", {"nonlocal_blocks": 10}, 38.95, 36.5),
    ("i3d_r50_32x2", {}, 27.99, 32.8), ("i3d_r50_32x2", {"inflation": "3x3x3"}, 33.38, 38.7),
    ("nl_i3d_r50_32x2", {}, 35.33, 41.0), ("c2d_r101_32x2", {}, 43.21, 35.1), ("nl_c2d_r101_32x2", {}, 50.55, 43.2),
    ("i3d_r101_32x2", {}, 51.65, 51.4), ("i3d_r101_32x2", {"inflation": "3x3x3"}, 62.94, 61.9),
    ("nl_i3d_r101_32x2", {}, 58.99, 59.5), ("c2d_r50_8x8", {}, 24.27, 19.3), ("i3d_r50_8x8", {}, 27.99, 28.1),
    ("nl_i3d_r50_8x8", {}, 35.33, 36.2),
]  # fmt: skip


@cache
def total(name: str, **options: object) -> Cost:
    with torch.device("meta"):
        model = build_model(name, num_classes=400, **options)
        costs = complexity(model, length=model.options.clip_length, height=model.options.crop, width=model.options.crop)
    assert sum(cost.parameters for cost in costs.values()) == sum(p.numel() for p in model.parameters())
    return sum(costs.values(), Cost())


@pytest.mark.parametrize(("name", "options", "millions", "gmacs"), GOLDEN)
def test_networks_have_the_known_weights_and_flops(name: str, options: dict, millions: float, gmacs: float) -> None:
    """Weights to the printed digit; FLOPs to 3%, as far as the paper's own numbers go."""
    cost = total(name, **options)
    assert cost.weights / 1e6 == pytest.approx(millions, abs=0.005)
    assert cost.macs / 1e9 == pytest.approx(gmacs, rel=0.03)
    assert cost.executed_macs == cost.macs


@pytest.mark.parametrize(("number", "res3", "res4"), [(1, 0, 1), (5, 2, 3), (10, 4, 6)])
def test_residual_blocks_in_place_of_non_local_ones_cost_their_kernels(number: int, res3: int, res4: int) -> None:
    """C/4 channels inside: 2 C C/4 + 9 C/4 C/4 = 17/16 C^2 weights, each used at every position of the map."""
    cost, base = total("c2d_r50_32x2", nonlocal_blocks=number, added="residual"), total("c2d_r50_32x2")
    weights = {stage: 17 * channels**2 // 16 for stage, channels in (("res3", 512), ("res4", 1024))}
    assert cost.weights - base.weights == res3 * weights["res3"] + res4 * weights["res4"]
    assert cost.macs - base.macs == res3 * weights["res3"] * 4 * 28 * 28 + res4 * weights["res4"] * 4 * 14 * 14


@pytest.mark.parametrize("pairwise", ["gaussian", "dot_product", "concatenation"])
def test_cheap_forms_are_counted_as_executed(pairwise: str) -> None:
    cost = total("nl_c2d_r50_32x2", pairwise=pairwise, subsample="none")
    if pairwise == "gaussian":
        assert cost.executed_macs == cost.macs
    else:
        assert cost.executed_macs < 0.9 * cost.macs


def test_a_network_of_fake_tensors_has_the_same_cost() -> None:
    with FakeTensorMode():
        model = build_model("nl_i3d_r50_8x8", num_classes=400)
        costs = complexity(model, length=8, height=224, width=224)
    assert sum(costs.values(), Cost()) == total("nl_i3d_r50_8x8")


@pytest.mark.parametrize("pairwise", ["embedded_gaussian", "gaussian", "dot_product"])
def test_executed_count_is_that_of_pytorchs_counter(pairwise: str) -> None:
    """On a map so small that the sums are plain products, which the counter sees."""
    model = build_model("nl_i3d_small_8x2", num_classes=5, crop=48, pairwise=pairwise).eval()
    costs = complexity(model, length=8, height=56, width=48)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 8, 56, 48, dtype=torch.uint8))
    assert 2 * sum(cost.executed_macs for cost in costs.values()) == counter.get_total_flops()


def test_function_of_ones_own_that_tells_no_cost_is_refused() -> None:
    model = build_model("nl_c2d_small_8x2", num_classes=5, crop=48, pairwise=torch.nn.Identity())
    with pytest.raises(ValueError, match=r"res3\.nonlocal1: .*Identity has no macs"):
        complexity(model, length=8, height=48, width=48)
