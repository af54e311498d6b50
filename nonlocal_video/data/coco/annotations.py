"""COCO's JSON: the images of a list and their objects, each checked, what cannot be used counted by its reason."""

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.data.coco.masks import Segmentation
from nonlocal_video.system.plain import read_json


class Instance(NamedTuple):
    """An object that a detector is taught."""

    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels, within the image."""
    label: int
    """The place of its category in `Annotations.categories`, from 1."""
    segmentation: Segmentation | None = None
    keypoints: tuple[float, ...] | None = None
    """x, y and visibility (0, 1 or 2) of each; pixel k reaches from k to k + 1."""


class Picture(NamedTuple):
    """An image of a list."""

    image_id: int
    name: str
    """As the list says it."""
    path: str
    height: int
    width: int
    """0, as the height, where no list says it."""
    instances: tuple[Instance, ...] = ()


class Annotations(NamedTuple):
    """The content of a JSON file in COCO's format, checked."""

    pictures: list[Picture]
    """In the order of the file."""
    categories: list[tuple[int, str]]
    """Id and name, by rising ids."""
    keypoints: list[str]
    """Their names; none if the file is not of keypoints."""
    left_out: dict[str, int]
    """Objects that nothing can be taught from, by the reason."""
    content: dict[str, Any]
    """The file as it is, but for ids of annotations, which are counted anew from 1: the evaluation needs the rest."""


def read_annotations(path: str, *, root: str | None, kind: str) -> Annotations:
    """Reads and checks a file of instances, or of person_keypoints, for a kind of detector.

    Crowds, boxes of no area within their image, and objects without a usable mask (for mask_rcnn) are left out of
    training, and counted.

    Raises:
        ValueError: no such file, or it is not in COCO's format; says which part, what was got, and what is expected.
    """
    content = _content(path)
    categories = _categories(content["categories"], path)
    names = next((category.get("keypoints") for category in content["categories"] if "keypoints" in category), None)
    keypoints = [str(name) for name in names] if isinstance(names, list) else []
    if kind == "keypoint_rcnn" and not keypoints:
        raise ValueError(f"{path}: its categories have no keypoints, expected a file such as person_keypoints_*.json")
    images = _images(content["images"], path)
    numbers = {category: label for label, (category, _) in enumerate(categories, start=1)}
    found: dict[int, list[Instance]] = {image_id: [] for image_id in images}
    left_out = Counter[str]()
    for row, annotation in enumerate(content["annotations"]):
        where = f"{path}: annotations[{row}]"
        _check_annotation(annotation, images, numbers, where=where)
        image = images[annotation["image_id"]]
        instance = _instance(annotation, image, numbers, kind=kind, num_keypoints=len(keypoints), where=where)
        if isinstance(instance, Instance):
            found[annotation["image_id"]].append(instance)
        else:
            left_out[instance] += 1
        annotation["id"] = row + 1  # pycocotools takes a 0 for no match, and the last of two equal ids.
    pictures = _pictures(images, root=root or str(Path(path).parent))
    taught = [picture._replace(instances=tuple(found[picture.image_id])) for picture in pictures]
    return Annotations(taught, categories, keypoints, dict(left_out), content)


def read_pictures(path: str, *, root: str) -> list[Picture]:
    """The images that a file in COCO's format lists, below a folder, without their objects, which need not be there.

    Raises:
        ValueError: no such file, or it lists no images in COCO's format.
    """
    return _pictures(_images(_content(path, ("images",))["images"], path), root=root)


def _pictures(images: Mapping[int, Mapping[str, Any]], *, root: str) -> list[Picture]:
    named = [(number, str(image["file_name"]), image) for number, image in images.items()]
    return [
        Picture(number, name, os.path.join(root, name), image["height"], image["width"])
        for number, name, image in named
    ]


def count_categories(path: str) -> int:
    """The categories that a file in COCO's format lists."""
    return len(_content(path)["categories"])


def _content(path: str, keys: Sequence[str] = ("images", "annotations", "categories")) -> dict[str, Any]:
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file of annotations")
    content = read_json(Path(path))
    for key in keys:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{path}: has no list of {key}, expected a file in COCO's format")
        wrong = [row for row, item in enumerate(content[key]) if not isinstance(item, dict)]
        if wrong:
            raise ValueError(f"{path}: {key}[{wrong[0]}]: got {content[key][wrong[0]]!r:.100}, expected an object")
    return content


def _categories(listed: Sequence[Mapping[str, Any]], path: str) -> list[tuple[int, str]]:
    pairs = [(category.get("id"), category.get("name")) for category in listed]
    if wrong := next((pair for pair in pairs if type(pair[0]) is not int or not isinstance(pair[1], str)), None):
        raise ValueError(f"{path}: categories: got {wrong}, expected a whole number as id, and a name")
    if len({number for number, _ in pairs}) < len(pairs) or not pairs:
        raise ValueError(f"{path}: categories: got {len(pairs)}, expected one or more, of different ids")
    return sorted((int(str(number)), str(name)) for number, name in pairs)


def _images(listed: Sequence[Mapping[str, Any]], path: str) -> dict[int, Mapping[str, Any]]:
    """The images by their ids."""
    found: dict[int, Mapping[str, Any]] = {}
    for row, image in enumerate(listed):
        where, number, name = f"{path}: images[{row}]", image.get("id"), image.get("file_name")
        sizes = [image.get(key) for key in ("height", "width")]
        if type(number) is not int or not all(type(size) is int and 0 < size < 2**16 for size in sizes):
            raise ValueError(f"{where}: got id {number!r}, height and width {sizes}, expected whole numbers")
        if not isinstance(name, str) or not _is_inside(name):
            raise ValueError(f"{where}: file_name: got {name!r}, expected a path below data.root")
        if number in found:
            raise ValueError(f"{where}: got the id {number} again, expected different ids")
        found[number] = image
    if not found:
        raise ValueError(f"{path}: has no images")
    return found


def _is_inside(name: str) -> bool:
    """Whether a path of somebody's file stays below the folder that it starts from."""
    return bool(name) and not os.path.isabs(name) and ".." not in Path(name).parts


def _check_annotation(
    annotation: Mapping[str, Any], images: Mapping[int, Any], numbers: Mapping[int, int], *, where: str
) -> None:
    """Raises ValueError: an object of no image or category of the file, or with a box that is none."""
    for key, known in (("image_id", images), ("category_id", numbers)):
        if annotation.get(key) not in known:
            raise ValueError(f"{where}: {key}: got {annotation.get(key)!r}, expected one that the file lists")
    if not _numbers(annotation.get("bbox"), 4):
        raise ValueError(f"{where}: bbox: got {annotation.get('bbox')!r:.100}, expected x, y, width and height")


def _numbers(value: object, length: int | None = None) -> bool:
    """Whether a value is a list of so many finite numbers."""
    fits = isinstance(value, list) and (length is None or len(value) == length)
    return fits and all(type(item) in (int, float) and math.isfinite(item) for item in value)  # type: ignore[attr-defined]


def _instance(
    annotation: Mapping[str, Any],
    image: Mapping[str, Any],
    numbers: Mapping[int, int],
    *,
    kind: str,
    num_keypoints: int,
    where: str,
) -> Instance | str:
    """An object, or why nothing can be taught from it."""
    if annotation.get("iscrowd"):
        return "crowds"
    x, y, width, height = annotation["bbox"]
    right, bottom = min(x + width, image["width"]), min(y + height, image["height"])
    box = (float(max(x, 0)), float(max(y, 0)), float(right), float(bottom))
    if box[2] <= box[0] or box[3] <= box[1]:
        return "boxes without an area in their image"
    instance = Instance(box, numbers[annotation["category_id"]])
    if kind == "mask_rcnn":
        segmentation = annotation.get("segmentation")
        fault = _fault_of(segmentation, image)
        return fault or instance._replace(segmentation=segmentation)
    if kind == "keypoint_rcnn":
        points = annotation.get("keypoints")
        if not _numbers(points, 3 * num_keypoints):
            raise ValueError(f"{where}: keypoints: got {points!r:.100}, expected {3 * num_keypoints} numbers")
        return instance._replace(keypoints=tuple(_centred(points)))
    return instance


def _fault_of(segmentation: object, image: Mapping[str, Any]) -> str | None:
    """Says why a mask cannot be used."""
    if isinstance(segmentation, dict):
        if segmentation.get("size") != [image["height"], image["width"]]:
            return "masks of another size than their image"
        counts = segmentation.get("counts")
        return None if isinstance(counts, str) or _numbers(counts) else "objects without a mask"
    polygons = segmentation if isinstance(segmentation, list) else []
    fits = all(_numbers(polygon) and len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons)
    return None if polygons and fits else "objects without a mask"


def _centred(points: list[float] | None) -> Iterator[float]:
    """Keypoints that name pixels, as their centres: mirrored and resized they stay exact. Unseen ones are 0."""
    values = points or []
    for x, y, seen in zip(values[::3], values[1::3], values[2::3], strict=True):
        yield from (x + 0.5, y + 0.5, seen) if seen else (0.0, 0.0, 0.0)


def read_results(path: str) -> list[dict[str, Any]]:
    """Detections in COCO's format. Raises ValueError: the file is no list of objects."""
    try:
        found = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no JSON: {str(error)[:100]}") from error
    if not isinstance(found, list) or not all(isinstance(result, dict) for result in found):
        raise ValueError(f"{path}: got {type(found).__name__}, expected a list of results in COCO's format")
    return found


def mirror_of(keypoints: Sequence[str]) -> list[int]:
    """The keypoint that each one becomes when left and right are exchanged, by the names left_... and right_..."""
    swapped = [name.replace("left", "right") if "left" in name else name.replace("right", "left") for name in keypoints]
    return [keypoints.index(name) if name in keypoints else row for row, name in enumerate(swapped)]
