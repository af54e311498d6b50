"""The worst images of a detector's test: which they are, by hand, and that the colours lie where they say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pycocotools")

from nonlocal_video.data.coco.annotations import read_annotations
from nonlocal_video.metrics.detection import Outcome, coco_precision
from nonlocal_video.reports.test.worst import draw_worst, page_parts
from tests.data import coco_files


def result(image_id: int, box: list[float], *, score: float, category: int = 3) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": category, "bbox": box, "score": score}


RESULTS = [
    result(10, [4, 6, 20, 16], score=0.9),  # Image 10 has this square; its bar is missed.
    result(11, [5, 6, 20, 16], score=0.9),
    result(11, [8, 26, 24, 12], score=0.9, category=17),
    result(12, [6, 6, 20, 16], score=0.4),  # Not sure enough: missed, as the bar of image 12.
    result(12, [30, 0, 20, 16], score=0.8),  # Of a square that is not there.
    result(12, [40, 30, 9, 9], score=0.2),
    result(13, [7, 6, 20, 16], score=0.6, category=17),  # Of another category: false, and both objects are missed.
    result(14, [0, 0, 30, 30], score=0.9),  # In a crowd, neither right nor false.
    result(14, [8, 6, 20, 16], score=0.9),
    result(14, [8, 26, 24, 12], score=0.7, category=17),
]


@pytest.fixture
def found(tmp_path: Path) -> Any:
    plain = coco_files.content()
    plain["annotations"].append(coco_files.annotation(99, 14, [0, 0, 31, 31], iscrowd=1))
    return read_annotations(str(coco_files.write(tmp_path / "images", plain)), root=None, kind="faster_rcnn")


def test_objects_and_detections_are_found_missed_right_or_false(found: Any) -> None:
    images = coco_precision(found.content, RESULTS, of="box").images
    assert images == {
        10: Outcome(found=[0], missed=[1], right=[0], false=[]),
        11: Outcome(found=[2, 3], missed=[], right=[1, 2], false=[]),
        12: Outcome(found=[], missed=[4, 5], right=[], false=[4]),
        13: Outcome(found=[], missed=[6, 7], right=[], false=[6]),
        14: Outcome(found=[8, 9], missed=[], right=[8, 9], false=[]),
        15: Outcome([], [], [], []),
    }


def test_the_worst_images_that_can_be_read_are_drawn_in_colours_that_tell(found: Any, tmp_path: Path) -> None:
    (tmp_path / "images/3.png").write_bytes(b"broken")
    images = coco_precision(found.content, RESULTS, of="box").images
    names, objects = dict(found.categories), found.content["annotations"]
    rows = draw_worst(tmp_path, images, found.pictures, objects=objects, results=RESULTS, names=names, measured=["box"])
    assert [(row["name"], row["missed"], row["false"], row["found"]) for row in rows] == [
        ("2.png", 2, 1, 0), ("0.png", 1, 0, 1)
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "worst").iterdir()) == ["10.jpg", "12.jpg"]
    pixels = np.asarray(Image.open(tmp_path / "worst/10.jpg")).astype(int)
    scale = 480 // 64
    assert pixels.shape == (48 * scale, 2 * 64 * scale + 8, 3)
    redness = pixels[..., 0] - pixels[..., 1]  # Of orange 119, of green -158; the images are grey.
    square, bar = (14 * scale, 4 * scale), (32 * scale, 8 * scale)  # Points of their left edges.
    right = 64 * scale + 8
    assert redness[square] < -40
    assert redness[bar] > 40
    assert redness[square[0], square[1] + right] < -40
    assert abs(redness[bar[0], bar[1] + right]) < 20, "what is missed is not on the right"
    page = "\n".join(page_parts(rows, of="box"))
    assert "a score of 0.5 or more and an overlap of 0.5 or more (box)" in page
    assert "![2.png](worst/12.jpg)" in page
    perfect = {number: Outcome([0], [], [0], []) for number in images}
    again = draw_worst(
        tmp_path, perfect, found.pictures, objects=objects, results=RESULTS, names=names, measured=["box"]
    )
    assert again == []
    assert "None is drawn" in page_parts(again, of="box")[1]
    assert not (tmp_path / "worst").exists(), "those of an earlier test"
