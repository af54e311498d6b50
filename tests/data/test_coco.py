"""COCO's format as it comes: what is wrong is an error or is counted; samples are pure functions of seed and number."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("pycocotools")

from nonlocal_video.data.coco.annotations import Picture, mirror_of, read_annotations
from nonlocal_video.data.coco.dataset import (
    Grouping,
    TestingImages,
    TrainingImages,
    mirrored_sample,
    read_sample,
)
from nonlocal_video.data.coco.masks import decode_mask, fault_of
from nonlocal_video.data.decode import DecodeError
from nonlocal_video.metrics.detection import coco_precision
from nonlocal_video.types import Failure, ImageSample
from tests.data import coco_files


def sample_of(picture: Picture, *, num_keypoints: int = 0) -> ImageSample:
    found = read_sample(picture, num_keypoints=num_keypoints)
    assert isinstance(found, ImageSample), found
    return found


def read(folder: Path, plain: dict[str, Any], *, kind: str = "mask_rcnn") -> Any:
    path = coco_files.write(folder, plain)
    return read_annotations(str(path), root=None, kind=kind)


def test_categories_with_holes_become_labels_from_1_and_images_keep_their_order(tmp_path: Path) -> None:
    found = read(tmp_path, coco_files.content())
    assert found.categories == [(3, "square"), (17, "bar")]
    assert [picture.image_id for picture in found.pictures] == list(range(10, 16))
    assert [instance.label for instance in found.pictures[0].instances] == [1, 2]
    assert found.pictures[0].instances[0].box == (4, 6, 24, 22)
    assert found.pictures[-1].instances == ()
    assert found.left_out == {}


def test_what_cannot_be_taught_is_counted_by_its_reason(tmp_path: Path) -> None:
    plain = coco_files.content()
    rle = {"size": [48, 64], "counts": [0, 48 * 64]}
    more = [
        coco_files.annotation(90, 10, [0, 0, 9, 9], iscrowd=1, segmentation=rle),
        coco_files.annotation(91, 10, [5, 5, 0, 7]),
        coco_files.annotation(92, 10, [70, 5, 10, 7]),
        coco_files.annotation(96, 10, [50, 5, 1e-6, 7]),
        coco_files.annotation(97, 10, [63.9999999, 5, 5, 7]),
        coco_files.annotation(93, 10, [0, 0, 9, 9], segmentation={"size": [9, 9], "counts": [81]}),
        coco_files.annotation(94, 10, [0, 0, 9, 9], segmentation=[[1, 2, 3]]),
        coco_files.annotation(95, 10, [0, 0, 9, 9], segmentation=[]),
    ]
    plain["annotations"] += more
    found = read(tmp_path, plain)
    assert {reason: len(rows) for reason, rows in found.left_out.items()} == {
        "crowds": 1, "boxes without an area in their image": 4, "masks of another size than their image": 1,
        "objects without a mask": 2,
    }  # fmt: skip
    target = sample_of(found.pictures[0]).target
    shapes = {name: tuple(tensor.shape) for name, tensor in target.items()}
    assert shapes == {"boxes": (2, 4), "labels": (2,), "masks": (2, 48, 64)}, "torchvision takes fewer masks in silence"
    assert target["boxes"].dtype == torch.float32, "and boxes of whole numbers"
    assert len(read(tmp_path, plain, kind="faster_rcnn").pictures[0].instances) == 5


def test_run_length_codes_hold_as_many_pixels_as_their_image() -> None:
    """pycocotools fills what a code leaves out with whatever was in its memory, and breaks down at 10^9."""
    from pycocotools import mask

    rng = np.random.default_rng(0)
    for density in (0.0, 0.01, 0.5, 1.0):
        size = [int(side) for side in rng.integers(1, 90, 2)]
        pixels = np.asfortranarray(rng.random(size) < density, dtype=np.uint8)
        code = {"size": size, "counts": mask.encode(pixels)["counts"].decode()}
        assert fault_of(code, size) is None
        assert fault_of(code, [size[0], size[1] + 1]) == "masks of another size than their image"
        cut = {"size": size, "counts": code["counts"][:-1]}
        assert fault_of(cut, size) is not None
    for counts in ("", "zzzz", "a b", [0, 10], [-1, 101], [0.5], None):
        assert fault_of({"size": [10, 10], "counts": counts}, [10, 10]) is not None
    assert fault_of([[1e9, 0, 20, 0, 20, 1e9]], [10, 10]) == "objects without a mask"
    assert fault_of([[-5, 0, 20, 0, 20, 99.5]], [10, 10]) is None


def test_a_mask_that_cannot_be_used_is_an_empty_one_for_the_evaluation(tmp_path: Path) -> None:
    plain = coco_files.content(2)
    plain["annotations"][0]["segmentation"] = {"size": [48, 64], "counts": [0, 10]}
    found = read(tmp_path, plain)
    assert [decode_mask(one["segmentation"], 48, 64).sum() for one in found.content["annotations"]] == [0, 24 * 12]


def test_boxes_end_at_the_image_and_ids_of_annotations_are_counted_anew(tmp_path: Path) -> None:
    plain = coco_files.content()
    plain["annotations"] += [coco_files.annotation(0, 10, [-5, 40, 30, 30]), coco_files.annotation(0, 10, [1, 1, 5, 5])]
    found = read(tmp_path, plain, kind="faster_rcnn")
    assert found.pictures[0].instances[2].box == (0, 40, 25, 48)
    ids = [one["id"] for one in found.content["annotations"]]
    assert ids == list(range(1, len(ids) + 1))


def test_what_pycocotools_needs_and_a_file_leaves_out_is_filled_in(tmp_path: Path) -> None:
    plain = coco_files.with_keypoints(coco_files.content())
    for one in plain["annotations"]:
        del one["area"], one["iscrowd"], one["num_keypoints"]
    plain["categories"].append({"id": 4, "name": "other", "keypoints": None})
    found = read(tmp_path, plain, kind="keypoint_rcnn")
    first = found.content["annotations"][0]
    assert (first["iscrowd"], first["area"], first["num_keypoints"]) == (0, 20 * 16, 2)
    for of in ("box", "keypoint"):
        assert coco_precision(found.content, [], of=of).numbers["AP"] == 0


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no categories": (lambda plain: plain.pop("categories"), "has no list of categories"),
    "no object": (lambda plain: plain["images"].append(7), r"images\[6\]: got 7, expected an object"),
    "category twice": (lambda plain: plain["categories"].append({"id": 3, "name": "a"}), "of different ids"),
    "image twice": (lambda plain: plain["images"].append(dict(plain["images"][0])), "got the id 10 again"),
    "size": (lambda plain: plain["images"][0].update(width="64"), r"images\[0\]: got id 10, height and width"),
    "path up": (lambda plain: plain["images"][0].update(file_name="../a.png"), "a path below data.root"),
    "half a character": (
        lambda plain: plain["images"][0].update(file_name="\ud800.png"),
        r"file_name: got '.ud800.png', expected",
    ),
    "half a name": (lambda plain: plain["categories"][0].update(name="\ud800"), "as id, and a name"),
    "path": (lambda plain: plain["images"][0].update(file_name="/etc/passwd"), "a path below data.root"),
    "of no image": (lambda plain: plain["annotations"][0].update(image_id=1), "image_id: got 1, expected one"),
    "of no category": (lambda plain: plain["annotations"][0].update(category_id=1), "category_id: got 1, expected"),
    "a list as id": (lambda plain: plain["annotations"][0].update(image_id=[1]), r"image_id: got \[1\], expected"),
    "box": (lambda plain: plain["annotations"][0].update(bbox=[1, 2, 3]), r"bbox: got \[1, 2, 3\], expected x, y"),
    "a huge box": (lambda plain: plain["annotations"][0].update(bbox=[10**400, 2, 3, 4]), "bbox: got"),
    "area": (lambda plain: plain["annotations"][0].update(area=float("nan")), "area: got nan, expected"),
    "no area": (lambda plain: plain["annotations"][0].update(area=None), "area: got None, expected"),
    "crowd": (lambda plain: plain["annotations"][0].update(iscrowd="0"), "iscrowd: got '0', expected 0 or 1"),
    "no number": (lambda plain: plain["annotations"][0].update(bbox=[1, 2, 3, float("nan")]), "bbox: got"),
}


@pytest.mark.parametrize("case", BAD)
def test_other_files_are_refused_with_what_was_expected(case: str, tmp_path: Path) -> None:
    plain = coco_files.content()
    path = coco_files.write(tmp_path, plain)
    change, message = BAD[case]
    change(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(ValueError, match=message):
        read_annotations(str(path), root=None, kind="mask_rcnn")


def test_files_that_are_not_there_or_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_annotations(str(tmp_path / "none.json"), root=None, kind="mask_rcnn")
    (tmp_path / "a.json").write_text("no JSON")
    with pytest.raises(ValueError, match=r"a\.json"):
        read_annotations(str(tmp_path / "a.json"), root=None, kind="mask_rcnn")
    path = coco_files.write(tmp_path, coco_files.content())
    with pytest.raises(ValueError, match="have no keypoints"):
        read_annotations(str(path), root=None, kind="keypoint_rcnn")


def test_keypoints_are_the_centres_of_pixels_and_swap_left_and_right_in_a_mirror(tmp_path: Path) -> None:
    found = read(tmp_path, coco_files.with_keypoints(coco_files.content()), kind="keypoint_rcnn")
    assert mirror_of(found.keypoints) == [0, 2, 1]
    sample = sample_of(found.pictures[0], num_keypoints=3)
    assert sample.target["keypoints"][0].tolist() == [[14.5, 14.5, 2], [6.5, 8.5, 2], [0, 0, 0]]
    mirrored = mirrored_sample(sample, mirror_of(found.keypoints))
    assert mirrored.target["keypoints"][0].tolist() == [[49.5, 14.5, 2], [0, 0, 0], [57.5, 8.5, 2]]
    back = mirrored_sample(mirrored, mirror_of(found.keypoints))
    assert all(torch.equal(back.target[name], sample.target[name]) for name in sample.target)


def test_boxes_and_masks_stay_on_their_object_in_a_mirror(tmp_path: Path) -> None:
    sample = sample_of(read(tmp_path, coco_files.content()).pictures[0])
    for one in (sample, mirrored_sample(sample, ())):
        for box, mask in zip(one.target["boxes"].int().tolist(), one.target["masks"], strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box
        left, top, right, bottom = one.target["boxes"][0].int().tolist()
        assert (one.image[:, top:bottom, left:right] == 200).all()


def test_run_length_codes_are_masks(tmp_path: Path) -> None:
    plain = coco_files.content(2)
    counts = [48 * 10 + 6, 16, 48 - 16, 16, 48 * 64 - 48 * 11 - 22]
    plain["annotations"][0].update(segmentation={"size": [48, 64], "counts": counts})
    mask = sample_of(read(tmp_path, plain).pictures[0]).target["masks"][0]
    assert torch.nonzero(mask).tolist() == [[row, column] for row in range(6, 22) for column in (10, 11)]


def test_an_image_without_objects_has_empty_targets(tmp_path: Path) -> None:
    found = read(tmp_path, coco_files.with_keypoints(coco_files.content()), kind="keypoint_rcnn")
    target = sample_of(found.pictures[-1], num_keypoints=3).target
    shapes = {name: tuple(tensor.shape) for name, tensor in target.items()}
    assert shapes == {"boxes": (0, 4), "labels": (0,), "keypoints": (0, 3, 3)}


def picture(path: Path, *, width: int, height: int) -> Picture:
    return Picture(1, path.name, str(path), height, width, ())


def test_grey_cmyk_and_turned_jpegs_are_read_as_the_list_says_them(tmp_path: Path) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :15] = 250
    for mode in ("L", "CMYK"):
        Image.fromarray(pixels).convert(mode).save(tmp_path / f"{mode}.jpg", quality=95)
        image = sample_of(picture(tmp_path / f"{mode}.jpg", width=30, height=20)).image
        assert image.shape == (3, 20, 30)
        assert image[:, :, :12].min() > 200
        assert image[:, :, 18:].max() < 50
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned by 90 degrees.
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    assert sample_of(picture(tmp_path / "turned.jpg", width=20, height=30)).image.shape == (3, 30, 20)
    assert sample_of(picture(tmp_path / "turned.jpg", width=30, height=20)).image.shape == (3, 20, 30)
    failure = read_sample(picture(tmp_path / "turned.jpg", width=31, height=20), num_keypoints=0)
    assert isinstance(failure, Failure)
    assert "is 30x20, expected 31x20 as listed" in failure.cause


def test_broken_images_are_replaced_by_one_of_their_orientation_and_named(tmp_path: Path) -> None:
    found = read(tmp_path, coco_files.content(6))
    (tmp_path / "1.png").write_bytes(b"no image")
    images = TrainingImages(found.pictures, seed=0, group=2, flip=False, mirror=())
    samples = [images.get(i, lost={}, started=lambda _: None) for i in range(24)]
    failures = [failure for sample in samples for failure in sample.failures]
    assert {failure.video for failure in failures} == {"1.png"}
    for sample in samples:
        if sample.failures:
            assert sample.image.shape[1] > sample.image.shape[2], "tall, as the broken one"
    for name in ("3.png", "5.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DecodeError, match="10 files in a row"):
        next(images.get(i, lost={}, started=lambda _: None) for i in range(24) if images.name(i, 0) == "1.png")
    testing = TestingImages(found.pictures)
    assert isinstance(testing.get(1, lost={}, started=lambda _: None), Failure)


@pytest.mark.parametrize(("num_wide", "num_tall", "size"), [(7, 5, 2), (9, 2, 4), (3, 0, 2), (1, 4, 3), (16, 16, 8)])
def test_groups_are_of_one_orientation_and_every_image_comes_once_a_pass(
    num_wide: int, num_tall: int, size: int
) -> None:
    wide = [True] * num_wide + [False] * num_tall
    grouping = Grouping(wide, size=size, seed=3)
    rows = [grouping.row(i)[0] for i in range(size * 60)]
    for start in range(0, len(rows), size):
        assert len({wide[row] for row in rows[start : start + size]}) == 1
    counts = Counter(rows)
    for kind in (True, False):
        of_kind = [counts[row] for row in range(len(wide)) if wide[row] == kind]
        assert not of_kind or max(of_kind) - min(of_kind) <= 1, "each pass over a kind has each image once"
    passes = len(rows) / len(wide)
    assert abs(sum(counts[row] for row in range(num_wide)) - passes * num_wide) <= size + num_wide
    again = Grouping(wide, size=size, seed=3)
    assert [again.row(i)[0] for i in reversed(range(size * 60))] == rows[::-1], "in whatever order it is asked"
    other = Grouping(wide, size=size, seed=4)
    assert num_wide < 4 or [other.row(i)[0] for i in range(size * 60)] != rows
