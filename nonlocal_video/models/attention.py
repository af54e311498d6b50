"""Exact and cheap ways to sum over all keys, for softmax, dot product and ReLU of a sum.

Each public function picks its form by the counts that it states, and takes one form for all sizes where it is
captured. Measured with `tools/benchmark_block.py`; the tables are in docs/benchmark.md.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nonlocal_video.models.capture import full_precision, is_captured

KEPT_BYTES = 256 * 2**20
"""The most that a training step may keep of (B, N, M) weights of a softmax; larger ones it recomputes in chunks."""
CHUNK_BYTES = 16 * 2**20
"""The (B, n, M) logits of one chunk of queries: about what the last cache holds."""
ONEDNN_MACS = 2**24 if torch.backends.mkldnn.is_available() else math.inf
"""The multiply-adds from which on a float32 product on a CPU is worth a call of oneDNN for each sample."""


def softmax_attention(theta: Tensor, phi: Tensor, g: Tensor, *, scale: float) -> Tensor:
    """y_i = sum_j softmax_j(scale theta_i^T phi_j) g_j: theta (B, N, C), phi (B, M, C), g (B, M, D) -> (B, N, D).

    On a GPU: PyTorch's fused attention, which sums in float32 and is linear in N. On a CPU in chunks of
    queries that fit the cache; for training their weights are kept up to `KEPT_BYTES` and computed again
    above. In half precision the logits are float32: in the hundreds bfloat16 has steps of 1 or 2.

    The fused attention has no second derivatives but in `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.
    """
    if is_captured(theta, phi, g) or not len(theta):
        return _plain_softmax(theta, phi, g, scale=scale)
    if theta.device.type != "cpu":
        return _fused_softmax(theta, phi, g, scale=scale)
    trains = torch.is_grad_enabled() and any(x.requires_grad for x in (theta, phi, g))
    num_bytes = theta.shape[0] * theta.shape[1] * phi.shape[1] * g.element_size()
    return _ChunkedSoftmax.apply(theta.to(g.dtype), phi.to(g.dtype), g, scale, trains and num_bytes <= KEPT_BYTES)


def dot_product_attention(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """y_i = sum_j (theta_i^T phi_j) g_j: theta (B, N, C), phi (B, M, C), g (B, M, D) -> (B, N, D).

    theta (phi^T g) costs C D (N + M) multiplications and no (N, M) matrix; (theta phi^T) g costs N M (C + D).
    """
    if is_captured(theta, phi, g) or reorders(*theta.shape[1:], *g.shape[1:]):
        return theta @ (phi.mT @ g)
    return (theta @ phi.mT) @ g


def reorders(n: int, c: int, m: int, d: int) -> bool:
    """Whether theta (phi^T g) takes fewer multiplications than (theta phi^T) g."""
    return c * d * (n + m) <= n * m * (c + d)


def relu_sum_attention(a: Tensor, b: Tensor, g: Tensor) -> Tensor:
    """y_i = sum_j ReLU(a_i + b_j) g_j: a (B, N), b (B, M), g (B, M, D) -> (B, N, D).

    With the keys sorted by b, those with b_j > -a_i come first, and y_i = a_i (their sum of g) + (their
    sum of b g), both prefix sums: O((N + M) (log M + D)), no (N, M) matrix. A row of the prefix sums
    passes through memory often enough to cost about 160 multiply-adds; the plain form takes N M of them.
    """
    if is_captured(a, b, g) or not len(a) or not sorts(a.shape[1], b.shape[1]):
        return _plain_relu_sum(a, b, g)
    wide = torch.promote_types(g.dtype, torch.float32)  # Sums over thousands of keys.
    with full_precision(a):
        return _SortedReluSum.apply(a.to(wide), b.to(wide), g.to(wide)).to(g.dtype)


def sorts(n: int, m: int) -> bool:
    """Whether sorting m keys for n queries costs less than n m multiply-adds a channel."""
    return 160 * (n + m) <= n * m


def _plain_softmax(theta: Tensor, phi: Tensor, g: Tensor, *, scale: float) -> Tensor:
    with full_precision(theta):
        weights = torch.softmax(_wide(theta) * scale @ _wide(phi).transpose(1, 2), dim=2)
        return weights.to(g.dtype) @ g


def _plain_relu_sum(a: Tensor, b: Tensor, g: Tensor) -> Tensor:
    return torch.relu(a[:, :, None] + b[:, None]).to(g.dtype) @ g


def _gradients(plain: Callable[..., Tensor], inputs: tuple[Tensor, ...], dy: Tensor) -> tuple[Tensor, ...]:
    """Gradients of a plain form that have gradients themselves; one input may depend on another."""
    inputs = tuple(x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in inputs)
    return torch.autograd.grad(plain(*inputs), inputs, dy, create_graph=True)


def _has_graph() -> bool:
    """Whether a backward pass is to have a gradient itself (`create_graph=True`)."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _fused_softmax(theta: Tensor, phi: Tensor, g: Tensor, *, scale: float) -> Tensor:
    """Calls PyTorch's kernels, which build N x M unless they get four axes, equal widths and channels side by side."""
    d = g.shape[2]
    g = F.pad(g, (0, max(0, theta.shape[2] - d)))
    theta, phi, g = (x[:, None].contiguous() for x in (theta, phi, g))
    return F.scaled_dot_product_attention(theta, phi, g, scale=scale)[:, 0, :, :d]


class _ChunkedSoftmax(torch.autograd.Function):
    """softmax(scale theta phi^T) g in chunks of queries, so that no more than a chunk of (N, M) is ever in use.

    With w the weights of a chunk and e the gradient of y: dg = w^T e and, for the logits,
    ds = w (e g^T - m), m being the mean of e g^T by the weights w of each row; from it
    dtheta = scale ds phi and dphi = scale ds^T theta. m is e . y too, but then ds does not sum to 0 where w and
    y are rounded: in bfloat16 the gradients were 0.1 off that are now 0.01 off.
    (`transpose` and not `mT`, which PyTorch 2.6 compiles wrongly for what was saved in `ctx`.)
    """

    @staticmethod
    def forward(ctx: Any, theta: Tensor, phi: Tensor, g: Tensor, scale: float, keep: bool) -> Tensor:
        keys, values = _wide(phi), g.transpose(1, 2).contiguous()  # (B, M, C), (B, D, M)
        ctx.scale, ctx.rows = scale, max(256, CHUNK_BYTES // (len(theta) * phi.shape[1] * keys.element_size()))
        # Made once: small tensors kept between the large ones of the chunks would scatter them over the heap.
        y = theta.new_empty(*theta.shape[:2], g.shape[2])  # (B, N, D)
        kept = []
        for queries, outputs in _chunks(ctx.rows, theta, y):
            weights = _weights(queries, keys, scale=scale, dtype=g.dtype)  # (B, n, M)
            outputs.copy_(_product(weights, values))
            if keep:
                kept.append(weights)
        ctx.save_for_backward(theta, phi, g, *kept)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        theta, phi, g, *kept = ctx.saved_tensors
        if _has_graph():
            return *_gradients(partial(_plain_softmax, scale=ctx.scale), (theta, phi, g), dy), None, None
        dtheta, dphi, dg = torch.empty_like(theta), torch.zeros_like(_wide(phi)), torch.zeros_like(_wide(g))
        keys, turned = _wide(phi), phi.transpose(1, 2).contiguous()  # (B, M, C), (B, C, M)
        for i, (queries, gradients, dqueries) in enumerate(_chunks(ctx.rows, theta, dy, dtheta)):
            weights = kept[i] if kept else _weights(queries, keys, scale=ctx.scale, dtype=g.dtype)  # (B, n, M)
            dg.add_(weights.transpose(1, 2) @ gradients)
            wide, parts = _wide(weights), _wide(_product(gradients, g))
            parts.mul_(wide)
            mean = parts.sum(dim=2, keepdim=True) / wide.sum(dim=2, keepdim=True)
            dlogits = parts.addcmul_(wide, mean, value=-1).to(g.dtype)
            dqueries.copy_(_product(dlogits, turned))
            dphi.add_(dlogits.transpose(1, 2) @ queries)
        return dtheta.mul_(ctx.scale), dphi.mul_(ctx.scale).to(g.dtype), dg.to(g.dtype), None, None


def _weights(queries: Tensor, keys: Tensor, *, scale: float, dtype: torch.dtype) -> Tensor:
    """softmax(scale queries keys^T) from logits of at least float32, in `dtype`."""
    with torch.autocast("cpu", enabled=False):
        return torch.softmax(_product(_wide(queries) * scale, keys), dim=2).to(dtype)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """A (B, N, C), b (B, M, C) -> a b^T (B, N, M).

    PyTorch gives float32 products to MKL, which on AMD uses half the width of AVX-512: oneDNN took half
    the time there for the same sum, as a convolution whose kernel is b.
    """
    if a.dtype != torch.float32 or a.shape[1] * a.shape[2] * b.shape[1] < ONEDNN_MACS:
        return a @ b.transpose(1, 2)
    maps = [F.conv2d(x[None, None].permute(0, 3, 1, 2), y[:, :, None, None]) for x, y in zip(a, b, strict=True)]
    return (maps[0] if len(maps) == 1 else torch.cat(maps)).permute(0, 2, 3, 1)[:, 0]


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _chunks(rows: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of so many rows (axis 1) of each tensor at a time."""
    for start in range(0, tensors[0].shape[1], rows):
        yield tuple(x[:, start : start + rows] for x in tensors)


class _SortedReluSum(torch.autograd.Function):
    """sum_j ReLU(a_i + b_j) g_j by sorting; ReLU'(0) = 0.

    With the keys in descending order of b, query i sees the first `ends[i]` of them. All a and b are
    taken from the mean of b: with a near +100 and b near -100 the sums would lose digits.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, g: Tensor) -> Tensor:
        ordered, order = b.sort(dim=1, descending=True)  # (B, M)
        # Compared without adding, so that no rounding decides which keys are seen.
        ends = torch.searchsorted(-ordered, a.contiguous())  # (B, N): the keys with -b_j < a_i
        middle = b.mean(dim=1, keepdim=True)
        inputs, ordered = (a, b, g), ordered - middle
        a = a + middle
        rows = _rows(g, order)
        # (B, M + 1, D): the sums of g, and of b g, over the first 0, 1, ..., M keys.
        counts, moments = (F.pad(x, (0, 0, 1, 0)).cumsum(dim=1) for x in (rows, rows * ordered[:, :, None]))
        ctx.save_for_backward(*inputs, a, b - middle, order, ends, counts)
        return _rows(moments, ends).addcmul_(a[:, :, None], _rows(counts, ends))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, ...]:
        inputs, (a, b, order, ends, counts) = ctx.saved_tensors[:3], ctx.saved_tensors[3:]
        if _has_graph():
            return _gradients(_plain_relu_sum, inputs, dy)
        g = inputs[2]
        da = (dy * _rows(counts, ends)).sum(dim=2)
        # A key is seen by the queries whose `ends` lie beyond it: sum dy by ends, from the last key on.
        m = g.shape[1]
        seen = m - 1 - order.argsort(dim=1)  # (B, M)
        sums = (_sums_by(m - ends, x, num=m) for x in (dy, dy * a[:, :, None]))
        dcounts, dmoments = (_rows(x.cumsum(dim=1), seen) for x in sums)  # (B, M, D)
        return da, (g * dcounts).sum(dim=2), dmoments.addcmul_(b[:, :, None], dcounts)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """X (B, M, D) at index (B, N) -> (B, N, D); whole rows, many times faster on a CPU than `gather`."""
    b, m, d = x.shape
    start = torch.arange(0, b * m, m, device=x.device)[:, None]
    return x.reshape(b * m, d).index_select(0, (index + start).flatten()).view(b, -1, d)


def _sums_by(index: Tensor, x: Tensor, *, num: int) -> Tensor:
    """The sums of the rows of x (B, N, D) with index 0, 1, ..., num - 1 -> (B, num, D); larger ones are left out."""
    b, d = len(x), x.shape[2]
    start = torch.arange(0, b * (num + 1), num + 1, device=x.device)[:, None]
    sums = x.new_zeros(b * (num + 1), d).index_add_(0, (index + start).flatten(), x.reshape(-1, d))
    return sums.view(b, num + 1, d)[:, :num]
