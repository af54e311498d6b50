"""Convolution and max-pooling of video by the kernels that libraries do best: those of images, and matrix products."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Convolution(nn.Conv3d):
    """A convolution whose zero padding keeps the size; without a kernel over time it is computed as what it is.

    On channels-last maps, 1 x k x k is a convolution of the B T frames, and 1 x 1 x 1 in half precision a
    matrix product: views, and faster (docs/benchmark_train.md says where; half precision on a CPU is not
    for k > 1).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int],
        *,
        stride: tuple[int, int, int] = (1, 1, 1),
        bias: bool,
    ) -> None:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        super().__init__(in_channels, out_channels, kernel, stride=stride, padding=padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """X (B, C, T, H, W) -> (B, C', T', H', W')."""
        half, pointwise = _in_half(x), self.kernel_size == (1, 1, 1)
        video = self.kernel_size[0] > 1 or (half and not pointwise and x.device.type == "cpu")
        if video or not x.is_contiguous(memory_format=torch.channels_last_3d):
            return super().forward(x)
        # Viewed with the channels last: views of (B, C, ...) have odd strides at B = 1, and kernels take them for
        # channels first.
        x = x.permute(0, 2, 3, 4, 1)[:, :: self.stride[0]]  # (B, T', H, W, C)
        if pointwise and half:
            y = F.linear(x[:, :, :: self.stride[1], :: self.stride[2]], self.weight.flatten(1), self.bias)
        else:
            frames = x.flatten(0, 1).permute(0, 3, 1, 2)  # (B T', C, H, W)
            y = F.conv2d(frames, self.weight.squeeze(2), self.bias, self.stride[1:], self.padding[1:])
            y = y.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])
        return y.permute(0, 4, 1, 2, 3)


class MaxPool(nn.MaxPool3d):
    """`nn.MaxPool3d` in the precision of its input: autocast on a CPU makes it float32, though it rounds nothing."""

    def forward(self, x: Tensor) -> Tensor:
        """X (B, C, T, H, W) -> (B, C, T', H', W')."""
        with torch.autocast("cpu", enabled=False):
            return super().forward(x)


def _in_half(x: Tensor) -> bool:
    """Whether a product with x is computed in half precision."""
    autocast = not x.is_meta and torch.is_autocast_enabled(x.device.type)
    return autocast or x.dtype in (torch.bfloat16, torch.float16)
