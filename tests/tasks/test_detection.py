"""What a validation of a detector does not depend on: the images beside an image, and the order of processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("pycocotools")

from nonlocal_video.data.coco.annotations import read_annotations
from nonlocal_video.data.coco.dataset import read_sample
from nonlocal_video.metrics.detection import coco_precision
from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.tasks.detection import task as module
from nonlocal_video.tasks.detection.task import DetectionTask
from nonlocal_video.types import ImageBatch, ImageSample
from tests.data import coco_files
from tests.models.test_detector import tiny


@pytest.fixture
def validated(tmp_path: Path) -> tuple[DetectionTask, ImageBatch]:
    """The task, and a wide and a tall image."""
    path = coco_files.write(tmp_path, coco_files.content(3))
    found = read_annotations(str(path), root=None, kind="mask_rcnn")
    task = DetectionTask("mask_rcnn", (3, 17), found.content)
    samples = [read_sample(picture, num_keypoints=0) for picture in found.pictures[:2]]
    return task, task.collate([sample for sample in samples if isinstance(sample, ImageSample)])


def results(task: DetectionTask, call: Callable[..., Any], *batches: ImageBatch) -> list[dict[str, Any]]:
    validation = task.validation()
    for batch in batches:
        validation.update(call, batch)
    return validation.results


def test_what_is_found_in_an_image_does_not_depend_on_the_images_beside_it(
    validated: tuple[DetectionTask, ImageBatch],
) -> None:
    """Side by side, the images are padded to one size, and a block attends to the padding."""
    task, batch = validated
    network = Detector(tiny(nonlocal_blocks=1, norm="affine")).eval()
    for name, parameter in network.named_parameters():
        if "w_z" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    with torch.inference_mode():
        together, alone = results(task, network, batch), results(task, network, *task.split(batch, 2))
        padded: list[dict[str, Tensor]] = task.forward(network, batch)
        first: list[dict[str, Tensor]] = task.forward(network, task.split(batch, 2)[0])
    assert together == alone
    assert not torch.equal(padded[0]["scores"], first[0]["scores"]), "or there is no need to take them one by one"


def test_equal_scores_stay_in_the_order_of_their_image_whatever_the_order_of_processes(
    validated: tuple[DetectionTask, ImageBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, _ = validated
    assert task.validation_set is not None
    boxes = {10: ([4.0, 6.0, 20.0, 16.0], [30.0, 0.0, 9.0, 9.0]), 11: ([5.0, 6.0, 20.0, 16.0],)}  # The second is wrong.
    found = {
        number: [{"image_id": number, "category_id": 3, "bbox": box, "score": 0.5} for box in of_image]
        for number, of_image in boxes.items()
    }
    both = [*found[10], *found[11]]
    orders = (both, [both[1], both[0], both[2]])
    assert len({coco_precision(task.validation_set, order, of="box").numbers["AP"] for order in orders}) == 2
    for order in ((10, 11), (11, 10)):
        monkeypatch.setattr(
            module, "all_gather", lambda _, order=order: [([number], found[number]) for number in order]
        )
        validation = task.validation()
        validation.reduce()
        assert (validation.image_ids, validation.results) == ([10, 11], both)
