"""From settings to the images that a run trains or tests on."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.data.coco.annotations import Picture, read_annotations
from nonlocal_video.data.lists.kinds import ask_disk
from nonlocal_video.metrics.detection import pycocotools
from nonlocal_video.settings import CocoConfig
from nonlocal_video.settings.values import expect


class ListedImages(NamedTuple):
    """The images of a JSON file, sorted by whether they can be used."""

    pictures: list[Picture]
    """To be used."""
    missing: list[Picture]
    categories: list[tuple[int, str]]
    keypoints: list[str]
    census: dict[str, Any]
    """Counts, and a hash that is equal where the same images with the same objects were listed and used."""
    content: dict[str, Any] | None
    """The file, if it is evaluated with."""

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The ids of the categories in the order of the labels."""
        return tuple(number for number, _ in self.categories)

    @property
    def classes(self) -> list[str]:
        """The names of the categories in the order of the labels."""
        return [name for _, name in self.categories]


def look_for_images(data: CocoConfig, which: str, *, kind: str) -> ListedImages:
    """The images of `data.train` or `data.val` that are there; of those to train on the ones with objects.

    Raises:
        ValueError: no or other annotations, another number of categories, or too many images are missing.
    """
    pycocotools()
    path, folder = getattr(data, which), getattr(data, f"{which}_images")
    expect(os.path.isfile(path), f"data.{which}", path, "a JSON file in COCO's format")
    expect(os.path.isdir(folder), f"data.{which}_images", folder, "the folder of the images")
    found = read_annotations(path, root=folder, kind=kind)
    count = len(found.categories)
    expect(data.num_classes in (None, count), "data.num_classes", data.num_classes, f"{count}, those of {path}")
    there = dict(ask_disk(os.path.isfile, [picture.path for picture in found.pictures]))
    missing = [picture for picture in found.pictures if not there[picture.path]]
    present = [picture for picture in found.pictures if there[picture.path]]
    used = [picture for picture in present if which == "val" or data.empty or _teaches(picture, kind)]
    listed = len(found.pictures)
    if len(missing) > data.max_missing * listed or not used:
        names = ", ".join(picture.path for picture in missing[:3])
        raise ValueError(
            f"{path}: {len(missing)} of {listed} listed images are missing ({names}), {len(used)} can be used; "
            f"data.max_missing={data.max_missing} allows {data.max_missing * listed:.0f}: check data.{which}_images"
        )
    census = {
        "hash": hash_pictures(used),
        "listed": listed,
        "missing": len(missing),
        "without_objects": len(present) - len(used),
        "objects": sum(len(picture.instances) for picture in used),
        "left_out": found.left_out,
    }
    return ListedImages(
        used, missing, found.categories, found.keypoints, census, found.content if which == "val" else None
    )


def _teaches(picture: Picture, kind: str) -> bool:
    """Whether an image has objects, and for keypoints a visible one."""
    if kind != "keypoint_rcnn":
        return bool(picture.instances)
    return any(any((instance.keypoints or ())[2::3]) for instance in picture.instances)


def hash_pictures(pictures: Iterable[Picture]) -> str:
    """A name for a list of images, in whatever order it is."""
    lines = sorted(f"{picture.name} {picture.image_id} {len(picture.instances)}\n" for picture in pictures)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()[:12]


def format_images(census: dict[str, Any]) -> str:
    """One line on the images of a list."""
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(census["left_out"].items())) or "nothing"
    return (
        f"census {census['hash']}: {census['listed']} images listed, {census['missing']} missing, "
        f"{census['without_objects']} without objects not used, {census['objects']} objects; left out: {left_out}"
    )


def moved_images(data: CocoConfig, root: str | None) -> dict[str, Any]:
    """The settings of images, where what is below their root is below another one; as they are if None."""
    plain = asdict(data)
    if root is None or data.root is None:
        return plain
    for name in ("train", "train_images", "val", "val_images"):
        if Path(plain[name]).is_relative_to(data.root):
            plain[name] = str(Path(root) / Path(plain[name]).relative_to(data.root))
    return {**plain, "root": root}
