"""Pictures of objects: where their colours lie, and what is left as it was."""

from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("pycocotools")

from nonlocal_video.reports.test.objects import draw_objects

GREY = torch.full((3, 120, 200), 120, dtype=torch.uint8)


def box(left: float, top: float, width: float, height: float, **more: Any) -> dict[str, Any]:
    return {"bbox": [left, top, width, height], "class": "thing", **more}


def rectangle(left: int, top: int, width: int, height: int) -> list[list[float]]:
    right, bottom = left + width, top + height
    return [[left, top, right, top, right, bottom, left, bottom]]


def drawn(*objects: dict[str, Any]) -> Tensor:
    """(H, W) bool: the pixels that drawing changes."""
    return (draw_objects(GREY, objects, min_keypoint=2) != GREY).any(dim=0)


def test_a_mask_lies_on_its_object_and_other_pixels_stay() -> None:
    changed = drawn(box(60, 60, 40, 30, segmentation=rectangle(70, 70, 20, 10)))
    assert changed[70:80, 70:90].all()
    assert changed[60, 60:101].all(), "the upper edge of the box"
    assert not changed[62:70, 62:98].any(), "in the box, but not in the mask"
    assert not changed[92:].any()
    assert not changed[:, 102:].any()


def test_the_first_object_lies_on_top() -> None:
    on_top = box(60, 60, 40, 30, segmentation=rectangle(60, 60, 40, 30))
    below = box(20, 60, 60, 30, segmentation=rectangle(20, 60, 60, 30))
    alone, both = (draw_objects(GREY, objects, min_keypoint=2) for objects in ([on_top], [on_top, below]))
    assert torch.equal(both[:, 62:88, 62:78], alone[:, 62:88, 62:78]), "where both are, left of the other's box"
    assert (both[:, 70, 70] != both[:, 70, 30]).any(), "each object has a colour of its own"


@pytest.mark.parametrize("left", [0, 190])
@pytest.mark.parametrize("top", [0, 110])
def test_labels_stay_in_the_image(left: int, top: int) -> None:
    """A label is 40 pixels wide and 10 high, wherever its object is."""
    labelled = drawn(box(left, top, 9, 9, score=0.5)).sum()
    middle = drawn(box(100, 60, 9, 9, score=0.5)).sum()
    assert labelled > 0.75 * middle, "where there is no room above, it covers the box"


def test_keypoints_are_drawn_where_they_are_seen_and_sure() -> None:
    points = [70, 80, 2, 90, 80, 1, 110, 80, 0, 130, 80, 2]
    spots = [(80, 70), (80, 90), (80, 110), (80, 130)]
    annotated = drawn(box(60, 60, 100, 40, keypoints=points))
    assert [bool(annotated[spot]) for spot in spots] == [True, True, False, True], "annotations have no scores"
    found = drawn(box(60, 60, 100, 40, keypoints=points, keypoint_scores=[2.5, 1.5, 9.0, 2.0]))
    assert [bool(found[spot]) for spot in spots] == [True, False, False, True]


def test_an_image_without_objects_stays() -> None:
    assert not drawn().any()
