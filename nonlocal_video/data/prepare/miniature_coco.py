"""The miniature of COCO: images whose objects say what they are only together with a lamp that is far from them.

Every image shows up to three grey shapes and, at least 70 pixels from each, a lamp. The class of all shapes is the
colour of the lamp. Their keypoints are their upper corners, and which of these is "left" follows the lamp's colour,
too; the lower edge is labelled but sometimes hidden. A region of an image does not reach the lamp, so no head can tell.
"""

import json
import shutil
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from nonlocal_video.data.decoders.frames import write_image
from nonlocal_video.data.prepare.written import make_once, write

VERSION = 1
SIDE = 160
LAMP_RADIUS = 14
DISTANCE = 70
"""From the lamp's centre to the nearest pixel of a shape, at least."""
COLOURS = ((225, 60, 50), (60, 90, 230))
CATEGORIES = ((3, "under a red lamp"), (17, "under a blue lamp"))
"""Ids have holes, as COCO's."""
KEYPOINTS = ("left_corner", "right_corner", "edge")
SIDES = (24, 40)
"""Smallest and largest side of a shape."""
EMPTY, CROWDED = 0.05, 0.1
"""The share of images without shapes, and of those with a crowd beside them."""


class Shape(NamedTuple):
    """A grey square or disc."""

    left: int
    top: int
    side: int
    grey: int
    is_disc: bool
    hidden: bool
    """Whether its lower edge is hidden."""

    def mask(self) -> np.ndarray:
        """(SIDE, SIDE) bool."""
        y, x = np.mgrid[:SIDE, :SIDE]
        inside = (x >= self.left) & (x < self.left + self.side) & (y >= self.top) & (y < self.top + self.side)
        if not self.is_disc:
            return inside
        middle = (self.side - 1) / 2
        return inside & ((x - self.left - middle) ** 2 + (y - self.top - middle) ** 2 <= (self.side / 2) ** 2)


class Scene(NamedTuple):
    """An image before it is drawn."""

    lamp: tuple[int, int]
    """x and y of its centre."""
    colour: int
    """A row of `COLOURS` and of `CATEGORIES`."""
    shapes: tuple[Shape, ...]
    crowd: tuple[Shape, ...]


def draw_scene(index: int, *, seed: int) -> Scene:
    """Scene `index` of the endless series of this seed."""
    rng = np.random.default_rng((seed, 13, index))
    along, across = int(rng.integers(14, SIDE - 14)), int(rng.integers(14, 26))
    x, y = [(across, along), (SIDE - across, along), (along, across), (along, SIDE - across)][rng.integers(4)]
    colour, shapes = int(rng.integers(2)), list[Shape]()
    wanted = 0 if rng.random() < EMPTY else int(rng.integers(2, 4))
    small = int(rng.integers(3, 6)) if rng.random() < CROWDED else 0
    for _ in range(300):
        if len(shapes) == wanted + small:
            break
        side = int(rng.integers(*SIDES)) if len(shapes) < wanted else 10
        left, top = (int(place) for place in rng.integers(2, SIDE - side - 2, 2))
        nearest = np.array([np.clip(x, left, left + side), np.clip(y, top, top + side)])
        apart = all(max(abs(left - o.left), abs(top - o.top)) > max(side, o.side) + 2 for o in shapes)
        if apart and np.hypot(*(nearest - (x, y))) >= DISTANCE:
            grey, chance = int(rng.integers(120, 180)), rng.random(2)
            shapes.append(Shape(left, top, side, grey, bool(chance[0] < 0.5), bool(chance[1] < 0.3)))
    return Scene((x, y), colour, tuple(shapes[:wanted]), tuple(shapes[wanted:]))


def draw_image(scene: Scene, *, noise: int, colour: int | None = None) -> np.ndarray:
    """The scene (SIDE, SIDE, 3) uint8 on a noisy ground of this seed, perhaps with a lamp of another colour."""
    rng = np.random.default_rng((17, noise))
    pixels = rng.integers(30, 70, (SIDE, SIDE, 1)).repeat(3, axis=2).astype(np.uint8)
    for shape in (*scene.shapes, *scene.crowd):
        pixels[shape.mask()] = shape.grey
    y, x = np.mgrid[:SIDE, :SIDE]
    lit = (x - scene.lamp[0]) ** 2 + (y - scene.lamp[1]) ** 2 <= LAMP_RADIUS**2
    pixels[lit] = COLOURS[scene.colour if colour is None else colour]
    return pixels


def make_coco_miniature(folder: Path, *, num_train: int, num_val: int, seed: int = 0) -> None:
    """Writes images and annotations as COCO's folders have them; a finished data set is kept.

    Raises:
        ValueError: the folder holds something that this function did not make.
    """
    made_from = {"version": VERSION, "series": "coco", "num_train": num_train, "num_val": num_val, "seed": seed}
    make_once(folder, made_from, lambda: _make(folder, num_train, num_val, seed))


def _make(folder: Path, num_train: int, num_val: int, seed: int) -> None:
    (folder / "annotations").mkdir(exist_ok=True)
    for part, first, number in (("train", 0, num_train), ("val", num_train, num_val)):
        images = folder / f"{part}2017"
        shutil.rmtree(images, ignore_errors=True)
        images.mkdir()
        scenes = {first + k + 1: draw_scene(first + k, seed=seed) for k in range(number)}
        for image_id, scene in tqdm(scenes.items(), desc=f"{folder.name} {part}", unit="image"):
            write_image(images / f"{image_id:012d}.png", draw_image(scene, noise=image_id))
        for kind in ("instances", "person_keypoints"):
            text = json.dumps(_content(scenes, keypoints=kind == "person_keypoints"))
            write(folder / f"annotations/{kind}_{part}2017.json", text)


def _content(scenes: dict[int, Scene], *, keypoints: bool) -> dict[str, Any]:
    names: dict[str, Any] = {"keypoints": list(KEYPOINTS), "skeleton": [[1, 2]]} if keypoints else {}
    categories = [{"id": number, "name": name, **names} for number, name in CATEGORIES]
    annotations = [one for image_id, scene in scenes.items() for one in _objects(image_id, scene, keypoints=keypoints)]
    return {
        "images": [
            {"id": image_id, "file_name": f"{image_id:012d}.png", "width": SIDE, "height": SIDE} for image_id in scenes
        ],
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, start=1)],
        "categories": [{"id": 1, "name": "shape", **names}] if keypoints else categories,
    }


def _objects(image_id: int, scene: Scene, *, keypoints: bool) -> Iterator[dict[str, Any]]:
    category = 1 if keypoints else CATEGORIES[scene.colour][0]
    for shape in scene.shapes:
        box, x, y, side = [shape.left, shape.top, shape.side, shape.side], shape.left, shape.top, shape.side
        polygon = [x, y, x + side, y, x + side, y + side, x, y + side]
        one = {
            "image_id": image_id,
            "category_id": category,
            "bbox": box,
            "area": float(shape.mask().sum()),
            "iscrowd": 0,
            "segmentation": _run_lengths(shape.mask()) if shape.is_disc else [polygon],
        }
        if keypoints:
            corners = [[x, y, 2], [x + side - 1, y, 2]]
            left, right = corners if scene.colour == 0 else corners[::-1]
            edge = [x + side // 2, y + side - 1, 1 if shape.hidden else 2]
            one |= {"keypoints": [*left, *right, *edge], "num_keypoints": 3}
        yield one
    if scene.crowd:
        mask = np.any([shape.mask() for shape in scene.crowd], axis=0)
        rows, columns = np.nonzero(mask)
        box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
        crowd = {"image_id": image_id, "category_id": category, "bbox": box, "area": float(mask.sum()), "iscrowd": 1}
        points = {"keypoints": [0] * 9, "num_keypoints": 0} if keypoints else {}
        yield {**crowd, "segmentation": _run_lengths(mask), **points}


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run-length code: how many pixels are off, on, off, ..., down the columns."""
    pixels = mask.flatten(order="F").tolist()
    counts = [len(list(run)) for _, run in groupby(pixels)]
    return {"size": list(mask.shape), "counts": [0, *counts] if pixels[0] else counts}
