"""COCO's average precision of boxes, masks and keypoints, by pycocotools."""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

IOU_TYPES = {"box": "bbox", "mask": "segm", "keypoint": "keypoints"}
FIELDS = {"box": "bbox", "mask": "segmentation", "keypoint": "keypoints"}
"""The field of a result that says a box, a mask or keypoints. pycocotools takes a result with several for a box."""
_OF_REGIONS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
STATS = {
    "box": _OF_REGIONS,
    "mask": _OF_REGIONS,
    "keypoint": ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl"),
}
"""The numbers of a summary, as pycocotools gives them."""
NUM_COCO_KEYPOINTS = 17
OTHER_SIGMA = 0.05
"""How exactly people place the keypoints of other data sets, as a share of an object's size; COCO's are 0.025 to
0.107, each its own."""
LARGEST = 2**31
"""No number of a result is larger."""
SCORE = 0.5
"""Detections of images by themselves are those with this score or more."""


class Outcome(NamedTuple):
    """The objects and detections of an image, at `SCORE` and an overlap of 0.5, as pycocotools matches them.

    Rows of annotations and of results; crowds, and what is found in them, are neither.
    """

    found: list[int]
    missed: list[int]
    right: list[int]
    false: list[int]


class Precision(NamedTuple):
    """How good detections are, in percent."""

    numbers: dict[str, float]
    """`STATS` of all classes; what no object was for is left out."""
    classes: dict[int, float | None]
    """AP of each category by its id; None without an object of it."""
    curve: list[float]
    """The precision at an overlap of 0.5 for recalls of 0, 1, ..., 100 percent, the mean over the classes."""
    images: dict[int, Outcome]
    """By the ids of images."""


def check_results(
    results: Iterable[Mapping[str, Any]], annotations: Mapping[str, Any], *, measured: Sequence[str]
) -> None:
    """Raises ValueError: a result of another image or category, or without the finite numbers that are measured.

    pycocotools counts boxes that are not a number as found, and repeats keypoints that are too few.
    """
    known = {key: {one["id"] for one in annotations[key]} for key in ("images", "categories")}
    lengths = {"box": 4, "keypoint": 3 * _num_keypoints(annotations)}
    for row, result in enumerate(results):
        for key, ids in (("image_id", known["images"]), ("category_id", known["categories"])):
            if type(result.get(key)) is not int or result[key] not in ids:
                raise ValueError(f"result {row}: {key}: got {result.get(key)!r:.100}, expected one of the annotations")
        if not _are_numbers([result.get("score")]):
            raise ValueError(f"result {row}: score: got {result.get('score')!r:.100}, expected a finite number")
        for of, length in lengths.items():
            value = result.get(FIELDS[of])
            given = FIELDS[of] in result or of in measured
            if given and not (isinstance(value, list) and len(value) == length and _are_numbers(value)):
                raise ValueError(f"result {row}: {FIELDS[of]}: got {value!r:.100}, expected {length} finite numbers")
        if min(result.get("bbox", [0])[2:], default=0) < 0:
            raise ValueError(f"result {row}: bbox: got {result['bbox']}, expected x, y, width and height")
        if "mask" in measured and "segmentation" not in result:
            raise ValueError(f"result {row}: has no segmentation, which others have")


def _are_numbers(values: Sequence[object]) -> bool:
    return all(type(value) in (int, float) and abs(value) < LARGEST for value in values)  # type: ignore[arg-type]


def _num_keypoints(annotations: Mapping[str, Any]) -> int:
    lists = [category.get("keypoints") for category in annotations["categories"]]
    return next((len(names) for names in lists if isinstance(names, list)), NUM_COCO_KEYPOINTS)


def coco_precision(
    annotations: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    of: str,
    image_ids: Sequence[int] | None = None,
) -> Precision:
    """Evaluates results in COCO's format, in their order where scores are equal.

    Args:
        annotations: the content of a JSON file in COCO's format, with different ids of annotations from 1 on.
        of: box, mask or keypoint.
        image_ids: only these images; all of the file if None.
    """
    field = FIELDS[of]
    mine = [{key: result[key] for key in ("image_id", "category_id", "score", field)} for result in results]
    with contextlib.redirect_stdout(io.StringIO()):  # It tells how long it took.
        truth = _coco(annotations)
        found = truth.loadRes(mine) if mine else _coco({**annotations, "annotations": []})
        evaluation = pycocotools().cocoeval.COCOeval(truth, found, IOU_TYPES[of])
        points = _num_keypoints(annotations)
        if of == "keypoint" and points != NUM_COCO_KEYPOINTS:
            evaluation.params.kpt_oks_sigmas = np.full(points, OTHER_SIGMA)
        if image_ids is not None:
            evaluation.params.imgIds = sorted(image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    numbers = {name: 100 * float(value) for name, value in zip(STATS[of], evaluation.stats, strict=False) if value >= 0}
    precision = evaluation.eval["precision"]  # (overlaps, recalls, classes, areas, most detections)
    per_class = {category: _mean(precision[:, :, k, 0, -1]) for k, category in enumerate(evaluation.params.catIds)}
    at_half = precision[0, :, :, 0, -1]
    curve = [100 * float(row[row >= 0].mean()) if (row >= 0).any() else 0.0 for row in at_half]
    return Precision(numbers, per_class, curve, _outcomes(evaluation))


def _outcomes(evaluation: Any) -> dict[int, Outcome]:
    whole = evaluation.params.areaRng[0]
    outcomes = {number: Outcome([], [], [], []) for number in evaluation.params.imgIds}
    for one in evaluation.evalImgs:  # Of each category, range of areas and image; None without objects and detections.
        if one is None or one["aRng"] != whole:
            continue
        outcome, right = outcomes[one["image_id"]], set[int]()
        for number, score, match, ignored in zip(
            one["dtIds"], one["dtScores"], one["dtMatches"][0], one["dtIgnore"][0], strict=True
        ):
            if score >= SCORE and not ignored:
                (outcome.right if match else outcome.false).append(number - 1)
                right |= {number} if match else set()
        for number, match, ignored in zip(one["gtIds"], one["gtMatches"][0], one["gtIgnore"], strict=True):
            if not ignored:
                (outcome.found if match in right else outcome.missed).append(number - 1)
    return outcomes


def _mean(precision: np.ndarray) -> float | None:
    known = precision[precision > -1]
    return 100 * float(known.mean()) if known.size else None


def _coco(content: Mapping[str, Any]) -> Any:
    coco = pycocotools().coco.COCO()
    annotations = [dict(annotation) for annotation in content["annotations"]]  # It changes them.
    coco.dataset = {**content, "annotations": annotations}
    coco.createIndex()
    return coco


def pycocotools() -> Any:
    """The library. Raises ValueError: it is not installed."""
    try:
        import pycocotools.coco  # noqa: PLC0415  # An extra.
        import pycocotools.cocoeval  # noqa: PLC0415
        import pycocotools.mask  # noqa: PLC0415
    except ImportError as error:
        raise ValueError(f"detection needs pycocotools: pip install 'nonlocal_video[coco]' ({error})") from error
    return pycocotools
