"""Which of the listed images a run can use, in a form that fits beside a number."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nonlocal_video.data.coco.annotations import Annotations, Picture
from nonlocal_video.data.lists.kinds import ask_disk


class UsableImages(NamedTuple):
    """The images of a list, sorted by whether they can be used."""

    used: list[Picture]
    missing: list[Picture]
    empty: list[Picture]
    """Images without objects that can be taught."""
    census: dict[str, Any]
    """Counts, and a hash that is equal where the same images with the same objects were listed and used."""


def usable_images(found: Annotations, *, of_keypoints: bool, with_empty: bool) -> UsableImages:
    """The images that are there; those without objects only if asked for, and for keypoints without a visible one."""
    there = dict(ask_disk(os.path.isfile, [picture.path for picture in found.pictures]))
    missing = [picture for picture in found.pictures if not there[picture.path]]
    present = [picture for picture in found.pictures if there[picture.path]]
    empty = [picture for picture in present if not _teaches(picture, of_keypoints=of_keypoints)]
    left = set[int]() if with_empty else {picture.image_id for picture in empty}
    used = [picture for picture in present if picture.image_id not in left]
    census = {
        "hash": hash_pictures(used),
        "listed": len(found.pictures),
        "missing": len(missing),
        "without_objects": len(left),
        "objects": sum(len(picture.instances) for picture in used),
        "left_out": {reason: len(rows) for reason, rows in found.left_out.items()},
    }
    return UsableImages(used, missing, empty, census)


def _teaches(picture: Picture, *, of_keypoints: bool) -> bool:
    """Whether an image has objects, and for keypoints a visible one."""
    if not of_keypoints:
        return bool(picture.instances)
    return any(any((instance.keypoints or ())[2::3]) for instance in picture.instances)


def hash_pictures(pictures: Iterable[Picture]) -> str:
    """A name for a list of images, in whatever order it is."""
    lines = sorted(f"{picture.name} {picture.image_id} {len(picture.instances)}\n" for picture in pictures)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()[:12]


def format_images(census: Mapping[str, Any]) -> str:
    """One line on the images of a list."""
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(census["left_out"].items())) or "nothing"
    return (
        f"census {census['hash']}: {census['listed']} images listed, {census['missing']} missing, "
        f"{census['without_objects']} without objects not used, {census['objects']} objects; left out: {left_out}"
    )
