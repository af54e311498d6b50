"""A folder with a data set in COCO's format: its JSON files, and the folder of each one's images."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nonlocal_video.data.coco.annotations import Annotations, read_annotations
from nonlocal_video.data.prepare.sources import split_of

TRIED = 20
"""Images of a list, spread over it, whose files are looked for in each folder."""
KINDS = ("mask_rcnn", "faster_rcnn", "keypoint_rcnn")
"""Where a split has several lists, the first of these that it can teach is taken."""


class CocoList(NamedTuple):
    """A JSON file in COCO's format, in numbers, and where its images are."""

    path: Path
    images: Path
    split: str
    """train, val or test, as the name of the file, or of its folder, says; else empty."""
    kind: str
    """The kind of detector that it can teach."""
    num_images: int
    num_objects: int
    num_categories: int
    num_keypoints: int

    def __str__(self) -> str:
        """One line for people."""
        has = {"mask_rcnn": "with masks", "faster_rcnn": "boxes only", "keypoint_rcnn": "with keypoints"}[self.kind]
        numbers = f"{self.num_images} images, {self.num_objects} objects of {self.num_categories} categories, {has}"
        return f"{self.path}: {numbers}; images in {self.images}"


def find_coco(folder: Path) -> tuple[list[CocoList], list[str]]:
    """The lists in COCO's format in a folder and the folders in it, and notes on other JSON files.

    Raises:
        ValueError: a list of which no image is found; two lists of one split and kind.
    """
    found, others = list[CocoList](), list[str]()
    inner = [folder, *_folders(folder)]
    for path in sorted(path for one in inner for path in one.glob("*.json") if path.is_file()):
        try:
            listed = read_annotations(str(path), root=None, kind=None)
        except ValueError as error:
            others.append(f"{error}")
            continue
        split, images = split_of(path.name) or split_of(path.parent.name), _images_of(listed, path, folder)
        found.append(_counted(listed, path, images, split))
    keys = [(one.split, one.kind) for one in found]
    if twice := next((one for one in found if keys.count((one.split, one.kind)) > 1), None):
        same = ", ".join(str(one.path) for one in found if (one.split, one.kind) == (twice.split, twice.kind))
        raise ValueError(f"{folder}: got {same}, expected one list each with train, val or test in its name")
    shown = [f"note: not in COCO's format: {other}" for other in others[:3]]
    return found, shown + ([f"note: nor are {len(others) - 3} other JSON files"] if len(others) > 3 else [])


def _folders(folder: Path) -> list[Path]:
    return sorted(Path(item.path) for item in os.scandir(folder) if item.is_dir() and not item.name.startswith("."))


def _images_of(listed: Annotations, path: Path, folder: Path) -> Path:
    """The folder, up to two below the one that was named, in which most of the images tried are."""
    tried = listed.pictures[:: max(1, len(listed.pictures) // TRIED)]
    inner = _folders(folder)
    candidates = [path.parent, folder, *inner, *(one for outer in inner for one in _folders(outer))]
    split = split_of(path.name) or split_of(path.parent.name)

    def fits(one: Path) -> tuple[int, bool]:  # Images of train and val may have the same names.
        return sum((one / picture.name).is_file() for picture in tried), split_of(one.name) == split

    best = max(candidates, key=fits)
    if fits(best)[0] == 0:
        raise ValueError(f"{path}: none of its images (say {tried[0].name}) is below {folder}")
    return best


def _counted(listed: Annotations, path: Path, images: Path, split: str) -> CocoList:
    objects, points = len(listed.content["annotations"]), len(listed.keypoints)
    has_masks = any(picture.instances for picture in listed.pictures)
    kind = "keypoint_rcnn" if points else "mask_rcnn" if has_masks else "faster_rcnn"
    return CocoList(path, images, split, kind, len(listed.pictures), objects, len(listed.categories), points)


def choose_lists(found: Sequence[CocoList]) -> dict[str, CocoList]:
    """The lists of train and val, of one kind; a lone list is that of train. Raises ValueError: other categories."""
    kind = min((one.kind for one in found), key=KINDS.index)
    by_split = {one.split: one for one in found if one.kind == kind}
    named = {"train": ("train", ""), "val": ("val", "test")}
    lists = {which: next((by_split[s] for s in splits if s in by_split), None) for which, splits in named.items()}
    chosen = {which: one for which, one in lists.items() if one is not None}
    if "train" not in chosen:
        chosen = {"train": chosen.pop("val")}
    if len({one.num_categories for one in chosen.values()}) > 1:
        told = ", ".join(f"{one.num_categories} in {one.path}" for one in chosen.values())
        raise ValueError(f"got {told}, expected the same categories")
    return chosen


def image_settings(folder: Path, lists: dict[str, CocoList]) -> dict[str, str | int]:
    """The settings that tell a run of the data set, by the fields of configs/data/."""
    places = {key: str(path) for which, one in lists.items() for key, path in
              ((which, one.path), (f"{which}_images", one.images))}  # fmt: skip
    return {"root": str(folder), **places, "num_classes": lists["train"].num_categories}


def describe(
    found: Sequence[CocoList], chosen: dict[str, CocoList], settings: dict[str, str | int], *, name: str | None
) -> str:
    """Says what a folder has, what is taken, and the next two commands; what only the user knows is in capitals."""
    lines = [f"{which}: {one}" for which, one in chosen.items()]
    lines += [f"not used: {one}" for one in found if one not in chosen.values()]
    unknown = {"name": "NAME"}
    if "val" not in chosen:
        lines.append("one list only: no image is left to test on; divide it, or name another one as data.val")
        unknown |= {"val": "FILE", "val_images": "FOLDER"}
    words = ["data=coco", *(f"data.{key}={value}" for key, value in (unknown | settings).items())]
    data, train = [f"data=local/{name}"] if name else words, chosen["train"]
    model = [f"model={train.kind}_r50_nl"]
    model += [f"model.num_keypoints={train.num_keypoints}"] if train.num_keypoints else []
    lines.append(f"next: {shlex.join(['python', 'tools/check_data.py', *data])}")
    lines.append(f"then: {shlex.join(['python', 'tools/train.py', *data, *model, 'init.weights=FILE'])}")
    return "\n".join(lines)
