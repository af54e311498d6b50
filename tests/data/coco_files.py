"""Small data sets in COCO's format, made for tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CATEGORIES = [{"id": 3, "name": "square"}, {"id": 17, "name": "bar"}]
KEYPOINTS = ["nose", "left_ear", "right_ear"]


def annotation(number: int, image_id: int, box: list[float], *, category: int = 3, **more: Any) -> dict[str, Any]:
    """An object with a polygon that fills its box."""
    x, y, w, h = box
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    return {
        "id": number, "image_id": image_id, "category_id": category, "bbox": box, "area": w * h, "iscrowd": 0,
        "segmentation": [polygon], **more,
    }  # fmt: skip


def content(num_images: int = 6) -> dict[str, Any]:
    """Wide and tall images with one or two objects, and the last one without."""
    images, annotations = [], []
    for k in range(num_images):
        width, height = (64, 48) if k % 2 == 0 else (40, 56)
        images.append({"id": 10 + k, "file_name": f"{k}.png", "width": width, "height": height})
        if k < num_images - 1:
            annotations.append(annotation(len(annotations) + 1, 10 + k, [4 + k, 6, 20, 16]))
            annotations.append(annotation(len(annotations) + 1, 10 + k, [8, 26, 24, 12], category=17))
    return {"images": images, "annotations": annotations, "categories": [dict(category) for category in CATEGORIES]}


def with_keypoints(plain: dict[str, Any]) -> dict[str, Any]:
    """The same with three keypoints of each object, of which the last is not seen."""
    category = {"id": 3, "name": "square", "keypoints": KEYPOINTS, "skeleton": []}
    for one in plain["annotations"]:
        x, y, w, h = one["bbox"]
        points = [x + w // 2, y + h // 2, 2, x + 2, y + 2, 2, 0, 0, 0]
        one.update(category_id=3, keypoints=points, num_keypoints=2)
    return {**plain, "categories": [category]}


def write(folder: Path, plain: dict[str, Any], *, name: str = "annotations.json") -> Path:
    """Writes the images, grey with bright objects, and the annotations; returns the path of these."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in plain["images"]:
        pixels = np.full((image["height"], image["width"], 3), 60, np.uint8)
        for one in plain["annotations"]:
            if one["image_id"] == image["id"]:
                x, y, w, h = map(int, one["bbox"])
                pixels[max(y, 0) : y + h, max(x, 0) : x + w] = 200 if one["category_id"] == 3 else 130
        Image.fromarray(pixels).save(folder / image["file_name"])
    path = folder / name
    path.write_text(json.dumps(plain))
    return path
