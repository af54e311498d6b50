"""Every form of the sums over all keys, at sizes where it is taken, against the definition."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nonlocal_video.models import attention
from nonlocal_video.models.attention import dot_product_attention, relu_sum_attention, softmax_attention

B, N, M, C, D = 2, 700, 300, 12, 5


def tensors(*shapes: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def compare(function: object, oracle: object, inputs: list[Tensor], tolerance: float) -> None:
    """Values and gradients, to a tolerance relative to the largest of each."""
    exact = [x.detach().double().requires_grad_() for x in inputs]
    y, z = function(*inputs), oracle(*exact)
    weights = torch.randn(z.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    actual = [y, *torch.autograd.grad(y, inputs, weights.to(y.dtype))]
    expected = [z, *torch.autograd.grad(z, exact, weights)]
    for found, right in zip(actual, expected, strict=True):
        assert found.dtype == inputs[0].dtype
        assert (found.double() - right).abs().max() <= tolerance * right.abs().max()


def naive_softmax(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    return torch.softmax(0.3 * theta @ phi.mT, dim=2) @ g


FORMS = {
    "kept": (2**40, 2**40),
    "kept, by oneDNN": (2**40, 0),
    "recomputed": (0, 2**40),
    "recomputed, by oneDNN": (0, 0),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("form", FORMS)
def test_softmax_equals_the_definition_in_every_form(
    form: str, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, large = FORMS[form]
    monkeypatch.setattr(attention, "KEPT_BYTES", kept)
    monkeypatch.setattr(attention, "ONEDNN_MACS", large)
    monkeypatch.setattr(attention, "CHUNK_BYTES", 0)  # Chunks of 256 queries: the last one is shorter.
    inputs = tensors((B, N, C), (B, M, C), (B, M, D), dtype=dtype)
    compare(lambda *x: softmax_attention(*x, scale=0.3), naive_softmax, inputs, tolerance)
    with torch.no_grad():
        y = softmax_attention(*inputs, scale=0.3)
    assert (y.double() - naive_softmax(*(x.double() for x in inputs))).abs().max() <= tolerance


@pytest.mark.parametrize("width", [C, D])
def test_fused_softmax_equals_the_definition(width: int) -> None:
    """The form of half precision and of GPUs, here in float32, with and without padding of the values."""
    inputs = tensors((B, N, C), (B, M, C), (B, M, width), dtype=torch.float32)
    compare(lambda *x: attention._fused_softmax(*x, scale=0.3), naive_softmax, inputs, 1e-5)


def test_softmax_of_logits_in_the_hundreds_is_finite_in_half_precision() -> None:
    theta, phi, g = (30 * x.detach() for x in tensors((1, 64, C), (1, 64, C), (1, 64, D), dtype=torch.bfloat16))
    assert softmax_attention(theta, phi, g, scale=1.0).isfinite().all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("width", [4, 600], ids=["reordered", "plain"])
def test_dot_product_equals_the_definition_in_both_orders(width: int, dtype: torch.dtype, tolerance: float) -> None:
    inputs = tensors((B, N, width), (B, M, width), (B, M, width), dtype=dtype)
    compare(dot_product_attention, lambda theta, phi, g: theta @ phi.mT @ g, inputs, tolerance)


def naive_relu_sum(a: Tensor, b: Tensor, g: Tensor) -> Tensor:
    return torch.relu(a[:, :, None] + b[:, None]) @ g


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("offset", [0.0, 100.0], ids=["centred", "far"])
@pytest.mark.parametrize("n", [100, N], ids=["plain", "sorted"])
def test_relu_sum_equals_the_definition(n: int, offset: float, dtype: torch.dtype, tolerance: float) -> None:
    """Also where a near +100 and b near -100 cancel."""
    a, b, g = tensors((B, n), (B, M), (B, M, D), dtype=dtype)
    a, b = (a + offset).detach().requires_grad_(), (b - offset).detach().requires_grad_()
    compare(relu_sum_attention, naive_relu_sum, [a, b, g], tolerance)


def test_relu_sum_counts_ties_and_zeros_as_relu_does() -> None:
    a = torch.randint(-3, 4, (B, N)).double().requires_grad_()
    b = torch.randint(-3, 4, (B, M)).double().requires_grad_()
    g = torch.randn(B, M, D, dtype=torch.float64, requires_grad=True)
    compare(relu_sum_attention, naive_relu_sum, [a, b, g], 1e-10)
    a, b = a - 10, b - 10  # No pair is positive.
    assert not relu_sum_attention(a, b, g).any()


def test_gradients_pass_gradcheck() -> None:
    theta, phi, g = tensors((1, 5, 3), (1, 4, 3), (1, 4, 2), dtype=torch.float64)
    for keep in (False, True):
        assert torch.autograd.gradcheck(
            lambda *x, keep=keep: attention._ChunkedSoftmax.apply(*x, 0.3, keep), (theta, phi, g)
        )
    a, b = tensors((1, 6), (1, 4), dtype=torch.float64)
    assert torch.autograd.gradcheck(attention._SortedReluSum.apply, (a, b, g))


class Largest(TorchDispatchMode):
    """Records the most elements of any tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(
        self, function: object, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        result = function(*args, **(kwargs or {}))
        for output in result if isinstance(result, tuple | list) else [result]:
            if isinstance(output, Tensor):
                self.numel = max(self.numel, output.numel())
        return result


@pytest.mark.parametrize("name", ["dot_product", "relu_sum", "softmax"])
def test_no_matrix_of_all_pairs_is_built(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "KEPT_BYTES", 0)
    monkeypatch.setattr(attention, "CHUNK_BYTES", 0)
    theta, phi, g = tensors((1, 2000, 8), (1, 1000, 8), (1, 1000, 8), dtype=torch.float32)
    with Largest() as largest:
        if name == "softmax":
            y = softmax_attention(theta, phi, g, scale=1.0)
        elif name == "dot_product":
            y = dot_product_attention(theta, phi, g)
        else:
            y = relu_sum_attention(theta[:, :, 0], phi[:, :, 0], g)
        y.sum().backward()
    assert largest.numel <= (256 * 1000 if name == "softmax" else 2000 * 8)
