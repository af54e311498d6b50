"""The block and the networks where they are exported, traced, compiled for any size, or transformed."""

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad, gradgradcheck
from torch.export import Dim, export
from torch.func import functional_call, grad, jvp, vmap
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

from nonlocal_video.models import NonLocalBlock, attention
from tests.models.standins import randomise
from tests.models.test_networks import small

FUNCTIONS = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
BLOCKS: list[dict[str, Any]] = [
    *({"pairwise": pairwise, "axes": axes} for pairwise in FUNCTIONS for axes in ("space", "time", "spacetime")),
    *({"pairwise": pairwise, "subsample": pooled} for pairwise in FUNCTIONS for pooled in ("after", "none")),
    *({"pairwise": pairwise, "group_frames": 2} for pairwise in FUNCTIONS),
]
EXPORTED: list[dict[str, Any]] = [
    {"pairwise": "gaussian", "axes": "space", "subsample": "after"},
    {"pairwise": "embedded_gaussian", "group_frames": 2},
    {"pairwise": "dot_product", "axes": "time"},
    {"pairwise": "concatenation", "subsample": "none"},
]  # fmt: skip
SIZES = [(1, 4, 8, 8), (3, 6, 5, 7), (2, 4, 16, 20), (1, 8, 20, 18)]


@pytest.fixture(autouse=True)
def chunks_of_few_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a form that went by the sizes of one call would differ at those of another."""
    monkeypatch.setattr(attention, "CHUNK_BYTES", 0)
    monkeypatch.setattr(attention, "sorts", lambda n, m: n * m > 2**14)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def make(channels: int = 8, **options: Any) -> NonLocalBlock:
    torch.manual_seed(0)
    block = NonLocalBlock(channels, **options)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    return block.eval()


def name(options: dict[str, Any]) -> str:
    return " ".join(map(str, options.values()))


def agree(block: nn.Module, other: Callable[[Tensor], Any], sizes: list[tuple[int, ...]] = SIZES) -> None:
    for b, *size in sizes:
        x = torch.randn(b, 8, *size)
        with torch.no_grad():
            expected = block(x)
            torch.testing.assert_close(
                torch.as_tensor(other(x)), expected, rtol=1e-5, atol=1e-5 * float(expected.max())
            )


@pytest.mark.parametrize("options", BLOCKS, ids=name)
@pytest.mark.parametrize("training", [False, True])
def test_a_batch_of_none_has_an_answer_and_gradients(options: dict[str, Any], training: bool) -> None:
    block = make(**options).train(training)
    x = torch.zeros(0, 8, 4, 6, 6, requires_grad=True)
    z = block(x)
    z.sum().backward()
    assert z.shape == x.shape
    assert x.grad is not None
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in block.parameters())
    assert all(buffer.isfinite().all() for buffer in block.buffers())


@pytest.mark.parametrize("options", BLOCKS, ids=name)
def test_a_trace_is_saved_and_answers_for_other_sizes(tmp_path: Path, options: dict[str, Any]) -> None:
    block = make(**options)
    torch.jit.trace(block, torch.randn(2, 8, 4, 6, 8), check_trace=False).save(str(tmp_path / "block.pt"))
    agree(block, torch.jit.load(str(tmp_path / "block.pt")))


@pytest.mark.slow
@pytest.mark.parametrize("options", EXPORTED, ids=name)
def test_an_export_answers_for_every_size(options: dict[str, Any]) -> None:
    """Batch, frames, height and width are dynamic, in PyTorch's form and in ONNX.

    There the Gaussian has no operators but those of the embedded one.
    """
    block, x = make(**options), torch.randn(2, 8, 4, 6, 8)
    frames = 2 * Dim("half", min=2, max=16) if "group_frames" in options else Dim("t", min=2, max=32)
    sizes = {0: Dim("b", min=1, max=64), 2: frames, 3: Dim("h", min=4, max=200), 4: Dim("w", min=4, max=200)}
    exported = export(block, (x,), dynamic_shapes=(sizes,))
    agree(block, exported.module())
    if options["pairwise"] == "gaussian":
        return
    content = io.BytesIO()
    torch.onnx.export(exported, (x,), dynamo=True, verbose=False).save(content)
    session = onnxruntime.InferenceSession(content.getvalue(), providers=["CPUExecutionProvider"])
    agree(block, lambda x: session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.slow
def test_a_network_is_exported_for_clips_from_those_of_its_training_up() -> None:
    network = small(clip_length=16, nonlocal_blocks=["res2.0"], inflation="3x1x1", pairwise="concatenation").eval()
    randomise(network)
    sizes = {
        0: Dim("b", min=1, max=64),
        2: Dim("t", min=16, max=256),
        3: Dim("h", min=48, max=512),
        4: Dim("w", min=48, max=512),
    }
    exported = export(network, (clips(2, 32, 80, 112),), dynamic_shapes=(sizes,)).module()
    for size in ((1, 16, 48, 48), (2, 20, 53, 81)):
        with torch.no_grad():
            torch.testing.assert_close(exported(clips(*size)), network(clips(*size)), rtol=1e-5, atol=1e-6)


def clips(b: int, t: int, h: int, w: int) -> Tensor:
    return torch.randint(0, 256, (b, 3, t, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", EXPORTED[1:], ids=name)
def test_a_block_for_any_size_is_compiled_twice_at_most(options: dict[str, Any]) -> None:
    """Once for a batch of one, which PyTorch takes for a case of its own, and once for all others."""
    graphs = []
    torch._dynamo.reset()

    def count(graph: torch.fx.GraphModule, _inputs: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    block = make(16, **options)
    compiled = torch.compile(block, backend=count, dynamic=True)
    for b, t, h, w in (
        (2, 4, 8, 12), (3, 4, 8, 12), (5, 6, 8, 9), (6, 4, 5, 7), (2, 8, 16, 20), (1, 4, 33, 40), (1, 4, 20, 18),
        (4, 4, 20, 18),
    ):  # fmt: skip
        x = torch.randn(b, 16, t, h, w)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), block(x), rtol=1e-5, atol=1e-4)
    assert len(graphs) <= 2


@pytest.mark.parametrize("pairwise", FUNCTIONS)
def test_gradients_of_single_samples_are_those_of_a_loop(pairwise: str) -> None:
    block, x = make(pairwise=pairwise, norm="none"), torch.randn(3, 8, 7, 9)
    parameters = dict(block.named_parameters())

    def loss(parameters: dict[str, Tensor], one: Tensor) -> Tensor:
        return functional_call(block, parameters, (one[None],)).pow(2).sum()

    together = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for i in range(3):
        block.zero_grad()
        block(x[i : i + 1]).pow(2).sum().backward()
        for key, parameter in parameters.items():
            assert parameter.grad is not None
            torch.testing.assert_close(together[key][i], parameter.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("pairwise", FUNCTIONS)
def test_directional_derivatives_are_those_of_the_gradient(pairwise: str) -> None:
    block, x = make(pairwise=pairwise, norm="none").double(), torch.randn(2, 8, 5, 6, dtype=torch.float64)
    direction = torch.randn_like(x)
    expected = torch.autograd.functional.jvp(block, x, direction)[1]
    torch.testing.assert_close(jvp(block, (x,), (direction,))[1], expected)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(block(forward_ad.make_dual(x, direction))).tangent
    torch.testing.assert_close(tangent, expected)


@pytest.mark.parametrize("pairwise", FUNCTIONS)
def test_gradients_have_gradients(pairwise: str) -> None:
    block = make(4, pairwise=pairwise, norm="none").double()
    x = torch.randn(2, 4, 4, 6, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(block, (x,), fast_mode=True)
    first, with_graph = (
        torch.autograd.grad(block(x).pow(2).sum(), x, create_graph=graph)[0] for graph in (False, True)
    )
    torch.testing.assert_close(first, with_graph)


@pytest.mark.parametrize("function", ["softmax", "relu_sum"])
def test_every_input_of_a_sum_has_second_derivatives(function: str) -> None:
    shapes = {"softmax": ((2, 5, 3), (2, 4, 3), (2, 4, 2)), "relu_sum": ((2, 200), (2, 100), (2, 100, 2))}[function]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    form = {
        "softmax": lambda *x: attention.softmax_attention(*x, scale=0.5), "relu_sum": attention.relu_sum_attention
    }[function]  # fmt: skip
    for frozen in range(-1, 3):
        for i, x in enumerate(inputs):
            x.requires_grad_(i != frozen)
        assert gradgradcheck(form, inputs, fast_mode=True)


@pytest.mark.parametrize("function", ["softmax", "relu_sum"])
def test_gradients_with_a_graph_are_those_without_where_inputs_depend_on_one_another(function: str) -> None:
    def total(x: Tensor) -> Tensor:
        if function == "softmax":
            return attention.softmax_attention(x, 2 * x, x[..., :2], scale=0.5).pow(2).sum()
        return attention.relu_sum_attention(x[..., 0], x[..., 1], x).pow(2).sum()

    x = torch.randn(1, 200, 3, dtype=torch.float64, requires_grad=True)
    first, with_graph = (torch.autograd.grad(total(x), x, create_graph=graph)[0] for graph in (False, True))
    torch.testing.assert_close(first, with_graph)


@pytest.mark.parametrize("options", BLOCKS, ids=name)
def test_shapes_are_known_on_the_meta_device(options: dict[str, Any]) -> None:
    block = NonLocalBlock(8, **options).to("meta")
    assert block(torch.zeros(2, 8, 4, 64, 64, device="meta")).shape == (2, 8, 4, 64, 64)


def test_features_of_a_network_with_a_block_are_extracted() -> None:
    network = resnet18()
    network.layer3[1] = nn.Sequential(network.layer3[1], NonLocalBlock(256))
    with pytest.raises(TypeError, match=r"tracer_kwargs=\{\"leaf_modules\": \[NonLocalBlock\]\}"):
        create_feature_extractor(network, ["layer4"])
    extractor = create_feature_extractor(network, ["layer4"], tracer_kwargs={"leaf_modules": [NonLocalBlock]})
    assert extractor(torch.zeros(1, 3, 64, 64))["layer4"].shape == (1, 512, 2, 2)
