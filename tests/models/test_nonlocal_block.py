"""The block against the definition, written as loops, and against pytorchvideo's layer."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.models.pairwise import PAIRWISE

SHAPE = (2, 4, 2, 3, 4)


def random_block(pairwise: str, *, axes: str = "spacetime", subsample: str = "before") -> NonLocalBlock:
    """A block in float64 whose branch is not zero."""
    torch.manual_seed(0)
    block = NonLocalBlock(SHAPE[1], pairwise=pairwise, axes=axes, subsample=subsample).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.7)
    return block


def linear(conv: nn.Module, vector: Tensor) -> Tensor:
    return vector if isinstance(conv, nn.Identity) else conv.weight.flatten(1) @ vector + conv.bias


def by_definition(block: NonLocalBlock, x: Tensor) -> Tensor:
    """z = W_z y + x from Eq. 1 to 6, one pair of positions after the other."""
    _, _, frames, height, width = x.shape
    pooled = F.max_pool3d(x, (1, 2, 2)) if block.subsample == "before" else x
    y = torch.zeros(x.shape[0], x.shape[1] // 2, frames, height, width, dtype=x.dtype)
    keys = list(itertools.product(range(frames), range(pooled.shape[3]), range(pooled.shape[4])))
    for b, t, h, w in itertools.product(range(x.shape[0]), range(frames), range(height), range(width)):
        seen = [
            (s, i, j)
            for s, i, j in keys
            if block.axes == "spacetime"
            or (block.axes == "space" and s == t)
            or (block.axes == "time" and (i, j) == (h, w))
        ]
        theta = linear(block.theta, x[b, :, t, h, w])
        phis = [linear(block.phi, pooled[b, :, s, i, j]) for s, i, j in seen]
        gs = [linear(block.g, pooled[b, :, s, i, j]) for s, i, j in seen]
        if block.pairwise_name == "gaussian" or block.pairwise_name == "embedded_gaussian_unscaled":
            f = [torch.exp(theta @ phi) for phi in phis]
        elif block.pairwise_name == "embedded_gaussian":
            f = [torch.exp(theta @ phi / math.sqrt(len(theta))) for phi in phis]
        elif block.pairwise_name == "dot_product":
            f = [theta @ phi for phi in phis]
        else:
            f = [torch.relu(block.pairwise.w_f.weight[0] @ torch.cat([theta, phi])) for phi in phis]
        c = sum(f) if "gaussian" in block.pairwise_name else len(seen)
        y[b, :, t, h, w] = sum(weight * g for weight, g in zip(f, gs, strict=True)) / c
    return x + block.bn(F.conv3d(y, block.w_z.weight, block.w_z.bias))


@pytest.mark.parametrize("subsample", ["none", "before"])
@pytest.mark.parametrize("axes", ["space", "time", "spacetime"])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_block_equals_the_definition_in_value_and_gradient(pairwise: str, axes: str, subsample: str) -> None:
    block = random_block(pairwise, axes=axes, subsample=subsample)
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(SHAPE, dtype=torch.float64)
    inputs = [x, *block.parameters()]

    expected = by_definition(block, x)
    actual = block(x)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    for own, oracle in zip(
        torch.autograd.grad((actual * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(own, oracle, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("subsample", ["none", "before"])
@pytest.mark.parametrize(
    ("pairwise", "instantiation"), [("embedded_gaussian", "softmax"), ("dot_product", "dot_product")]
)
def test_block_equals_pytorchvideos_layer(pairwise: str, instantiation: str, subsample: str) -> None:
    from pytorchvideo.layers.nonlocal_net import NonLocal

    block = random_block(pairwise, subsample=subsample)
    names = {"conv_theta": block.theta, "conv_phi": block.phi, "conv_g": block.g, "conv_out": block.w_z}
    pool = nn.MaxPool3d((1, 2, 2)) if subsample == "before" else None
    oracle = NonLocal(**names, pool=pool, norm=block.bn, instantiation=instantiation)
    x = torch.randn(SHAPE, dtype=torch.float64)
    torch.testing.assert_close(block(x), oracle(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_block_is_identity_at_init(pairwise: str) -> None:
    x = torch.randn(2, 8, 2, 4, 4)
    assert torch.equal(NonLocalBlock(8, pairwise=pairwise)(x), x)


def test_block_has_twice_the_square_of_its_channels_in_weights() -> None:
    block = NonLocalBlock(512)
    assert sum(conv.weight.numel() for conv in block.modules() if isinstance(conv, nn.Conv3d)) == 2 * 512**2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairwise": "softmax"}, "pairwise: got 'softmax'"),
        ({"axes": "frames"}, "axes: got"),
        ({"channels": 0}, "channels: got 0"),
    ],
)
def test_block_rejects_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NonLocalBlock(**{"channels": 8, **options})


def test_block_rejects_a_map_too_small_to_subsample() -> None:
    with pytest.raises(ValueError, match="got 1x4"):
        NonLocalBlock(8)(torch.zeros(1, 8, 2, 1, 4))
