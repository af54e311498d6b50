"""COCO's average precision beside another implementation, and what pycocotools takes that cannot be."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("pycocotools")

from nonlocal_video.data.coco.annotations import read_annotations
from nonlocal_video.data.coco.dataset import read_sample
from nonlocal_video.metrics.detection import OTHER_SIGMA, check_results, coco_precision
from nonlocal_video.tasks.detection.results import results_of
from nonlocal_video.types import ImageSample
from tests.data import coco_files

REAL = Path(__file__).parents[3] / "shared/real/coco_tiny"


def truth_as_results(found: Any, *, num_keypoints: int = 0) -> list[dict[str, Any]]:
    """The objects of the training images as a detector would give them."""
    results = []
    for picture in found.pictures:
        sample = read_sample(picture, num_keypoints=num_keypoints)
        assert isinstance(sample, ImageSample)
        target = dict(sample.target)
        if num_keypoints:  # Of objects without a visible keypoint COCO evaluates none.
            seen = (target["keypoints"][..., 2] > 0).any(dim=1)
            target = {name: tensor[seen] for name, tensor in target.items()}
        if "masks" in target:
            target["masks"] = target["masks"][:, None].float()
        detections = {**target, "scores": torch.ones(len(target["labels"]))}
        ids = [number for number, _ in found.categories]
        results += results_of(detections, image_id=picture.image_id, categories=ids)
    return results


def shaken(results: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """The same with boxes a little off and random scores; some twice, some lost."""
    spoilt = []
    for result in results:
        for _ in range(rng.choice([0, 1, 1, 2])):
            x, y, w, h = (value + rng.uniform(-2, 2) for value in result["bbox"])
            spoilt.append({**result, "bbox": [x, y, max(w, 1), max(h, 1)], "score": rng.random()})
    return spoilt


@pytest.mark.parametrize(("kind", "measured"), [("mask_rcnn", ("box", "mask")), ("keypoint_rcnn", ("keypoint",))])
def test_ground_truth_is_perfect(kind: str, measured: tuple[str, ...], tmp_path: Path) -> None:
    plain = coco_files.content()
    plain = coco_files.with_keypoints(plain) if kind == "keypoint_rcnn" else plain
    found = read_annotations(str(coco_files.write(tmp_path, plain)), root=None, kind=kind)
    results = truth_as_results(found, num_keypoints=len(found.keypoints))
    for of in measured:
        assert coco_precision(found.content, results, of=of).numbers["AP"] == pytest.approx(100)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real images")
@pytest.mark.parametrize("which", ["train2017", "val2017"])
@pytest.mark.parametrize("kind", ["mask_rcnn", "keypoint_rcnn"])
def test_real_ground_truth_is_perfect(kind: str, which: str) -> None:
    """Masks and boxes to 0.1 of 100: a polygon becomes pixels, and boxes are float32; keypoints to 0.01."""
    name = "person_keypoints" if kind == "keypoint_rcnn" else "instances"
    found = read_annotations(str(REAL / f"annotations/{name}_{which}.json"), root=str(REAL / which), kind=kind)
    results = truth_as_results(found, num_keypoints=len(found.keypoints))
    for of in ("keypoint",) if kind == "keypoint_rcnn" else ("box", "mask"):
        assert coco_precision(found.content, results, of=of).numbers["AP"] == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("of", ["box", "mask", "keypoint"])
def test_numbers_are_those_of_another_implementation(of: str, seed: int, tmp_path: Path) -> None:
    faster = pytest.importorskip("faster_coco_eval")
    kind = "keypoint_rcnn" if of == "keypoint" else "mask_rcnn"
    plain = coco_files.content(9)
    plain = coco_files.with_keypoints(plain) if of == "keypoint" else plain
    found = read_annotations(str(coco_files.write(tmp_path, plain)), root=None, kind=kind)
    results = shaken(truth_as_results(found, num_keypoints=len(found.keypoints)), random.Random(seed))
    ours = coco_precision(found.content, results, of=of)
    truth = faster.COCO(found.content)
    field = {"box": "bbox", "mask": "segmentation", "keypoint": "keypoints"}[of]
    mine = [{key: one[key] for key in ("image_id", "category_id", "score", field)} for one in results]
    words = {"box": "bbox", "mask": "segm", "keypoint": "keypoints"}
    other = faster.COCOeval_faster(truth, truth.loadRes(mine), words[of])
    if of == "keypoint":
        other.params.kpt_oks_sigmas = np.full(3, OTHER_SIGMA)
    other.evaluate()
    other.accumulate()
    other.summarize()
    expected = [100 * value for value in other.stats[: 10 if of == "keypoint" else 12] if value >= 0]
    assert list(ours.numbers.values()) == pytest.approx(expected, abs=1e-9)
    assert 0 < ours.numbers["AP"] < 100


def test_nothing_found_is_an_ap_of_0(tmp_path: Path) -> None:
    found = read_annotations(str(coco_files.write(tmp_path, coco_files.content())), root=None, kind="mask_rcnn")
    precision = coco_precision(found.content, [], of="box")
    assert precision.numbers["AP"] == 0
    assert precision.classes == {3: 0.0, 17: 0.0}
    assert precision.curve == [0.0] * 101


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """pycocotools counts a box of NaN as found."""
    found = read_annotations(str(coco_files.write(tmp_path, coco_files.content())), root=None, kind="faster_rcnn")
    results = truth_as_results(found)
    wrong = [{**result, "bbox": [float("nan")] * 4} for result in results]
    assert coco_precision(found.content, wrong, of="box").numbers["AP"] > 90, "or there is no need to refuse them"
    for change, message in (
        ({"bbox": [0.0, 0.0, float("nan"), 1.0]}, "finite numbers"),
        ({"bbox": [0.0, 0.0, 1.0]}, "bbox: got .*expected 4 finite numbers"),
        ({"bbox": [1, 1, -2, 3]}, "expected x, y, width and height"),
        ({"bbox": None}, "bbox: got None"),
        ({"bbox": [10**400, 0, 1, 1]}, "finite numbers"),
        ({"keypoints": [1, 2, 3]}, "keypoints: got .*expected 51 finite numbers"),
        ({"score": float("inf")}, "score: got inf"),
        ({"image_id": [1]}, "image_id: got"),
        ({"image_id": float(results[0]["image_id"])}, "image_id: got"),
        ({"image_id": 5}, "image_id: got 5"),
        ({"category_id": 4}, "category_id: got 4"),
    ):
        with pytest.raises(ValueError, match=message):
            check_results([{**results[0], **change}], found.content, measured=["box"])
    check_results(results, found.content, measured=["box"])
    with pytest.raises(ValueError, match="result 1: has no segmentation"):
        check_results([{**results[0], "segmentation": 0}, results[1]], found.content, measured=["box", "mask"])
    with pytest.raises(ValueError, match="not finite"):
        results_of(
            {"boxes": torch.full((1, 4), torch.nan), "labels": torch.ones(1).long(), "scores": torch.ones(1)},
            image_id=1, categories=[3],
        )  # fmt: skip


def test_rows_of_a_picture_are_the_mean_over_its_classes(tmp_path: Path) -> None:
    found = read_annotations(str(coco_files.write(tmp_path, coco_files.content())), root=None, kind="faster_rcnn")
    half = [result for result in truth_as_results(found) if result["category_id"] == 3]
    precision = coco_precision(found.content, half, of="box")
    assert precision.classes == {3: pytest.approx(100), 17: 0.0}
    assert np.allclose(precision.curve, 50)
