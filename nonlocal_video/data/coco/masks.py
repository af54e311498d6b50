"""COCO's polygons and run-length codes: what is wrong with them, and their pixels."""

from typing import Any

import numpy as np

Segmentation = list[list[float]] | dict[str, Any]
"""Polygons [x1, y1, x2, y2, ...], or COCO's run-length code."""
FARTHEST = 2**17
"""Pixels from the origin; with a polygon that goes on for 10^9, pycocotools writes beyond its memory."""
LARGEST = 2**31
"""No coordinate and no area is larger."""


def decode_mask(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
    """Polygons or a run-length code -> (H, W) uint8 of 0 and 1."""
    from pycocotools import mask  # noqa: PLC0415  # An extra.

    coded: Any = segmentation
    if isinstance(segmentation, list):
        coded = mask.merge(mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        coded = mask.frPyObjects(segmentation, height, width)
    return np.asarray(mask.decode(coded), dtype=np.uint8)


def fault_of(segmentation: object, size: list[int]) -> str | None:
    """Says why a mask of an image of this height and width cannot be used.

    pycocotools would take it, and fill the pixels that a code leaves out with anything.
    """
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        runs = _runs_of(counts) if isinstance(counts, str) else counts
        if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
            return "objects without a mask"
        fits = segmentation.get("size") == size and sum(runs) == size[0] * size[1]
        return None if fits else "masks of another size than their image"
    polygons = segmentation if isinstance(segmentation, list) else []
    fits = all(is_numbers(polygon) and len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons)
    near = fits and all(max(map(abs, polygon)) < FARTHEST for polygon in polygons)
    return None if polygons and near else "objects without a mask"


def is_numbers(value: object, length: int | None = None) -> bool:
    """Whether a value is a list of so many finite numbers."""
    fits = isinstance(value, list) and (length is None or len(value) == length)
    return fits and all(type(item) in (int, float) and abs(item) < LARGEST for item in value)  # type: ignore[attr-defined]


def _runs_of(text: str) -> list[int] | None:
    """The runs of a run-length code as text; None if it is none.

    A sign is 48 + 5 bits of a run, + 32 if more of the run follow, the lowest first. From the fourth run on, what is
    written is the difference to the one two places before.
    """
    runs, run, bits = list[int](), 0, 0
    for sign in text:
        value = ord(sign) - 48
        if not 0 <= value < 64 or bits > 30:
            return None
        run |= (value & 31) << bits
        bits += 5
        if not value & 32:
            run -= 1 << bits if value & 16 else 0
            runs.append(run + (runs[-2] if len(runs) > 2 else 0))
            run = bits = 0
    return runs if runs and not bits else None
