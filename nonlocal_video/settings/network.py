"""The networks by name, {c2d,i3d,nl_c2d,nl_i3d}_{r50,r101}_{32x2,128x1,8x8,32x4}, and all that can be varied."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import PlainValidator
from torch import nn

from nonlocal_video.settings import vocabulary as words
from nonlocal_video.settings.values import expect

AnyOptions = TypeVar("AnyOptions", bound=Any)
Pairwise = str | nn.Module | Callable[[int], nn.Module]


class Depth(NamedTuple):
    """The size of a residual network."""

    blocks: tuple[int, int, int, int]
    """Residual blocks of res2..res5."""
    width: int
    """A quarter of the channels that leave res2."""
    groups: int = 1
    """Groups of the 3x3 convolutions (ResNeXt)."""
    group_width: int = 64
    """Channels of a group in res2, where `width` is 64."""

    def inner(self, width: int) -> int:
        """Channels of the 3x3 convolutions of a stage that 4 x `width` channels leave."""
        return width * self.group_width // 64 * self.groups


DEPTHS = {
    "tiny": Depth((1, 1, 2, 0), 16),
    "small": Depth((1, 2, 2, 1), 16),
    "r50_narrow": Depth((3, 4, 6, 3), 16),
    "r50_half": Depth((3, 4, 6, 3), 32),
    "r50": Depth((3, 4, 6, 3), 64),
    "r101": Depth((3, 4, 23, 3), 64),
    "x152": Depth((3, 8, 36, 3), 64, groups=32, group_width=8),
}
"""The residual networks; "tiny", "small" and "r50_narrow" are for the miniature data sets, and "r50_half" for image
networks of half the width."""

LATER = {"stem_width": 0, "stride_in": "3x3", "pool1_rounds_up": False}
"""Options that came later, with their defaults: those of files and hashes that do not have them."""

LIMITS = {
    "num_classes": 1_000_000, "clip_length": 10_000, "clip_stride": 10_000, "crop": 10_000, "stem_width": 4096,
    "res3_group_frames": 10_000,
}  # fmt: skip
"""Larger values come from damaged files, or from files that want all of the memory."""
MAX_PIXELS = 2**30
"""Pixels of a training clip, at most: 3.2 GB, 167 times those of 128 frames of 224x224."""

LONG_CLIPS = ("128x1", "32x4")
"""Clips whose released networks have frozen affines for normalisation and groups of 4 frames in res3."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """All that makes a network what it is, in plain values."""

    name: str = ""
    """The name that it was built by; "" for a network without a name."""
    depth: str
    """A key of `DEPTHS`."""
    num_classes: int
    clip_length: int
    """Frames of a training clip. With `crop` it sets the head's pooling window."""
    clip_stride: int = 1
    """From one frame of a training clip to the next, in frames of the video; for testing, not for the network."""
    crop: int = 224
    """Side of a training clip in pixels."""
    stem: words.Stem = "strided"
    stem_width: int = 0
    """Channels of conv1; 0: those of res2's 1x3x3 convolutions, as in nearly all ResNets."""
    stride_in: words.StrideIn = "3x3"
    """Which convolution of the first residual block of res3, res4 and res5 has the spatial stride: the second as in
    torchvision and the released code, or with "1x1" the first as in Caffe's ResNets. No tensor shows it."""
    pool1_padding: int = 0
    """1 as in other code bases."""
    pool1_rounds_up: bool = False
    """pool1 also takes windows that reach over the edge, as Caffe's does. No tensor shows it."""
    pool2: bool = True
    """Pooling over time after res2."""
    inflation: words.Inflation = "none"
    """"none" is C2D, "3x1x1" and "3x3x3" are I3D."""
    norm: words.Norm = "batch"
    bn_eps: float = 1e-5
    nonlocal_blocks: int | Sequence[str] = 0
    """How many, or where: see `places_for`."""
    added: words.Added = "nonlocal"
    """The kind of block: "residual" is the paper's control, a standard block in place of each non-local one."""
    pairwise: Pairwise = "embedded_gaussian"
    """gaussian, embedded_gaussian, dot_product, concatenation, or one of your own: my_package.MyFunction."""
    axes: words.Axes = "spacetime"
    subsample: words.Subsample = "before"
    """Keys max-pooled 2x2 in space: before or after phi and g."""
    res3_group_frames: int = 0
    """In res3 positions see only their own group of so many frames; 0: all of them."""
    nonlocal_norm: words.BlockNorm = "batch"
    w_z_bias: bool = True
    activation: words.Activation = "softmax"
    """Makes the scores: "softmax" for one label a video, "sigmoid" for several."""
    global_pool: bool = False
    """The head pools the whole final map in testing too, instead of a window of a training clip's size."""
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Raises ValueError: a value of another type ("false" is true) or of an impossible size; says which option."""
        check_options(self, LIMITS, may_be_0=("stem_width", "res3_group_frames"))
        got, expected = f"{self.clip_length} frames of {self.crop}x{self.crop}", f"up to {MAX_PIXELS} pixels"
        fits = self.clip_length * self.crop**2 <= MAX_PIXELS
        expect(fits, "clip_length, crop", got, f"{expected} in a training clip")
        expect(0 <= self.dropout <= 1, "dropout", self.dropout, "a share from 0 to 1")


def check_options(options: Any, limits: Mapping[str, int], *, may_be_0: Sequence[str]) -> None:
    """Raises ValueError: an option of another type than its field, or beyond its limit; says which.

    Args:
        limits: the largest values of whole numbers, which are at least 1, or 0 if `may_be_0` names them.
    """
    for item in fields(options):
        _check_type(item.name, getattr(options, item.name), item.type)
    plain = re.fullmatch(r"[\w.+-]*", options.name) is not None
    expect(plain, "name", _shown(options.name), "letters, digits, '_', '.', '+' and '-'")
    for name, most in limits.items():
        value, least = getattr(options, name), 0 if name in may_be_0 else 1
        expect(least <= value <= most, name, _shown(value), f"{least} to {most}")
    expect(0 < options.bn_eps <= 1, "bn_eps", options.bn_eps, "more than 0, up to 1")


def _check_type(name: str, value: object, kind: object) -> None:
    """Raises ValueError: a value of another type than its field's."""
    if kind in (bool, int, float):
        fits, expected = type(value) is kind or (kind, type(value)) == (float, int), getattr(kind, "__name__", "")
    elif kind in (Sequence[int], int | Sequence[int]):
        fits = type(value) is int if kind != Sequence[int] else False
        fits = fits or (isinstance(value, list | tuple) and all(type(item) is int for item in value))
        expected = "whole numbers"
    elif name in ("nonlocal_blocks", "levels"):
        places = value if isinstance(value, Sequence) and not isinstance(value, str) else [None]
        fits = type(value) is int or all(isinstance(place, str) for place in places)
        expected = "a number or a list of places such as [res3.1, res4.5]"
    else:
        fits, expected = (isinstance(value, str) and len(value) <= 100) or name == "pairwise", "a word"
    expect(fits, name, _shown(value), expected)


def _shown(value: object) -> str:
    """A value as it is written, cut where it is long."""
    text = f"a number of {value.bit_length()} bits" if isinstance(value, int) and value > 1 << 99 else repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def named_options(name: str, *, num_classes: int) -> NetworkOptions:
    """The options that a name stands for, such as nl_i3d_r50_32x2. Raises ValueError: not such a name.

    32x2 and 128x1 have the paper's stem, 8x8 and 32x4 the released code's dense one; for other clips it is the strided
    one up to a stride of 2. "nl" is five blocks (one in small). 128x1 and 32x4 are the released long-clip networks:
    frozen affines instead of batch normalisation, none of either in non-local blocks, res3's blocks in groups of 4
    frames.
    """
    form = f"[nl_](c2d|i3d)_({'|'.join(DEPTHS)})_"
    match = re.fullmatch(form.replace("[nl_]", "(nl_)?") + r"(([1-9]\d*)x([1-9]\d*))", name)
    if not match:
        expected = f"a name such as nl_i3d_r50_32x2: {form}(32x2|128x1|8x8|32x4)"
        raise ValueError(f"got the network {name!r}, expected {expected}")
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


def options_of(model: Mapping[str, Any] | NetworkOptions) -> NetworkOptions:
    """The options of a network; its name stands for those not given. Raises ValueError: one that cannot be."""
    return filled(model, NetworkOptions, named_options)


def filled(model: object, kind: type[AnyOptions], named: Callable[..., AnyOptions]) -> AnyOptions:
    """Options of a kind; those that are not given are the ones that the name stands for, by `named`.

    Raises:
        ValueError: `name` or `num_classes` is not given, or an option that there is not, or that cannot be.
    """
    if isinstance(model, kind):
        return model
    if not isinstance(model, Mapping):
        raise ValueError(f"got {_shown(model)}, expected the options of a network")
    known = [item.name for item in fields(kind)]
    if unknown := sorted(map(str, model.keys() - set(known))):
        raise ValueError(f"got the option {', '.join(unknown)}, expected one of {', '.join(known)}")
    given = {key: value for key, value in model.items() if value is not None}
    for key, expected in (("name", str), ("num_classes", int)):
        if not isinstance(given.get(key), expected):
            raise ValueError(f"{key}: got {_shown(given.get(key))}, expected {expected.__name__}")
    if len(given) == len(known):
        return kind(**given)
    return replace(named(given["name"], num_classes=given["num_classes"]), **given)


Options = Annotated[NetworkOptions, PlainValidator(options_of)]
"""The options of a network as a part of other settings."""
