"""How layers are computed must not change what they compute."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.layers import Convolution, MaxPool

KERNELS = [(1, 1, 1), (1, 3, 3), (3, 1, 1), (3, 3, 3), (5, 7, 7), (1, 7, 7)]
LAST, FIRST = torch.channels_last_3d, torch.contiguous_format


def gradients(call: Callable[[Tensor], Tensor], x: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y = call(x)
    torch.manual_seed(1)
    return [y, *torch.autograd.grad(y, [x, *parameters], torch.randn(y.shape).to(y.dtype))]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize("layout", [LAST, FIRST])
@pytest.mark.parametrize("batch", [1, 2])
def test_convolution_is_pytorchs_in_value_and_gradient(
    kernel: tuple[int, int, int], stride: tuple[int, int, int], layout: torch.memory_format, batch: int
) -> None:
    """Float64, 1e-12 of the largest value."""
    conv = Convolution(4, 6, kernel, stride=stride, bias=True).double()
    x = torch.randn(batch, 4, 5, 8, 9, dtype=torch.float64).contiguous(memory_format=layout)
    padding = tuple(size // 2 for size in kernel)
    parameters = [conv.weight, conv.bias]
    found = gradients(conv, x, parameters)
    expected = gradients(lambda x: F.conv3d(x, conv.weight, conv.bias, stride, padding), x, parameters)
    for got, oracle in zip(found, expected, strict=True):
        assert got.shape == oracle.shape
        assert torch.allclose(got, oracle, rtol=0, atol=1e-12 * max(1.0, oracle.abs().max().item()))


@pytest.mark.parametrize("kernel", KERNELS)
def test_convolution_keeps_the_layout_of_the_map(kernel: tuple[int, int, int], request: pytest.FixtureRequest) -> None:
    """As runs have it, on several threads: on one PyTorch takes other convolutions for kernels over time."""
    conv, threads = Convolution(4, 6, kernel, bias=False), torch.get_num_threads()
    torch.set_num_threads(2)
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    for layout in (LAST, FIRST):
        assert conv(torch.randn(2, 4, 5, 8, 9).contiguous(memory_format=layout)).is_contiguous(memory_format=layout)


@pytest.mark.parametrize(("kernel", "size"), [((3, 1, 1), (2, 9, 9)), ((1, 3, 3), (4, 2, 2)), ((5, 7, 7), (3, 5, 5))])
@pytest.mark.parametrize("layout", [LAST, FIRST])
def test_half_precision_gradients_of_kernels_longer_than_the_map_are_right(
    kernel: tuple[int, int, int], size: tuple[int, int, int], layout: torch.memory_format
) -> None:
    """Where oneDNN's own are not. Inputs exact in bfloat16; 2% of each gradient's norm."""
    conv = Convolution(16, 16, kernel, bias=False)
    conv.weight.data = conv.weight.data.bfloat16().float()
    x = torch.randn(2, 16, *size).bfloat16().contiguous(memory_format=layout)

    def half(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return conv(x)

    found = gradients(half, x, [conv.weight])
    padding = tuple(length // 2 for length in kernel)
    expected = gradients(lambda x: F.conv3d(x, conv.weight, None, 1, padding), x.float(), [conv.weight])
    for got, oracle in zip(found[1:], expected[1:], strict=True):
        assert (got.float() - oracle).norm() < 0.02 * oracle.norm()


def test_max_pool_keeps_half_precision() -> None:
    x = torch.randn(1, 2, 4, 6, 6, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        y = MaxPool((2, 3, 3), (2, 2, 2))(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, F.max_pool3d(x.float(), (2, 3, 3), (2, 2, 2)).bfloat16())


def trained_once(model: Classifier, clips: Tensor) -> list[Tensor]:
    model.train()
    torch.manual_seed(0)
    loss = model(clips).square().sum()
    loss.backward()
    found = [loss.detach(), *(buffer.clone() for buffer in model.buffers())]
    return found + [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def randomised(name: str) -> Classifier:
    """With non-local blocks that do something."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=3, crop=48)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
    return model


def test_recomputing_changes_neither_gradients_nor_statistics() -> None:
    """Bit for bit, the counts of batches that batch normalisation has seen among them."""
    clips = torch.randint(0, 256, (2, 3, 8, 48, 48), dtype=torch.uint8)
    outcomes = []
    for recompute in (False, True):
        model = randomised("nl_i3d_small_8x2")
        model.backbone.recompute = recompute
        outcomes.append(trained_once(model, clips))
    assert len(outcomes[0]) == len(outcomes[1])
    assert all(torch.equal(kept, again) for kept, again in zip(*outcomes, strict=True))
    counts = [value for value in outcomes[1] if value.dtype == torch.int64]
    assert counts
    assert all(count == 1 for count in counts)


def test_recomputing_keeps_fewer_activations() -> None:
    """The bytes that autograd saves for the backward pass, those of the stem among them."""
    clips = torch.randint(0, 256, (1, 3, 8, 48, 48), dtype=torch.uint8)
    saved = []
    for recompute in (False, True):
        model = randomised("nl_i3d_small_8x2").train()
        model.backbone.recompute = recompute
        weights = {parameter.data_ptr() for parameter in model.parameters()}
        kept: dict[int, int] = {}

        def pack(tensor: Tensor, kept: dict[int, int] = kept, weights: set[int] = weights) -> Tensor:
            if tensor.data_ptr() not in weights:
                kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = model(clips)
        saved.append(sum(kept.values()))
        del logits
    assert saved[1] < 0.7 * saved[0]


def test_channels_first_gives_the_same_and_stays_channels_first() -> None:
    """Float32 sums in another order: 1e-4 of the largest logit."""
    clips = torch.randint(0, 256, (2, 3, 8, 48, 48), dtype=torch.uint8)
    logits = []
    for channels_last in (True, False):
        model = randomised("nl_i3d_small_8x2").eval()
        model.lay_out(channels_last=channels_last)
        layouts: list[bool] = []
        hook = lambda _, __, y, seen=layouts: seen.append(y.is_contiguous(memory_format=LAST))  # noqa: E731
        model.backbone.get_submodule("res3").register_forward_hook(hook)
        logits.append(model(clips))
        assert layouts == [channels_last]
    assert torch.allclose(*logits, rtol=0, atol=1e-4 * logits[0].abs().max().item())
