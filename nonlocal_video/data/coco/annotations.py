"""COCO's JSON: the images of a list and their objects, each checked, what cannot be used counted by its reason."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from nonlocal_video.data.coco.masks import Segmentation, fault_of, is_numbers
from nonlocal_video.system.plain import read_json

THINNEST = 1 / 64
"""The least width and height of a box in pixels. In float32, and after resizing, a thinner one may have none."""


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
    """The file name that the annotations give the image."""
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
    left_out: dict[str, list[int]]
    """The rows of objects that nothing can be taught from, by the reason."""
    same_ids: list[int]
    """The rows of objects with an id that one before has."""
    content: dict[str, Any]
    """The file as the evaluation needs it: as it is, but for ids of annotations, which are counted anew from 1, and for
    masks that cannot be used, which are empty."""


def read_annotations(path: str, *, root: str | None, kind: str | None) -> Annotations:
    """Reads and checks a file of instances, or of person_keypoints, for a kind of detector; None for the file's own.

    Crowds, boxes of no area within their image, and objects without a usable mask (for mask_rcnn) are left out of
    training, and counted.

    Raises:
        ValueError: no such file, or it is not in COCO's format; says which part, what was got, and what is expected.
    """
    content = _content(path)
    categories, keypoints = _categories(content["categories"], path), _keypoint_names(content["categories"])
    kind = kind or ("keypoint_rcnn" if keypoints else "mask_rcnn")
    if kind == "keypoint_rcnn" and not keypoints:
        raise ValueError(f"{path}: its categories have no keypoints, expected a file such as person_keypoints_*.json")
    pictures = _pictures(content["images"], path, root=root or str(Path(path).parent))
    labels = {category: label for label, (category, _) in enumerate(categories, start=1)}
    taught: dict[int, list[Instance]] = {image_id: [] for image_id in pictures}
    left_out, same_ids, known = defaultdict[str, list[int]](list), list[int](), set[str]()
    for row, annotation in enumerate(content["annotations"]):
        where = f"{path}: annotations[{row}]"
        _check_annotation(annotation, pictures, labels, where=where)
        _complete(annotation, where=where)
        picture = pictures[annotation["image_id"]]
        size = [picture.height, picture.width]
        fault = fault_of(annotation.get("segmentation"), size) if kind == "mask_rcnn" else None
        instance = fault or _instance(annotation, size, labels, kind=kind, num_points=len(keypoints), where=where)
        if isinstance(instance, Instance):
            taught[picture.image_id].append(instance)
        else:
            left_out[instance].append(row)
        if fault:
            annotation["segmentation"] = {"size": size, "counts": [size[0] * size[1]]}
        number = repr(annotation.get("id", f"row {row}"))
        same_ids += [row] if number in known else []
        known.add(number)
        annotation["id"] = row + 1  # pycocotools takes a 0 for no match, and the last of two equal ids.
    found = [picture._replace(instances=tuple(taught[number])) for number, picture in pictures.items()]
    return Annotations(found, categories, keypoints, dict(left_out), same_ids, content)


def read_pictures(path: str, *, root: str) -> list[Picture]:
    """The images that a file in COCO's format lists, below a folder, without their objects, which need not be there.

    Raises:
        ValueError: no such file, or it lists no images in COCO's format.
    """
    return list(_pictures(_content(path, ("images",))["images"], path, root=root).values())


def _keypoint_names(categories: Sequence[Mapping[str, Any]]) -> list[str]:
    lists = [category["keypoints"] for category in categories if isinstance(category.get("keypoints"), list)]
    return [str(name) for name in lists[0]] if lists else []


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
    if wrong := next((pair for pair in pairs if type(pair[0]) is not int or not _is_text(pair[1])), None):
        raise ValueError(f"{path}: categories: got {wrong}, expected a whole number as id, and a name")
    if len({number for number, _ in pairs}) < len(pairs) or not pairs:
        raise ValueError(f"{path}: categories: got {len(pairs)}, expected one or more, of different ids")
    return sorted((int(str(number)), str(name)) for number, name in pairs)


def _pictures(listed: Sequence[Mapping[str, Any]], path: str, *, root: str) -> dict[int, Picture]:
    found = dict[int, Picture]()
    for row, image in enumerate(listed):
        where, number, name = f"{path}: images[{row}]", image.get("id"), image.get("file_name")
        sizes = [image.get(key) for key in ("height", "width")]
        if type(number) is not int or not all(type(size) is int and 0 < size < 2**16 for size in sizes):
            raise ValueError(f"{where}: got id {number!r}, height and width {sizes}, expected whole numbers")
        if not _is_text(name) or not name or os.path.isabs(name) or ".." in Path(name).parts:
            raise ValueError(f"{where}: file_name: got {name!r}, expected a path below data.root")
        if number in found:
            raise ValueError(f"{where}: got the id {number} again, expected different ids")
        found[number] = Picture(number, name, os.path.join(root, name), image["height"], image["width"])
    if not found:
        raise ValueError(f"{path}: has no images")
    return found


def _is_text(value: object) -> TypeGuard[str]:
    """Whether a value is a string that can be written; JSON may hold halves of characters."""
    return isinstance(value, str) and value == value.encode(errors="replace").decode()


def _check_annotation(
    annotation: Mapping[str, Any], pictures: Mapping[int, Any], labels: Mapping[int, int], *, where: str
) -> None:
    """Raises ValueError: an object of no image or category of the file, or with a box that is none."""
    for key, known in (("image_id", pictures), ("category_id", labels)):
        if type(annotation.get(key)) is not int or annotation[key] not in known:
            raise ValueError(f"{where}: {key}: got {annotation.get(key)!r:.100}, expected one that the file lists")
    if not is_numbers(annotation.get("bbox"), 4):
        raise ValueError(f"{where}: bbox: got {annotation.get('bbox')!r:.100}, expected x, y, width and height")


def _complete(annotation: dict[str, Any], *, where: str) -> None:
    """Fills in what pycocotools needs of an object and some files leave out.

    It is no crowd, has the area of its box, and as many keypoints as are labelled.

    Raises:
        ValueError: one of them is there and is no such number.
    """
    _, _, width, height = annotation["bbox"]
    points = annotation.get("keypoints")
    labelled = sum(seen > 0 for seen in points[2::3]) if is_numbers(points) else 0  # type: ignore[index]
    for key, usual in (("iscrowd", 0), ("area", width * height), ("num_keypoints", labelled)):
        value = annotation.setdefault(key, usual)
        if not is_numbers([value]) or value < 0 or (key == "iscrowd" and value not in (0, 1)):
            raise ValueError(
                f"{where}: {key}: got {value!r:.100}, expected {'0 or 1' if key == 'iscrowd' else '0 or more'}"
            )


def _instance(
    annotation: Mapping[str, Any], size: list[int], labels: Mapping[int, int], *, kind: str, num_points: int, where: str
) -> Instance | str:
    """An object, or why nothing can be taught from it."""
    if annotation.get("iscrowd"):
        return "crowds"
    x, y, width, height = annotation["bbox"]
    right, bottom = min(x + width, size[1]), min(y + height, size[0])
    box = (float(max(x, 0)), float(max(y, 0)), float(right), float(bottom))
    if box[2] - box[0] < THINNEST or box[3] - box[1] < THINNEST:
        return "boxes without an area in their image"
    instance = Instance(box, labels[annotation["category_id"]])
    if kind == "mask_rcnn":
        return instance._replace(segmentation=annotation["segmentation"])
    if kind == "keypoint_rcnn":
        points = annotation.get("keypoints")
        if not is_numbers(points, 3 * num_points):
            raise ValueError(f"{where}: keypoints: got {points!r:.100}, expected {3 * num_points} numbers")
        return instance._replace(keypoints=tuple(_centred(points)))
    return instance


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
