"""The residual backbone of C2D and I3D (Table 1 of the paper), as the released code builds it.

Where the paper's Table 1 and the released code differ (pool1 without padding, temporal pooling over
2 frames instead of 3), this file follows the released code.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_video.models.nonlocal_block import Axes, NonLocalBlock

STAGES = ("res2", "res3", "res4", "res5")
Inflation = Literal["none", "3x1x1"]


class Bottleneck(nn.Module):
    """1x1x1 (or 3x1x1) - 1x3x3 - 1x1x1 residual block; a spatial stride sits on the 1x3x3.

    The last batch normalisation starts with gamma = 0, so that the block starts as its shortcut.
    """

    def __init__(self, in_channels: int, width: int, *, temporal_kernel: int, stride: int) -> None:
        super().__init__()
        out_channels, t = 4 * width, temporal_kernel
        self.conv1 = nn.Conv3d(in_channels, width, (t, 1, 1), padding=(t // 2, 0, 0), bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(out_channels)
        nn.init.zeros_(self.bn3.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            projection = nn.Conv3d(in_channels, out_channels, 1, stride=(1, stride, stride), bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm3d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """X (B, C, T, H, W) -> (B, 4 width, T, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class ResNet3d(nn.Module):
    """conv1, pool1, res2, pool2, res3, res4, res5 with non-local blocks after chosen residual blocks.

    Time shrinks 8 times (conv1, pool1, pool2), space 32 times.

    Args:
        blocks: residual blocks of res2..res5, for example (3, 4, 6, 3).
        width: channels of conv1, and of the 1x3x3 convolutions of res2; doubles in every stage.
        inflation: "none" is C2D; "3x1x1" is I3D: conv1 becomes 5x7x7 and the first convolution of
            the residual blocks in `inflated_blocks` becomes 3x1x1 (Sec. 4).
        places: for each stage the residual blocks that a non-local block follows,
            for example {"res3": (1, 3), "res4": (1, 3, 5)}.
        pairwise, axes, subsample: as in `NonLocalBlock`.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        width: int,
        inflation: Inflation,
        places: Mapping[str, Sequence[int]],
        pairwise: str,
        axes: Axes,
        subsample: bool,
    ) -> None:
        super().__init__()
        if inflation not in ("none", "3x1x1"):
            raise ValueError(f"inflation: got {inflation!r}, expected none or 3x1x1")
        t = 1 if inflation == "none" else 5
        self.conv1 = nn.Conv3d(3, width, (t, 7, 7), stride=2, padding=(t // 2, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.pool1 = nn.MaxPool3d((2, 3, 3), stride=2)
        self.pool2 = nn.MaxPool3d((2, 1, 1))
        channels = width
        for number, (stage, num_blocks) in enumerate(zip(STAGES, blocks, strict=True)):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            inflated = inflated_blocks(stage, num_blocks) if inflation == "3x1x1" else ()
            for i in range(num_blocks):
                layers[f"block{i}"] = Bottleneck(
                    channels,
                    width * 2**number,
                    temporal_kernel=3 if i in inflated else 1,
                    stride=2 if number > 0 and i == 0 else 1,
                )
                channels = 4 * width * 2**number
                if i in places.get(stage, ()):
                    layers[f"nonlocal{i}"] = NonLocalBlock(channels, pairwise=pairwise, axes=axes, subsample=subsample)
            self.add_module(stage, nn.Sequential(layers))
        self.channels = channels
        for module in self.modules():
            if isinstance(module, nn.Conv3d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """X (B, 3, T, H, W) float -> (B, C, T / 8, H / 32, W / 32)."""
        x = self.pool1(F.relu(self.bn1(self.conv1(x))))
        x = self.pool2(self.get_submodule("res2")(x))
        for stage in STAGES[1:]:
            x = self.get_submodule(stage)(x)
        return x


def inflated_blocks(stage: str, num_blocks: int) -> tuple[int, ...]:
    """The residual blocks with a 3x1x1 kernel in I3D, as in the released code.

    All of res2, every second block of res3 and res4 from the first, every second of res5 from the
    second. The paper says one in every 2 blocks for all stages (Sec. 4).
    """
    if stage == "res2":
        return tuple(range(num_blocks))
    return tuple(range(1 if stage == "res5" else 0, num_blocks, 2))


def final_map(clip_length: int, crop: int) -> tuple[int, int]:
    """Frames and pixels (T, S) of the last feature map for a clip (clip_length, crop, crop).

    Raises:
        ValueError: the clip is too small for the strides.
    """
    t = (clip_length + 1) // 2 // 2 // 2
    s = ((crop + 1) // 2 - 3) // 2 + 1
    for _ in STAGES[1:]:
        s = (s + 1) // 2
    if t < 1 or crop < 5:
        raise ValueError(f"a clip of {clip_length} frames of {crop}x{crop} is too small: expected >= 7 frames, 5x5")
    return t, s
