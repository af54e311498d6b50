"""Large activations in half precision: finite, and as near the exact result as the rounding of the inputs allows."""

import math

import pytest
import torch
from torch import Tensor

from nonlocal_video.models import attention
from nonlocal_video.models.pairwise import PAIRWISE

N, M, C = 300, 6272, 64
"""Keys: 32 frames of 14x14, as in res3 of a 128-frame network."""


def inputs(dtype: torch.dtype, *, offset: float) -> list[Tensor]:
    """Theta, phi and g around the offset, as after a ReLU; logits are about C offset^2."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, N, C), (1, M, C), (1, M, C))
    return [(torch.randn(shape, generator=generator) + offset).to(dtype).requires_grad_() for shape in shapes]


def definition(name: str, function: torch.nn.Module, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """Eq. 1 with the (N, M) matrix."""
    if name == "concatenation":
        w_theta, w_phi = function.w_f.weight.double().chunk(2, dim=1)
        return torch.relu(theta @ w_theta.mT + (phi @ w_phi.mT).mT) / phi.shape[1] @ g
    logits = theta @ phi.mT
    if name == "dot_product":
        return logits / phi.shape[1] @ g
    return torch.softmax(logits / (math.sqrt(C) if name == "embedded_gaussian" else 1.0), dim=2) @ g


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.03), (torch.float16, 0.004)])
@pytest.mark.parametrize("offset", [0.0, 4.0, 8.0])
@pytest.mark.parametrize("name", PAIRWISE)
def test_large_activations_keep_values_and_gradients(
    name: str, offset: float, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative to the norm of each; at the offset 8 logits are about 4096 and float16 just holds the dot product."""
    monkeypatch.setattr(attention, "CHUNK_BYTES", 0)  # Chunks of 256 queries, whose gradients add up.
    torch.manual_seed(0)
    function = PAIRWISE[name](C)
    own = inputs(dtype, offset=offset)
    exact = [x.detach().double().requires_grad_() for x in own]
    with torch.autocast("cpu", dtype):
        y = function(*own)
    z = definition(name, function, *exact)
    weights = torch.randn(z.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / math.sqrt(N)
    actual = [y, *torch.autograd.grad(y, own, weights.to(y.dtype))]
    expected = [z, *torch.autograd.grad(z, exact, weights)]
    for found, right in zip(actual, expected, strict=True):
        assert found.dtype == dtype
        assert found.isfinite().all()
        # Where one key takes all weight, the gradients of theta and phi vanish: anything below 1e-4 will do.
        assert (found.double() - right).norm() <= tolerance * right.norm() + 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("offset", [0.0, 4.0])
def test_fused_softmax_of_gpus_keeps_large_values(offset: float, dtype: torch.dtype) -> None:
    """PyTorch's kernel, here on the CPU. Its gradients are finite, but at the offset 4 they are 0.1 off."""
    own = inputs(dtype, offset=offset)
    exact = [x.detach().double() for x in own]
    y = attention._fused_softmax(*own, scale=1.0)
    z = torch.softmax(exact[0] @ exact[1].mT, dim=2) @ exact[2]
    assert (y.double() - z).norm() <= 0.01 * z.norm()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(y.sum(), own))
