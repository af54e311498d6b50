"""The networks by depth and kind: C2D, I3D, NL-C2D, NL-I3D."""

from collections.abc import Sequence

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import Axes
from nonlocal_video.models.placement import places_for, verify_places
from nonlocal_video.models.resnet3d import Inflation, ResNet3d, final_map

DEPTHS: dict[str, tuple[tuple[int, int, int, int], int]] = {
    "small": ((1, 2, 2, 1), 16),
    "r50": ((3, 4, 6, 3), 64),
    "r101": ((3, 4, 23, 3), 64),
}
"""Residual blocks of res2..res5 and the width of conv1. "small" is for the miniature data set."""


def video_resnet(
    *,
    depth: str,
    num_classes: int,
    clip_length: int,
    crop: int,
    inflation: Inflation = "none",
    nonlocal_blocks: int | Sequence[str] = 0,
    pairwise: str = "embedded_gaussian",
    axes: Axes = "spacetime",
    subsample: bool = True,
    dropout: float = 0.5,
    freeze_bn: bool = False,
) -> Classifier:
    """Builds C2D (inflation "none") or I3D ("3x1x1"), with or without non-local blocks.

    Args:
        depth: a key of `DEPTHS`.
        clip_length, crop: frames and pixels of a training clip; they set the head's pooling window.
        nonlocal_blocks: how many, or where: see `places_for`.
        pairwise, axes, subsample: as in `NonLocalBlock`.
        dropout, freeze_bn: as in `Classifier`.

    Raises:
        ValueError: an unknown depth, inflation, function or axes, places that do not exist, or a
            clip too small for the strides.
    """
    if depth not in DEPTHS:
        raise ValueError(f"depth: got {depth!r}, expected one of {', '.join(DEPTHS)}")
    blocks, width = DEPTHS[depth]
    places = places_for(blocks, nonlocal_blocks)
    backbone = ResNet3d(
        blocks, width=width, inflation=inflation, places=places, pairwise=pairwise, axes=axes, subsample=subsample
    )
    verify_places(backbone, places, pairwise=pairwise, axes=axes)
    window = final_map(clip_length, crop)
    return Classifier(backbone, num_classes=num_classes, window=window, dropout=dropout, freeze_bn=freeze_bn)
