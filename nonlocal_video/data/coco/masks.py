"""COCO's polygons and run-length codes as pixels."""

from typing import Any

import numpy as np

Segmentation = list[list[float]] | dict[str, Any]
"""Polygons [x1, y1, x2, y2, ...], or COCO's run-length code."""


def decode_mask(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
    """Polygons or a run-length code -> (H, W) uint8 of 0 and 1."""
    from pycocotools import mask  # noqa: PLC0415  # An extra.

    coded: Any = segmentation
    if isinstance(segmentation, list):
        coded = mask.merge(mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        coded = mask.frPyObjects(segmentation, height, width)
    return np.asarray(mask.decode(coded), dtype=np.uint8)
