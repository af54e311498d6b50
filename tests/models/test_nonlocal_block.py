"""The block against the definition, written as loops, and against pytorchvideo's layer."""

import copy
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_video.models import attention
from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.models.pairwise import PAIRWISE

SHAPE = (2, 4, 2, 3, 4)


def random_block(pairwise: str, **options: object) -> NonLocalBlock:
    """A block in float64 whose branch is not zero."""
    torch.manual_seed(0)
    block = NonLocalBlock(SHAPE[1], pairwise=pairwise, **options).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.7)
    return block


def linear(conv: nn.Module, vector: Tensor) -> Tensor:
    return vector if isinstance(conv, nn.Identity) else conv.weight.flatten(1) @ vector + conv.bias


def by_definition(block: NonLocalBlock, x: Tensor) -> Tensor:
    """z = W_z y + x from Eq. 1 to 6, one pair of positions after the other."""
    _, _, frames, height, width = x.shape
    pooled = F.max_pool3d(x, (1, 2, 2)) if block.subsample == "before" else x
    if block.subsample == "after":
        maps = [F.max_pool3d(conv(x), (1, 2, 2)).movedim(1, -1) for conv in (block.phi, block.g)]
        at = [{(b, *key): y[(b, *key)] for b, *key in itertools.product(*map(range, y.shape[:-1]))} for y in maps]
    else:
        places, last = list(itertools.product(range(len(x)), *map(range, pooled.shape[2:]))), pooled.movedim(1, -1)
        at = [{place: linear(conv, last[place]) for place in places} for conv in (block.phi, block.g)]
    phi_at, g_at = at  # By clip, frame, row and column.
    group, ys = block.group_frames or frames, []
    for b, t, h, w in itertools.product(range(x.shape[0]), range(frames), range(height), range(width)):
        seen = [
            (clip, s, i, j)
            for clip, s, i, j in phi_at
            if clip == b
            and (
                (block.axes == "spacetime" and s // group == t // group)
                or (block.axes == "space" and s == t)
                or (block.axes == "time" and (i, j) == (h, w))
            )
        ]
        theta = linear(block.theta, x[b, :, t, h, w])
        phis, gs = ([values[place] for place in seen] for values in (phi_at, g_at))
        if block.pairwise_name in {"gaussian", "embedded_gaussian_unscaled"}:
            f = [torch.exp(theta @ phi) for phi in phis]
        elif block.pairwise_name == "embedded_gaussian":
            f = [torch.exp(theta @ phi / math.sqrt(len(theta))) for phi in phis]
        elif block.pairwise_name == "dot_product":
            f = [theta @ phi for phi in phis]
        else:
            f = [torch.relu(block.pairwise.w_f.weight[0] @ torch.cat([theta, phi])) for phi in phis]
        c = sum(f) if "gaussian" in block.pairwise_name else len(seen)
        ys.append(sum(weight * g for weight, g in zip(f, gs, strict=True)) / c)
    y = torch.stack(ys).unflatten(0, (len(x), frames, height, width)).movedim(-1, 1)
    return x + block.bn(F.conv3d(y, block.w_z.weight, block.w_z.bias))


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_no_region_at_all_gives_none_and_every_parameter_a_gradient(pairwise: str) -> None:
    """The heads of detectors meet images in which nothing is proposed; other ranks wait for the gradients."""
    block = random_block(pairwise)
    y = block(torch.zeros(0, *SHAPE[1:], dtype=torch.float64))
    y.sum().backward()
    assert y.shape == (0, *SHAPE[1:])
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in block.parameters())


@pytest.mark.parametrize("subsample", ["none", "before", "after"])
@pytest.mark.parametrize("axes", ["space", "time", "spacetime"])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_block_equals_the_definition_in_value_and_gradient(pairwise: str, axes: str, subsample: str) -> None:
    check_definition(random_block(pairwise, axes=axes, subsample=subsample).eval(), SHAPE)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_block_equals_the_definition_in_training(pairwise: str) -> None:
    """Only the normalisation, behind all others, is another one."""
    check_definition(random_block(pairwise).train(), SHAPE)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_block_equals_the_definition_in_groups_of_frames(pairwise: str) -> None:
    block = random_block(pairwise, group_frames=2)
    check_definition(block, (2, 4, 6, 2, 3))


def check_definition(block: NonLocalBlock, shape: tuple[int, ...]) -> None:
    """Float64 to 1e-10, float32 to 1e-5: of the largest output, and of the largest gradient of all."""
    x = torch.randn(shape, dtype=torch.float64)
    weights = torch.randn(shape, dtype=torch.float64)
    expected = outputs_and_gradients(lambda x: by_definition(block, x), block, x, weights)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        own = copy.deepcopy(block).to(dtype)
        assert_close(outputs_and_gradients(own, own, x.to(dtype), weights.to(dtype)), expected, tolerance)


def assert_close(actual: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    """The output to a tolerance relative to its largest value, all gradients to one relative to their largest."""
    for got, oracle in ((actual[:1], expected[:1]), (actual[1:], expected[1:])):
        got, oracle = (torch.cat([tensor.double().flatten() for tensor in part]) for part in (got, oracle))
        assert (got - oracle).abs().max() <= tolerance * oracle.abs().max()


def outputs_and_gradients(
    function: Callable[[Tensor], Tensor], block: NonLocalBlock, x: Tensor, weights: Tensor
) -> list[Tensor]:
    x = x.clone().requires_grad_()
    z = function(x)
    return [z, *torch.autograd.grad((z * weights).sum(), [x, *block.parameters()])]


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_images_and_sequences_are_videos_of_one_frame(pairwise: str) -> None:
    image = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    block = random_block(pairwise).eval()
    torch.testing.assert_close(block(image), by_definition(block, image[:, :, None])[:, :, 0], rtol=1e-10, atol=1e-10)
    sequence = torch.randn(2, 4, 9, dtype=torch.float64)
    block = random_block(pairwise, subsample="none").eval()
    expected = by_definition(block, sequence[:, :, None, None])[:, :, 0, 0]
    torch.testing.assert_close(block(sequence), expected, rtol=1e-10, atol=1e-10)
    # A sequence is pooled in pairs: so is an image whose two rows are equal.
    pooled = random_block(pairwise, subsample="before").eval()
    rows = sequence[:, :, None].expand(-1, -1, 2, -1)
    torch.testing.assert_close(pooled(sequence), pooled(rows)[:, :, 0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_block_takes_any_number_of_channels(channels: int) -> None:
    block = NonLocalBlock(channels)
    nn.init.ones_(block.bn.weight)
    assert block(torch.randn(2, channels, 2, 4, 4)).shape == (2, channels, 2, 4, 4)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_layout_of_the_input_changes_no_value(pairwise: str) -> None:
    block = random_block(pairwise).eval()
    x = torch.randn(SHAPE, dtype=torch.float64)
    z = block(x.contiguous(memory_format=torch.channels_last_3d))
    assert z.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(z, block(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_block_under_bfloat16_autocast_stays_close(pairwise: str) -> None:
    """To 3% of the branch in the mean square: bfloat16 has 8 bits, and four products follow one another."""
    torch.manual_seed(0)
    block = NonLocalBlock(32, pairwise=pairwise)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.2)
    x = torch.randn(2, 32, 4, 14, 14)
    exact = copy.deepcopy(block).double().eval()(x.double()) - x
    with torch.autocast("cpu", torch.bfloat16):
        branch = block.eval()(x) - x
    assert (branch - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize("shape", [(2, 8, 2, 8, 8), (1, 8, 4, 24, 24)], ids=["plain", "large"])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_block_compiles_in_one_graph(pairwise: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The large one has a softmax in three chunks of queries, or sorted keys."""
    monkeypatch.setattr(attention, "CHUNK_BYTES", 2**21)
    block = NonLocalBlock(8, pairwise=pairwise)
    nn.init.ones_(block.bn.weight)
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(block), backend="aot_eager", fullgraph=True)
    x = torch.randn(shape)
    assert_close(outputs_and_gradients(compiled, compiled, x, x), outputs_and_gradients(block, block, x, x), 1e-5)


class Nearest(nn.Module):
    """A pairwise function of one's own: y_i is g of the key that is the most like it."""

    def __init__(self, channels: int = 0) -> None:
        super().__init__()

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        index = (theta @ phi.mT).argmax(dim=2)
        return g.gather(1, index[:, :, None].expand(-1, -1, g.shape[2]))


@pytest.mark.parametrize("pairwise", [Nearest, Nearest()])
def test_block_takes_a_pairwise_function_of_ones_own(pairwise: object) -> None:
    block = NonLocalBlock(4, pairwise=pairwise)
    nn.init.ones_(block.bn.weight)
    x = torch.randn(SHAPE)
    assert block(x).shape == SHAPE
    assert block.pairwise_name.endswith("test_nonlocal_block.Nearest")
    assert block.pairwise is not pairwise


@pytest.mark.parametrize("norm", ["batch", "affine", "none"])
def test_block_of_any_norm_starts_as_the_identity_and_trains(norm: str) -> None:
    block = NonLocalBlock(8, norm=norm)
    x = torch.randn(2, 8, 2, 4, 4)
    assert torch.equal(block(x), x)
    optimizer = torch.optim.SGD(block.parameters(), lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        (block(x) - x.flip(0)).square().sum().backward()
        optimizer.step()
    assert block.g.weight.grad.abs().max() > 0


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
        ({"subsample": True}, "subsample: got True"),
        ({"norm": "layer"}, "norm: got"),
        ({"group_frames": -1}, "group_frames: got -1"),
        ({"group_frames": 4, "axes": "space"}, "with axes space"),
        ({"channels": 0}, "channels: got 0"),
    ],
)
def test_block_rejects_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NonLocalBlock(**{"channels": 8, **options})


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (1, 8, 2, 1, 4), "at least 2x2, got 1x4"),
        ({"subsample": "after"}, (1, 8, 2, 4, 1), "got 4x1"),
        ({}, (1, 9, 2, 4, 4), r"got an input of shape \(1, 9, 2, 4, 4\), expected \(B, 8, T, H, W\)"),
        ({}, (8, 4), "got an input of shape"),
        ({"axes": "time"}, (1, 8, 4, 4), "others have no frames"),
        ({"group_frames": 4}, (1, 8, 6, 4, 4), "got 6 frames, expected a multiple of group_frames = 4"),
    ],
)
def test_block_rejects_inputs_that_do_not_fit(options: dict, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NonLocalBlock(8, **options)(torch.zeros(shape))


def test_example_of_the_readme_runs_and_starts_as_the_network_without_a_block() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (example,) = re.findall(r"```python\n(import torch\n.*?)```", text, flags=re.DOTALL)
    names: dict = {}
    exec(example, names)
    assert names["logits"].shape == (2, 1000)
    image, resnet = torch.randn(1, 3, 64, 64), names["resnet"].eval()
    answer = resnet(image)
    resnet.layer3[4] = resnet.layer3[4][0]
    assert torch.equal(resnet(image), answer)
