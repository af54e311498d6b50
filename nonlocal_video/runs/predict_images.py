"""Predictions of images: `for image, found in ImagePredictor("mask_rcnn.safetensors")("photos/"): ...`."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from nonlocal_video.data.coco.annotations import Picture
from nonlocal_video.data.coco.dataset import TestingImages
from nonlocal_video.data.coco.given import Images, find_pictures
from nonlocal_video.data.loader import testing_loader
from nonlocal_video.engine.checkpoint import read_checkpoint
from nonlocal_video.metrics.detection import pycocotools
from nonlocal_video.models.detection.weights import DetectorFile, build_detector, detector_file, read_detector_file
from nonlocal_video.models.nonlocal_block import Pairwise
from nonlocal_video.models.weights.given import check_network, in_run
from nonlocal_video.reports.test.objects import draw_objects
from nonlocal_video.runs.predict import cause_of
from nonlocal_video.settings import ReadConfig, RuntimeConfig
from nonlocal_video.settings.values import expect
from nonlocal_video.system.distributed import local_device, set_threads
from nonlocal_video.tasks.detection.results import ImageJudge
from nonlocal_video.types import Failure, ImageSample


class Found(NamedTuple):
    """The objects that a detector finds in an image, or why it could not look for them."""

    objects: list[dict[str, Any]]
    """The best first: results in COCO's format, each with its `class`, the name of its category, and perhaps with
    `keypoint_scores`."""
    image: Tensor | None
    """(3, H, W) uint8."""
    error: str | None = None

    def drawn(self, *, min_keypoint: float = 2.0) -> Tensor:
        """The image (3, H, W) uint8 with its objects, but for keypoints of a lower score."""
        assert self.image is not None, "an image that could not be read cannot be drawn"
        return draw_objects(self.image, self.objects, min_keypoint=min_keypoint)


class ImagePredictor:
    """The detector of a file of weights, for images that nobody has labelled.

    Args:
        weights: a detector's .safetensors file or checkpoint, or the folder of a run that is trained.
        pairwise: the pairwise function, where the project does not have it: files do not name code.
        min_score: objects need a higher score; all have more than 0.05.
        data: the root of lists, and how long an image may take.
        runtime: workers, threads, precision and channels_last. None has no workers, as for `Predictor`.

    `categories` are the ids and names of what it knows.

    Raises:
        ValueError: no such file of weights, an impossible setting, or pycocotools is not installed.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str],
        *,
        pairwise: Pairwise | None = None,
        min_score: float = 0.5,
        data: ReadConfig | None = None,
        runtime: RuntimeConfig | None = None,
    ) -> None:
        self.data, self.runtime = data or ReadConfig(), runtime or RuntimeConfig(workers=0)
        expect(self.runtime.devices in (None, 1), "runtime.devices", self.runtime.devices, "1 to predict")
        expect(0 <= min_score <= 1, "min_score", min_score, "0 to 1")
        pycocotools()
        content = read_detector(weights)
        self.categories = content.categories
        self.detector = build_detector(content, where=weights, pairwise=pairwise)
        # Before the masks of objects that nobody wants are made; the others stay as they are.
        heads = self.detector.rcnn.roi_heads
        heads.score_thresh = max(heads.score_thresh, min_score)
        set_threads(self.runtime.threads)
        self.detector.lay_out(channels_last=self.runtime.channels_last)
        self.detector.to(local_device())

    def __call__(self, images: Images) -> Iterator[tuple[str, Found]]:
        """Predicts the images of a file, a folder, a list, or several of these; see `predict` and `find_pictures`."""
        return self.predict(self.find(images))

    def find(self, images: Images, *, note: Callable[[str], object] = warnings.warn) -> list[Picture]:
        """The images; see `find_pictures`."""
        return find_pictures(images, root=self.data.root, note=note)

    def predict(self, pictures: Sequence[Picture]) -> Iterator[tuple[str, Found]]:
        """Each image's name and objects, in order, as soon as they are there.

        Raises:
            ValueError: while iterating; a box or a score that is not finite.
        """
        workers, limit_s = self.runtime.workers, self.data.decode_limit_s
        rows, images = range(len(pictures)), TestingImages(pictures)
        loader = testing_loader(images, rows, rank=0, world_size=1, workers=workers, limit_s=limit_s)
        classes = dict(self.categories)
        judge = ImageJudge(self.detector, categories=tuple(classes), precision=self.runtime.precision)
        for picture, item in zip(pictures, loader, strict=True):
            yield picture.name, _found(picture, item, judge, classes)


def _found(picture: Picture, item: ImageSample | Failure, judge: ImageJudge, classes: dict[int, str]) -> Found:
    pending = judge.begin(item)
    done = judge.finish(pending)
    if isinstance(done, Failure):
        return Found([], None, cause_of(done, picture.path, picture.name, os.path.basename(picture.path)))
    assert not isinstance(pending, Failure), "it was found, so it was read"
    sample, detections = pending
    objects = [{**result, "class": classes[result["category_id"]]} for result in done.results]
    if "keypoints_scores" in detections:
        for one, scores in zip(objects, detections["keypoints_scores"].tolist(), strict=True):
            one["keypoint_scores"] = scores
    return Found(objects, sample.image)


def read_detector(weights: str | os.PathLike[str]) -> DetectorFile:
    """Reads a detector's options from its file, its checkpoint or its run's folder. Raises ValueError: it is none."""
    path = in_run(Path(weights))
    if path.suffix == ".pt" and path.is_file():
        content = read_checkpoint(path)
        expect("categories" in content["facts"], str(path), "a network of videos", "a detector of images")
        return detector_file(content["facts"], content["model"], where=path)
    check_network(path)
    return read_detector_file(path)
