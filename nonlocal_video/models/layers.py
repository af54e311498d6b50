"""Layers of video networks: by the kernels that libraries do best, frozen, or computed twice to save memory."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from nonlocal_video.models.capture import is_captured
from nonlocal_video.settings.vocabulary import Norm

Triple = tuple[int, int, int]


class Convolution(nn.Conv3d):
    """A convolution padded with zeros to keep the size; without a kernel over time it is computed as what it is.

    On channels-last maps 1 x k x k is a convolution of the B T frames, and in half precision 1 x 1 x 1 a
    matrix product: views, and faster. Not so in half precision on a CPU for k > 1, where both are as
    fast, and 2-D waits longer where cores are shared (docs/benchmark_train.md).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Triple,
        *,
        stride: Triple = (1, 1, 1),
        groups: int = 1,
        bias: bool,
    ) -> None:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        super().__init__(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """X (B, C, T, H, W) -> (B, C', T', H', W')."""
        if is_captured(x):
            return super().forward(x)
        half, last = _in_half(x), x.is_contiguous(memory_format=torch.channels_last_3d)
        if half and last and self.kernel_size == (1, 1, 1) and self.groups == 1:
            return self._as_product(x)
        if half and x.device.type == "cpu":
            return self._in_half_on_cpu(x)
        return self._on_frames(x) if last and self.kernel_size[0] == 1 else super().forward(x)

    # Maps are viewed with the channels last: views of (B, C, ...) get odd strides at B = 1, and kernels take these for
    # channels first.
    def _as_product(self, x: Tensor) -> Tensor:
        t, h, w = self.stride
        x = x.permute(0, 2, 3, 4, 1)[:, ::t, ::h, ::w]  # (B, T', H', W', C)
        return F.linear(x, self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)

    def _on_frames(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 4, 1)[:, :: self.stride[0]]  # (B, T', H, W, C)
        frames = x.flatten(0, 1).permute(0, 3, 1, 2)  # (B T', C, H, W)
        weight = self.weight.squeeze(2)
        y = F.conv2d(frames, weight, self.bias, self.stride[1:], self.padding[1:], groups=self.groups)
        return y.permute(0, 2, 3, 1).unflatten(0, x.shape[:2]).permute(0, 4, 1, 2, 3)

    def _in_half_on_cpu(self, x: Tensor) -> Tensor:
        """Pads first where a kernel is longer than the map: there oneDNN 3.13 errs, or writes out of bounds."""
        if all(size >= length for size, length in zip(x.shape[2:], self.kernel_size, strict=True)):
            return super().forward(x)
        t, h, w = (length // 2 for length in self.kernel_size)
        return F.conv3d(F.pad(x, (w, w, h, h, t, t)), self.weight, self.bias, self.stride, groups=self.groups)


def _in_half(x: Tensor) -> bool:
    """Whether a product with x is computed in half precision."""
    autocast = not x.is_meta and torch.is_autocast_enabled(x.device.type)
    return autocast or x.dtype in (torch.bfloat16, torch.float16)


class MaxPool(nn.MaxPool3d):
    """`nn.MaxPool3d` in the precision of its input: autocast on a CPU makes it float32, though it rounds nothing.

    With `rounds_up` the windows in space may reach over the edge, as long as they begin within the map; those over
    time may not.
    """

    kernel_size: Triple
    stride: Triple
    padding: Triple

    def __init__(
        self, kernel: Triple, stride: Triple | None = None, padding: Triple = (0, 0, 0), *, rounds_up: bool = False
    ) -> None:
        super().__init__(kernel, stride or kernel, padding, ceil_mode=rounds_up)

    def forward(self, x: Tensor) -> Tensor:
        """X (B, C, T, H, W) -> (B, C, T', H', W')."""
        if self.ceil_mode:
            kernel, stride = self.kernel_size[0], self.stride[0]
            x = x[:, :, : (x.shape[2] - kernel) // stride * stride + kernel]
        with torch.autocast("cpu", enabled=False):
            return super().forward(x)

    def pooled_size(self, size: int, *, axis: int) -> int:
        """The size of the pooled map along an axis: 0 time, 1 height, 2 width."""
        kernel, stride, padding = self.kernel_size[axis], self.stride[axis], self.padding[axis]
        over = size + 2 * padding - kernel
        pooled = over // stride + 1
        reaches = self.ceil_mode and axis > 0 and over % stride > 0 and pooled * stride < size + padding
        return pooled + 1 if reaches else pooled


class FrozenAffine(nn.Module):
    """y = weight x + bias with one pair a channel, never trained: the released code's AffineNd.

    A batch normalisation in testing mode is such a map.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """X (B, C, T, H, W) -> the same shape."""
        weight, bias = (vector.to(x.dtype)[:, None, None, None] for vector in (self.weight, self.bias))
        return torch.addcmul(bias, x, weight)


def set_kernel_layout(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Sets the memory format of a network's kernels, which are replaced."""
    for conv in model.modules():
        # A 1x1x1 kernel is the same in both formats; told otherwise, DDP warns of its strides.
        if isinstance(conv, nn.Conv3d) and conv.kernel_size != (1, 1, 1):
            kernel = conv.weight.detach().contiguous(memory_format=memory_format)
            conv.weight = nn.Parameter(kernel, conv.weight.requires_grad)


def make_norm(norm: Norm, channels: int, *, eps: float) -> nn.Module:
    """A normalisation layer of the backbone: batch normalisation, or the frozen affine that it becomes."""
    return nn.BatchNorm3d(channels, eps=eps) if norm == "batch" else FrozenAffine(channels)


def recomputed(layer: nn.Module, x: Tensor) -> Tensor:
    """layer(x), of which only x is kept; the layer is computed again for its gradient (activation checkpointing).

    The second computation leaves the running statistics of batch normalisation alone.
    """
    # Compiled, a layer is a pure function: its statistics are results of the first computation only.
    if torch.compiler.is_compiling():
        return checkpoint(layer, x, use_reentrant=False)
    return checkpoint(layer, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _lent_buffers(layer)))


@contextmanager
def _lent_buffers(layer: nn.Module) -> Iterator[None]:
    """The layer has copies of its buffers; its own are neither changed nor, as a copy back would, marked as changed."""
    modules = list(layer.modules())
    own = [(module, name, buffer) for module in modules for name, buffer in module.named_buffers(recurse=False)]
    for module, name, buffer in own:
        setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, name, buffer in own:
            setattr(module, name, buffer)
