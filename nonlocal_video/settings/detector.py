"""The detectors by name, {faster_rcnn,mask_rcnn,keypoint_rcnn}_{r50,r101,x152}[_nl], and all that can be varied."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

from pydantic import PlainValidator

from nonlocal_video.settings import vocabulary as words
from nonlocal_video.settings.network import DEPTHS, NetworkOptions, Pairwise, check_options, filled
from nonlocal_video.settings.values import expect

KINDS = ("faster_rcnn", "mask_rcnn", "keypoint_rcnn")
STAGES = ("res2", "res3", "res4", "res5")
LIMITS = {
    "num_classes": 100_000, "num_keypoints": 1000, "short_side": 10_000, "long_side": 10_000, "pyramid_width": 4096,
    "box_width": 16_384, "head_width": 4096, "head_convs": 64, "proposals": 100_000, "rois": 100_000,
    "detections": 10_000, "stem_width": 4096,
}  # fmt: skip
"""Larger values come from damaged files."""


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """All that makes a detector what it is, in plain values: torchvision's, on our residual network."""

    name: str = ""
    """The name that it was built by; "" for a detector without a name."""
    kind: str
    """A word of `KINDS`: boxes only, with masks, or with keypoints."""
    depth: str
    """A key of `DEPTHS`."""
    num_classes: int
    """Without the background."""
    num_keypoints: int = 17
    """Keypoints of an object, for keypoint_rcnn."""
    short_side: int = 800
    """Testing: the short side of images in pixels, unless the long one would grow beyond `long_side`."""
    long_side: int = 1333
    stem_width: int = 0
    """Channels of conv1, as of `NetworkOptions`; so are the next three, which Caffe's ResNets have otherwise."""
    stride_in: words.StrideIn = "3x3"
    pool1_padding: int = 1
    pool1_rounds_up: bool = False
    norm: words.Norm = "affine"
    bn_eps: float = 1e-5
    frozen_stages: int = 2
    """How many of conv1, res2, res3, res4 and res5 are never trained, from the first on."""
    nonlocal_blocks: int | Sequence[str] = 0
    """Blocks of the residual network: how many, or where; see `places_for`."""
    head_blocks: int | Sequence[int] = 0
    """Blocks of the mask or keypoint head: how many, evenly after its convolutions (4 of 8: after 2, 4, 6 and 8), or
    the convolutions that they follow, from 1."""
    added: words.Added = "nonlocal"
    pairwise: Pairwise = "embedded_gaussian"
    subsample: words.Subsample = "before"
    nonlocal_norm: words.BlockNorm = "none"
    w_z_bias: bool = True
    levels: Sequence[str] = STAGES
    """The stages whose maps the feature pyramid takes; one more level is pooled from the last."""
    pyramid_width: int = 256
    """Channels of each level of the pyramid."""
    anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512)
    """Sides of the anchors in pixels, one for each level and one for the pooled one."""
    box_width: int = 1024
    """Channels of the two layers of the box head."""
    head_width: int = 0
    """Channels of the mask or keypoint head; 0: 256 for masks, 512 for keypoints."""
    head_convs: int = 0
    """Convolutions of the mask or keypoint head; 0: 4 for masks, 8 for keypoints."""
    proposals: int = 1000
    """Testing: proposals that are classified of each image; twice as many are kept in training."""
    rois: int = 512
    """Training: proposals of an image that the box head learns from."""
    detections: int = 100
    """Testing: detections of an image, at most."""

    def __post_init__(self) -> None:
        """Raises ValueError: a value of another type or of an impossible size; says which option."""
        check_options(self, LIMITS, may_be_0=("head_width", "head_convs", "stem_width"))
        for name in ("levels", "anchor_sizes"):  # A file has lists.
            object.__setattr__(self, name, tuple(getattr(self, name)))
        expect(self.kind in KINDS, "kind", repr(self.kind), f"one of {', '.join(KINDS)}")
        expect(0 <= self.frozen_stages <= 5, "frozen_stages", self.frozen_stages, "0 to 5")
        expect(self.short_side <= self.long_side, "short_side", self.short_side, f"up to long_side={self.long_side}")
        ordered = len(self.levels) > 0 and list(self.levels) == [name for name in STAGES if name in self.levels]
        expect(ordered, "levels", list(self.levels), f"some of {', '.join(STAGES)}, in this order")
        sizes = len(self.levels) + 1
        fits = len(self.anchor_sizes) == sizes and min(self.anchor_sizes) > 0
        expect(fits, "anchor_sizes", list(self.anchor_sizes), f"{sizes} from 1 on, one a level")

    @property
    def convs(self) -> int:
        """Convolutions of the mask or keypoint head."""
        return self.head_convs or (8 if self.kind == "keypoint_rcnn" else 4)

    @property
    def channels(self) -> int:
        """Channels of the mask or keypoint head."""
        return self.head_width or (512 if self.kind == "keypoint_rcnn" else 256)

    def body(self) -> NetworkOptions:
        """The residual network: C2D on clips of one frame, built as torchvision's networks of images are."""
        shared = {item.name: getattr(self, item.name) for item in fields(NetworkOptions) if hasattr(self, item.name)}
        own = {
            "name": f"{self.kind}_{self.depth}",
            "clip_length": 1,
            "crop": self.short_side,
            "stem": "dense",
            "pool2": False,
        }
        return NetworkOptions(**{**shared, **own})

    def head_places(self) -> tuple[int, ...]:
        """The convolutions of the head, from 1, that a block follows. Raises ValueError: there are no such places."""
        chosen, convs = self.head_blocks, self.convs
        if isinstance(chosen, int):
            fits = 0 <= chosen <= convs and (not chosen or convs % chosen == 0)
            places = tuple(range(convs // chosen, convs + 1, convs // chosen)) if fits and chosen else ()
        else:
            fits, places = len(set(chosen)) == len(chosen) and set(chosen) <= set(range(1, convs + 1)), tuple(chosen)
        fits = fits and (not places or self.kind != "faster_rcnn")
        expected = f"0, a divisor of its {convs} convolutions, or some of 1 to {convs}; faster_rcnn has no such head"
        expect(fits, "head_blocks", chosen, expected)
        return tuple(sorted(places))


def named_detector(name: str, *, num_classes: int) -> DetectorOptions:
    """The options that a name stands for, such as mask_rcnn_r50_nl: with one non-local block before the end of res4.

    Raises:
        ValueError: not such a name.
    """
    form = rf"({'|'.join(KINDS)})_({'|'.join(DEPTHS)})(_nl)?"
    match = re.fullmatch(form, name)
    expect(match is not None, "name", repr(name), f"a detector such as mask_rcnn_r50_nl: {form}")
    assert match
    blocks = 1 if match[3] else 0
    return DetectorOptions(name=name, kind=match[1], depth=match[2], num_classes=num_classes, nonlocal_blocks=blocks)


def detector_options(model: Mapping[str, Any] | DetectorOptions) -> DetectorOptions:
    """The options of a detector; its name stands for those not given. Raises ValueError: one that cannot be."""
    return filled(model, DetectorOptions, named_detector)


Detector = Annotated[DetectorOptions, PlainValidator(detector_options)]
"""The options of a detector as a part of other settings."""
