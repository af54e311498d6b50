"""The residual backbone of C2D and I3D (Table 1 of the paper), as the released code builds it.

Where the paper's Table 1 and the released code differ (pool1 without padding, temporal pooling over
2 frames instead of 3), this file follows the released code.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_video.models.layers import Convolution, MaxPool
from nonlocal_video.models.norm import make_norm
from nonlocal_video.models.recompute import recomputed
from nonlocal_video.settings.vocabulary import Added, Inflation, Norm, Stem, StrideIn

STAGES = ("res2", "res3", "res4", "res5")


class _Stem(NamedTuple):
    """Over time: the strides of conv1 and pool1, and the kernel of pool1."""

    conv1_stride: int
    pool1_kernel: int
    pool1_stride: int


STEMS: dict[str, _Stem] = {
    "strided": _Stem(2, 2, 2),  # 32x2 and 128x1: the paper's Table 1
    "dense": _Stem(1, 1, 1),  # 8x8 and 32x4: the released code's faster networks
    "skipping": _Stem(2, 1, 2),  # mmaction2: pool1 drops every second frame
}


class Bottleneck(nn.Module):
    """1x1x1 - 1x3x3 - 1x1x1 residual block; a spatial stride sits on the 1x3x3, or with `stride_in` "1x1" on the first.

    Inflated, the first kernel is 3x1x1 or the second 3x3x3. The last batch normalisation starts with
    gamma = 0, so that the block starts as its shortcut.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        inflation: Inflation,
        stride: int,
        norm: Callable[[int], nn.Module],
        stride_in: StrideIn = "3x3",
    ) -> None:
        super().__init__()
        out_channels = 4 * width
        t1, t2 = 3 if inflation == "3x1x1" else 1, 3 if inflation == "3x3x3" else 1
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.conv1 = Convolution(in_channels, width, (t1, 1, 1), stride=(1, first, first), bias=False)
        self.bn1 = norm(width)
        self.conv2 = Convolution(width, width, (t2, 3, 3), stride=(1, second, second), bias=False)
        self.bn2 = norm(width)
        self.conv3 = Convolution(width, out_channels, (1, 1, 1), bias=False)
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

    Space shrinks 32 times, time 8 times with a strided stem and twice with a dense one. With `recompute`
    set, a training step keeps of each residual and non-local block only its input (activation checkpointing).

    Args:
        blocks: residual blocks of res2..res5, for example (3, 4, 6, 3).
        width: channels of the 1x3x3 convolutions of res2; doubles in every stage.
        stem_width: channels of conv1.
        stem: a key of `STEMS`.
        stride_in: which convolution halves the map in res3, res4 and res5: the "3x3", or the first "1x1".
        pool1_padding: of pool1 in space: 0 in the released code, 1 in its ports and in image networks.
        pool1_rounds_up: whether pool1 also takes windows that reach over the edge.
        pool2: whether frames are pooled in pairs after res2.
        inflation: "none" is C2D. In I3D conv1 is 5x7x7, and the residual blocks in `inflated_blocks`
            have a first kernel of "3x1x1" or a second of "3x3x3" (Sec. 4).
        norm, bn_eps: as in `make_norm`.
        places: for each stage the residual blocks that an added block follows,
            for example {"res3": (1, 3), "res4": (1, 3, 5)}.
        added: what is added there; the first word of its name, as in nonlocal3.
        make_added: gives the added block for (stage, channels).
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        width: int,
        stem_width: int,
        stem: Stem,
        stride_in: StrideIn,
        pool1_padding: int,
        pool1_rounds_up: bool,
        pool2: bool,
        inflation: Inflation,
        norm: Norm,
        bn_eps: float,
        places: Mapping[str, Sequence[int]],
        added: Added,
        make_added: Callable[[str, int], nn.Module],
    ) -> None:
        super().__init__()
        _check(inflation=inflation, stem=stem, stride_in=stride_in, pool1_padding=pool1_padding)

        def make(channels: int) -> nn.Module:
            return make_norm(norm, channels, eps=bn_eps)

        self.recompute = False
        self.stem, self.pools_twice = STEMS[stem], pool2
        t, (conv1_stride, pool1_kernel, pool1_stride) = 1 if inflation == "none" else 5, STEMS[stem]
        self.conv1 = Convolution(3, stem_width, (t, 7, 7), stride=(conv1_stride, 2, 2), bias=False)
        self.bn1 = make(stem_width)
        self.pool1 = MaxPool(
            (pool1_kernel, 3, 3), (pool1_stride, 2, 2), (0, pool1_padding, pool1_padding), rounds_up=pool1_rounds_up
        )
        self.pool2: nn.Module = MaxPool((2, 1, 1)) if pool2 else nn.Identity()
        channels = stem_width
        for number, (stage, num_blocks) in enumerate(zip(STAGES, blocks, strict=True)):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            inflated = inflated_blocks(stage, num_blocks)
            for i in range(num_blocks):
                layers[f"block{i}"] = Bottleneck(
                    channels,
                    width * 2**number,
                    inflation=inflation if i in inflated else "none",
                    stride=2 if number > 0 and i == 0 else 1,
                    norm=make,
                    stride_in=stride_in,
                )
                channels = 4 * width * 2**number
                if i in places.get(stage, ()):
                    layers[f"{added}{i}"] = make_added(stage, channels)
            self.add_module(stage, nn.Sequential(layers))
        self.channels = channels
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv3d) and ".nonlocal" not in name:  # Non-local blocks start in their own way.
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """X (B, 3, T, H, W) float -> (B, C, T', H', W'), the sizes of `final_map`."""
        x = F.relu(self.pool1(self.bn1(self.conv1(x))), inplace=True)  # A quarter of the map, and the same maximum.
        x = self.pool2(self._stage("res2", x))
        for stage in STAGES[1:]:
            x = self._stage(stage, x)
        return x

    def _stage(self, name: str, x: Tensor) -> Tensor:
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
        t = ((frames - 1) // self.stem.conv1_stride + 1 - self.stem.pool1_kernel) // self.stem.pool1_stride + 1
        t = t // 2 if self.pools_twice else t
        sizes = []
        for size in (height, width):
            s = self.pool1.pooled_size((size - 1) // 2 + 1, axis=2)
            for _ in STAGES[1:]:
                s = (s - 1) // 2 + 1
            sizes.append(s)
        if t < 1 or sizes[0] < 1 or sizes[1] < 1:  # Not their minimum: where sizes are symbols, that compares them.
            raise ValueError(f"a clip of {frames} frames of {height}x{width} is too small for the network's strides")
        return t, sizes[0], sizes[1]


def _check(*, inflation: str, stem: str, stride_in: str, pool1_padding: int) -> None:
    """Raises: ValueError: an option that cannot be."""
    if inflation not in ("none", "3x1x1", "3x3x3"):
        raise ValueError(f"inflation: got {inflation!r}, expected none, 3x1x1 or 3x3x3")
    if stem not in STEMS:
        raise ValueError(f"stem: got {stem!r}, expected one of {', '.join(STEMS)}")
    if stride_in not in get_args(StrideIn):
        raise ValueError(f"stride_in: got {stride_in!r}, expected 3x3 or 1x1, the convolution that has the stride")
    if pool1_padding not in (0, 1):
        raise ValueError(f"pool1_padding: got {pool1_padding}, expected 0 or 1")


def inflated_blocks(stage: str, num_blocks: int) -> tuple[int, ...]:
    """The residual blocks with a temporal kernel in I3D, as in the released code.

    All of res2, every second block of res3 and res4 from the first, every second of res5 from the
    second. The paper says one in every 2 blocks for all stages (Sec. 4).
    """
    if stage == "res2":
        return tuple(range(num_blocks))
    return tuple(range(1 if stage == "res5" else 0, num_blocks, 2))
