"""The non-local operator on a GPU against its definition."""

import copy

import pytest
import torch
from torch import Tensor

from nonlocal_video.models.attention import softmax_attention
from nonlocal_video.models.pairwise import PAIRWISE
from nonlocal_video.system.distributed import local_device
from tests.models.test_nonlocal_block import SHAPE, assert_close, by_definition, outputs_and_gradients, random_block

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("subsample", ["none", "before", "after"])
@pytest.mark.parametrize("axes", ["space", "time", "spacetime"])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_block_equals_the_definition_in_value_and_gradient(pairwise: str, axes: str, subsample: str) -> None:
    """Float64 to 1e-10 and float32 to 1e-5, as on a CPU; convolutions in TF32 have 10 bits and are switched off."""
    block = random_block(pairwise, axes=axes, subsample=subsample)
    x, weights = torch.randn(2, *SHAPE, dtype=torch.float64)
    expected = outputs_and_gradients(lambda x: by_definition(block, x), block, x, weights)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        own = copy.deepcopy(block).to(local_device(), dtype)
        with torch.backends.cudnn.flags(allow_tf32=False):
            found = outputs_and_gradients(own, own, *(part.to(local_device(), dtype) for part in (x, weights)))
        assert_close([tensor.cpu() for tensor in found], expected, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
@pytest.mark.parametrize("width", [16, 32])
def test_fused_attention_in_half_precision_is_the_softmax(dtype: torch.dtype, tolerance: float, width: int) -> None:
    """Within a few roundings of 8 and 11 bits; values of 16 channels are padded to the width of the queries."""
    inputs = [torch.randn(2, 300, channels, dtype=dtype, device=local_device()) for channels in (32, 32, width)]
    theta, phi, g = (x.double() for x in inputs)
    expected = torch.softmax(0.5 * theta @ phi.mT, dim=2) @ g
    found = softmax_attention(*inputs, scale=0.5).double()
    assert (found - expected).norm() < tolerance * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_fused_attention_builds_no_matrix_of_queries_and_keys(dtype: torch.dtype) -> None:
    """A step over res3's positions of a clip of 32x224 with those of a quarter: a tenth of the weights' bytes."""
    n, m, channels = 16 * 28 * 28, 16 * 14 * 14, 256

    def made(rows: int) -> Tensor:
        return torch.randn(1, rows, channels, dtype=dtype, device=local_device(), requires_grad=True)

    inputs = made(n), made(m), made(m)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    softmax_attention(*inputs, scale=channels**-0.5).sum().backward()
    sums = 3 * sum(x.numel() * 4 for x in inputs)  # Outputs, gradients and sums in float32.
    assert torch.cuda.max_memory_allocated() - before < sums + n * m * inputs[0].element_size() / 10
