"""The residual backbone of C2D and I3D (Table 1 of the paper), as the released code builds it.

Where the paper's Table 1 and the released code differ (pool1 without padding, temporal pooling over
2 frames instead of 3), this file follows the released code.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_video.models.layers import Convolution, MaxPool, make_norm, recomputed
from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.settings.network import DEPTHS, NetworkOptions
from nonlocal_video.settings.vocabulary import Inflation

STAGES = ("res2", "res3", "res4", "res5")


STEMS = {
    "strided": (2, 2, 2),  # 32x2 and 128x1: the paper's Table 1
    "dense": (1, 1, 1),  # 8x8 and 32x4: the released code's faster networks
    "skipping": (2, 1, 2),  # mmaction2: pool1 drops every second frame
}
"""Over time: the stride of conv1, the kernel of pool1, and its stride."""


class Bottleneck(nn.Module):
    """1x1x1 - 1x3x3 - 1x1x1 residual block; a spatial stride sits on the 1x3x3, or with `stride_in` "1x1" on the first.

    `width` is a quarter of the channels that leave the block. Inflated, the first kernel is 3x1x1 or the second 3x3x3.
    The last batch normalisation starts with gamma = 0, so that the block starts as its shortcut.
    """

    def __init__(
        self, in_channels: int, width: int, *, options: NetworkOptions, inflation: Inflation = "none", stride: int = 1
    ) -> None:
        super().__init__()
        norm, depth = partial(make_norm, options.norm, eps=options.bn_eps), DEPTHS[options.depth]
        inner, out_channels = depth.inner(width), 4 * width
        t1, t2 = 3 if inflation == "3x1x1" else 1, 3 if inflation == "3x3x3" else 1
        first, second = (stride, 1) if options.stride_in == "1x1" else (1, stride)
        self.conv1 = Convolution(in_channels, inner, (t1, 1, 1), stride=(1, first, first), bias=False)
        self.bn1 = norm(inner)
        kernel, strides = (t2, 3, 3), (1, second, second)
        self.conv2 = Convolution(inner, inner, kernel, stride=strides, groups=depth.groups, bias=False)
        self.bn2 = norm(inner)
        self.conv3 = Convolution(inner, out_channels, (1, 1, 1), bias=False)
        self.bn3 = norm(out_channels)
        if isinstance(self.bn3, nn.BatchNorm3d):
            nn.init.zeros_(self.bn3.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            projection = Convolution(in_channels, out_channels, (1, 1, 1), stride=(1, stride, stride), bias=False)
            self.shortcut = nn.Sequential(projection, norm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """X (B, C, T, H, W) -> (B, 4 width, T, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)).add_(self.shortcut(x)), inplace=True)


class ResNet3d(nn.Module):
    """conv1, pool1, res2, pool2, res3, res4, res5 with blocks added after chosen residual blocks.

    Space shrinks 32 times, time 8 times with a strided stem and twice with a dense one. In I3D conv1 is 5x7x7, and the
    residual blocks in `inflated_blocks` have a kernel over time (Sec. 4). With `recompute` set, a training step keeps
    of each residual and non-local block only its input (activation checkpointing).

    Args:
        places: the residual blocks of each stage that an added block follows: {"res3": (1, 3), "res4": (1, 3, 5)}.
    """

    def __init__(self, options: NetworkOptions, *, places: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self.recompute = False
        (conv1_stride, pool1_kernel, pool1_stride), (blocks, width, *_) = STEMS[options.stem], DEPTHS[options.depth]
        channels, kernel = options.stem_width or width, (1 if options.inflation == "none" else 5, 7, 7)
        self.conv1 = Convolution(3, channels, kernel, stride=(conv1_stride, 2, 2), bias=False)
        self.bn1 = make_norm(options.norm, channels, eps=options.bn_eps)
        padding, rounds_up = (0, options.pool1_padding, options.pool1_padding), options.pool1_rounds_up
        self.pool1 = MaxPool((pool1_kernel, 3, 3), (pool1_stride, 2, 2), padding, rounds_up=rounds_up)
        self.pool2: nn.Module = MaxPool((2, 1, 1)) if options.pool2 else nn.Identity()
        for number, (stage, num_blocks) in enumerate(zip(STAGES, blocks, strict=True)):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            inner = width * 2**number
            for i in range(num_blocks):
                inflation = options.inflation if i in inflated_blocks(stage, num_blocks) else "none"
                stride = 2 if number > 0 and i == 0 else 1
                layers[f"block{i}"] = Bottleneck(channels, inner, options=options, inflation=inflation, stride=stride)
                channels = 4 * inner
                if i in places.get(stage, ()):
                    layers[f"{options.added}{i}"] = make_added(stage, channels, options)
            self.add_module(stage, nn.Sequential(layers))
        self.channels = channels
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv3d) and ".nonlocal" not in name:  # Non-local blocks start in their own way.
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if options.norm == "affine" and ".residual" in name and name.endswith("conv3"):
                    nn.init.zeros_(module.weight)  # Without a gamma that is 0 it would not start as the identity.

    def forward(self, x: Tensor) -> Tensor:
        """X (B, 3, T, H, W) float -> (B, C, T', H', W'), the sizes of `final_map`."""
        x = self.pool2(self.stage("res2", self.enter(x)))
        for name in STAGES[1:]:
            x = self.stage(name, x)
        return x

    def enter(self, x: Tensor) -> Tensor:
        """conv1 and pool1: X (B, 3, T, H, W) float -> (B, C, T', H / 4, W / 4)."""
        return F.relu(self.pool1(self.bn1(self.conv1(x))), inplace=True)  # A quarter of the map, and the same maximum.

    def stage(self, name: str, x: Tensor) -> Tensor:
        """res2, res3, res4 or res5, computed twice in training if `recompute` is set."""
        stage = self.get_submodule(name)
        if not (self.recompute and torch.is_grad_enabled()):
            return stage(x)
        for layer in stage.children():
            x = recomputed(layer, x)
        return x

    def final_map(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """The sizes of the last feature map for a clip of these sizes.

        Raises:
            ValueError: the clip is too small for the strides.
        """
        t = self.pool1.pooled_size((frames - 1) // self.conv1.stride[0] + 1, axis=0)
        t = t // 2 if isinstance(self.pool2, MaxPool) else t
        h, w = (self.pool1.pooled_size((size - 1) // 2 + 1, axis=2) for size in (height, width))
        for _ in STAGES[1:]:
            h, w = (h - 1) // 2 + 1, (w - 1) // 2 + 1
        if t < 1 or h < 1 or w < 1:  # Not their minimum: where sizes are symbols, that compares them.
            raise ValueError(f"a clip of {frames} frames of {height}x{width} is too small for the network's strides")
        return t, h, w


def make_added(stage: str, channels: int, options: NetworkOptions) -> nn.Module:
    """The block that is added to this stage, or to the head of a detector."""
    if options.added == "residual":
        return Bottleneck(channels, channels // 4, options=options)
    return NonLocalBlock(
        channels,
        pairwise=options.pairwise,
        axes=options.axes,
        subsample=options.subsample,
        group_frames=group_frames(stage, options),
        norm=options.nonlocal_norm,
        w_z_bias=options.w_z_bias,
        bn_eps=options.bn_eps,
    )


def group_frames(stage: str, options: NetworkOptions) -> int:
    """The frames of a group of a stage's non-local blocks; space alone is finer already, time alone is small."""
    return options.res3_group_frames if stage == "res3" and options.axes == "spacetime" else 0


def inflated_blocks(stage: str, num_blocks: int) -> tuple[int, ...]:
    """The residual blocks with a temporal kernel in I3D, as in the released code.

    All of res2, every second block of res3 and res4 from the first, every second of res5 from the
    second. The paper says one in every 2 blocks for all stages (Sec. 4).
    """
    if stage == "res2":
        return tuple(range(num_blocks))
    return tuple(range(1 if stage == "res5" else 0, num_blocks, 2))
