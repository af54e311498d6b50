"""The networks by name, {c2d,i3d,nl_c2d,nl_i3d}_{r50,r101}_{32x2,128x1,8x8,32x4}, and all that can be varied."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from nonlocal_video.models.nonlocal_block import Axes, BlockNorm, Pairwise, Subsample
from nonlocal_video.models.norm import Norm
from nonlocal_video.models.resnet3d import Added, Inflation, Stem

Activation = Literal["softmax", "sigmoid"]

DEPTHS: dict[str, tuple[tuple[int, int, int, int], int]] = {
    "small": ((1, 2, 2, 1), 16),
    "r50_narrow": ((3, 4, 6, 3), 16),
    "r50": ((3, 4, 6, 3), 64),
    "r101": ((3, 4, 23, 3), 64),
}
"""Residual blocks of res2..res5 and the width of conv1; "small" and "r50_narrow" are for the miniature data set."""

LONG_CLIPS = ("128x1", "32x4")
"""Clips whose released networks have frozen affines for normalisation and groups of 4 frames in res3."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """All that makes a network what it is, in plain values."""

    name: str = ""
    """What it was built as; "" for a network without a name."""
    depth: str
    """A key of `DEPTHS`."""
    num_classes: int
    clip_length: int
    """Frames of a training clip. With `crop` it sets the head's pooling window."""
    clip_stride: int = 1
    """From one frame of a training clip to the next, in frames of the video; for testing, not for the network."""
    crop: int = 224
    """Side of a training clip in pixels."""
    stem: Stem = "strided"
    pool1_padding: int = 0
    pool2: bool = True
    inflation: Inflation = "none"
    """"none" is C2D, "3x1x1" and "3x3x3" are I3D."""
    norm: Norm = "batch"
    bn_eps: float = 1e-5
    nonlocal_blocks: int | Sequence[str] = 0
    """How many, or where: see `places_for`."""
    added: Added = "nonlocal"
    """What is added there: "residual" is the paper's control, a standard residual block in place of each."""
    pairwise: Pairwise = "embedded_gaussian"
    axes: Axes = "spacetime"
    subsample: Subsample = "before"
    res3_group_frames: int = 0
    """In res3 positions see only their own group of so many frames; 0: all of them."""
    nonlocal_norm: BlockNorm = "batch"
    w_z_bias: bool = True
    activation: Activation = "softmax"
    """Of the scores: "softmax" for one label a video, "sigmoid" for several."""
    global_pool: bool = False
    """The head pools the whole final map in testing too, instead of a window of a training clip's size."""
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Refuses a value of another type: "false" is true."""
        for item in fields(self):
            value, kind = type(getattr(self, item.name)), item.type
            if kind in (bool, int, float) and value is not kind and (kind, value) != (float, int):
                raise ValueError(
                    f"{item.name}: got {getattr(self, item.name)!r}, expected {getattr(kind, '__name__', kind)}"
                )


def named_options(name: str, *, num_classes: int) -> NetworkOptions:
    """The options that a name stands for, such as nl_i3d_r50_32x2.

    [nl_](c2d|i3d)_(small|r50_narrow|r50|r101)_(frames)x(stride). 32x2 and 128x1 have the paper's stem,
    8x8 and 32x4 the released code's dense one; for other clips it is the strided one up to a stride of 2.
    "nl" is five blocks (one in small). 128x1 and 32x4 are the released long-clip networks: frozen affines
    instead of batch normalisation, none of either in non-local blocks, res3's blocks in groups of 4 frames.

    Raises:
        ValueError: not such a name.
    """
    match = re.fullmatch(rf"(nl_)?(c2d|i3d)_({'|'.join(DEPTHS)})_(([1-9]\d*)x([1-9]\d*))", name)
    if not match:
        raise ValueError(
            f"got the network {name!r}, expected a name such as nl_i3d_r50_32x2: "
            f"[nl_](c2d|i3d)_({'|'.join(DEPTHS)})_(32x2|128x1|8x8|32x4)"
        )
    nonlocal_, kind, depth, clip, length, stride = match.groups()
    long = clip in LONG_CLIPS
    return NetworkOptions(
        name=name,
        depth=depth,
        num_classes=num_classes,
        clip_length=int(length),
        clip_stride=int(stride),
        stem="strided" if int(stride) <= 2 else "dense",
        inflation="none" if kind == "c2d" else "3x1x1",
        norm="affine" if long else "batch",
        nonlocal_blocks=0 if not nonlocal_ else 1 if depth == "small" else 5,
        res3_group_frames=4 if long else 0,
        nonlocal_norm="none" if long else "batch",
    )
