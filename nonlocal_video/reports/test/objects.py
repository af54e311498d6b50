"""A picture of the objects in an image, each in a colour of its own with its class and its score."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, draw_keypoints, draw_segmentation_masks

from nonlocal_video.data.coco.masks import decode_mask

Object = Mapping[str, Any]
"""An annotation or a result in COCO's format with the name of its `class`; perhaps with the `score` and the
`keypoint_scores` of a detector, and a `color` (red, green, blue)."""
COLORS = [tuple(round(255 * part) for part in color) for color in mpl.colormaps["tab10"].colors]  # type: ignore[attr-defined]
FONT = Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
ALPHA = 0.45
"""The share of its colour in an object's pixels."""


def draw_objects(image: Tensor, objects: Sequence[Object], *, min_keypoint: float, scale: int = 1) -> Tensor:
    """Draws boxes, masks, keypoints and labels onto an image (3, H, W) uint8; the first object comes to lie on top.

    Args:
        min_keypoint: keypoints with a lower score are left out.
        scale: how many times the image is enlarged before, so that labels leave something to see.
    """
    drawn = image.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    if not objects:
        return drawn
    ordered = objects[::-1]
    colors = [one.get("color", COLORS[k % len(COLORS)]) for k, one in enumerate(objects)][::-1]
    line = max(1, sum(drawn.shape[1:]) // 500)
    if any("segmentation" in one for one in objects):
        masks = _masks(ordered, *image.shape[1:]).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        drawn = draw_segmentation_masks(drawn, masks, ALPHA, colors)
    boxes = scale * torch.tensor([[x, y, x + w, y + h] for x, y, w, h in (one["bbox"] for one in ordered)])
    drawn = draw_bounding_boxes(drawn, boxes, colors=colors, width=line)
    for one, color in zip(ordered, colors, strict=True):
        if "keypoints" in one:
            points = torch.tensor(one["keypoints"]).reshape(1, -1, 3)
            scores = torch.tensor(one.get("keypoint_scores", [torch.inf] * points.shape[1]))
            seen = (points[..., 2] > 0) & (scores >= min_keypoint)
            drawn = draw_keypoints(drawn, scale * points[..., :2], colors=color, radius=line + 1, visibility=seen)
    return _draw_labels(drawn, ordered, boxes[:, :2].tolist(), colors)


def _masks(objects: Sequence[Object], height: int, width: int) -> Tensor:
    """The pixels (objects, H, W) bool of each object: those that no later one covers."""
    owner = np.zeros((height, width), np.int64)
    for number, one in enumerate(objects, 1):
        if "segmentation" in one:
            owner[decode_mask(one["segmentation"], height, width) > 0] = number
    return torch.from_numpy(owner) == torch.arange(1, len(objects) + 1).view(-1, 1, 1)


def _draw_labels(
    image: Tensor, objects: Sequence[Object], corners: Sequence[Sequence[float]], colors: Sequence[Any]
) -> Tensor:
    """Writes the class and score of each object above its box, or where the image has room."""
    height, width = image.shape[1:]
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    draw, font = ImageDraw.Draw(picture), ImageFont.truetype(str(FONT), max(10, (height + width) // 85))
    for one, corner, color in zip(objects, corners, colors, strict=True):
        text = one["class"] + (f" {100 * one['score']:.0f}%" if "score" in one else "")
        _, _, right, bottom = draw.textbbox((1, 1), text, font=font)
        left, top = corner[0], corner[1] - bottom - 1
        place = max(0, min(left, width - right - 1)), max(0, min(top, height - bottom - 1))
        draw.rectangle((*place, place[0] + right + 1, place[1] + bottom + 1), fill=color)
        draw.text((place[0] + 1, place[1] + 1), text, font=font, fill="black" if sum(color) > 450 else "white")
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
