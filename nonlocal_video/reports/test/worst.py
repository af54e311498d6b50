"""The worst images of a detector's test, drawn: the objects beside the detections."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from nonlocal_video.data.coco.annotations import Picture
from nonlocal_video.data.coco.dataset import read_sample
from nonlocal_video.data.decoders.frames import write_image
from nonlocal_video.metrics.detection import FIELDS, SCORE, Outcome
from nonlocal_video.reports.test.objects import draw_objects
from nonlocal_video.reports.texts import table
from nonlocal_video.types import Failure

FOLDER = "worst"
NUMBER = 12
WIDEST = 1600
"""Pixels of both sides together."""
RIGHT, WRONG = (0, 158, 115), (213, 94, 0)
"""Green and orange that the colour-blind tell apart, too."""
LEGEND = """Those with the most missed objects and false detections together, at a score of {score} or more and an \
overlap of 0.5 or more ({of}), as pycocotools matches them; crowds are left out. On the left the objects, on the right \
the detections; **missed and false ones are orange**, the others green."""


def draw_worst(
    folder: Path,
    outcomes: Mapping[int, Outcome],
    pictures: Iterable[Picture],
    *,
    objects: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    measured: Sequence[str],
) -> list[dict[str, Any]]:
    """Draws the worst images that can be read into `folder`/worst; returns the counts and the file of each."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)  # Those of an earlier test.
    known, rows = {picture.image_id: picture for picture in pictures}, list[dict[str, Any]]()
    wrong = {number: len(outcome.missed) + len(outcome.false) for number, outcome in outcomes.items()}
    for number in sorted((one for one in wrong if wrong[one] and one in known), key=lambda one: (-wrong[one], one)):
        sample = read_sample(known[number]._replace(instances=()), num_keypoints=0)
        if isinstance(sample, Failure):
            continue
        outcome, fields = outcomes[number], ["bbox", *(FIELDS[of] for of in measured)]
        truth = [_object(objects[row], names, fields, WRONG) for row in outcome.missed]
        truth += [_object(objects[row], names, fields, RIGHT) for row in outcome.found]
        found = [_object(results[row], names, [*fields, "score"], WRONG) for row in outcome.false]
        found += [_object(results[row], names, [*fields, "score"], RIGHT) for row in outcome.right]
        file = f"{FOLDER}/{number}.jpg"
        (folder / FOLDER).mkdir(exist_ok=True)
        scale = max(1, 480 // max(sample.image.shape[1:]))
        panels = [draw_objects(sample.image, side, min_keypoint=0, scale=scale) for side in (truth, found)]
        _save_side_by_side(folder / file, panels)
        counts = {"missed": len(outcome.missed), "false": len(outcome.false), "found": len(outcome.found)}
        rows.append({"name": sample.name, **counts, "file": file})
        if len(rows) == NUMBER:
            break
    return rows


def _object(
    one: Mapping[str, Any], names: Mapping[int, str], fields: Sequence[str], color: tuple[int, int, int]
) -> dict[str, Any]:
    known = {field: one[field] for field in fields if field in one}
    return {**known, "class": names[one["category_id"]], "color": color}


def _save_side_by_side(path: Path, panels: Sequence[Tensor]) -> None:
    gap = torch.full((3, panels[0].shape[1], 8), 255, dtype=torch.uint8)
    pixels = torch.cat([panels[0], gap, *panels[1:]], dim=2)
    height, width = pixels.shape[1:]
    if width > WIDEST:
        pixels = resize(pixels, [round(height * WIDEST / width), WIDEST])
    write_image(path, pixels.permute(1, 2, 0).numpy())


def page_parts(worst: Sequence[Mapping[str, Any]], *, of: str) -> list[str]:
    """The part of the page about these images, in Markdown."""
    if not worst:
        told = "None is drawn: no image with a fault can be read (`data.val_images` says where they are)."
        return ["## The worst images", told]
    keys = ("missed", "false", "found")
    rows = [[one["name"], *(str(one[key]) for key in keys)] for one in worst]
    drawn = [f"{name}: {one['missed']} missed, {one['false']} false\n\n![{name}]({one['file']})"
             for one in worst for name in (one["name"],)]  # fmt: skip
    return ["## The worst images", LEGEND.format(score=SCORE, of=of), table(["image", *keys], rows), *drawn]
