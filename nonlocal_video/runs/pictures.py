"""From settings to the images that a run trains or tests on."""

import os
from typing import Any, NamedTuple

from nonlocal_video.data.coco.annotations import Picture, read_annotations
from nonlocal_video.data.coco.usable import usable_images
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
    """The census of the images, as in `UsableImages`."""
    content: dict[str, Any] | None
    """The file, if it is evaluated with."""

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The ids of the categories in the order of the labels."""
        return tuple(number for number, _ in self.categories)


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
    with_empty = which == "val" or data.empty
    used, missing, _, census = usable_images(found, of_keypoints=kind == "keypoint_rcnn", with_empty=with_empty)
    listed = census["listed"]
    if len(missing) > data.max_missing * listed or not used:
        names = ", ".join(picture.path for picture in missing[:3])
        raise ValueError(
            f"{path}: {len(missing)} of {listed} listed images are missing ({names}), {len(used)} can be used; "
            f"data.max_missing={data.max_missing} allows {data.max_missing * listed:.0f}: check data.{which}_images"
        )
    return ListedImages(
        used, missing, found.categories, found.keypoints, census, found.content if which == "val" else None
    )
