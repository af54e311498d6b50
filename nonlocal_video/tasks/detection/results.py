"""Detections of an image as results in COCO's format, and the judge that tests a detector."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nonlocal_video.metrics.detection import pycocotools
from nonlocal_video.system.distributed import at_precision, local_device
from nonlocal_video.types import Failure, ImageSample

MASK_THRESHOLD = 0.5


class Detected(NamedTuple):
    """A test's results for one image."""

    image_id: int
    results: list[dict[str, Any]]
    """In COCO's format, the best first."""

    @property
    def name(self) -> str:
        """The image's id, since two images may be one file."""
        return str(self.image_id)

    def to_json(self) -> dict[str, Any]:
        """Names the values for a line of JSON."""
        return self._asdict()

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Detected":
        """Reads what `to_json` wrote."""
        return cls(int(plain["image_id"]), list(plain["results"]))


def results_of(detections: Mapping[str, Tensor], *, image_id: int, categories: Sequence[int]) -> list[dict[str, Any]]:
    """A detector's output for an image -> COCO's results.

    Raises:
        ValueError: a box or a score is not finite.
    """
    boxes, scores = (detections[name].float().cpu() for name in ("boxes", "scores"))
    if not (torch.isfinite(boxes).all() and torch.isfinite(scores).all()):
        raise ValueError(f"image {image_id}: the network gives boxes or scores that are not finite")
    corners, labels = boxes.tolist(), detections["labels"].tolist()
    results: list[dict[str, Any]] = [
        {
            "image_id": image_id,
            "category_id": categories[label - 1],
            "bbox": [left, top, right - left, bottom - top],
            "score": score,
        }
        for (left, top, right, bottom), label, score in zip(corners, labels, scores.tolist(), strict=True)
    ]
    if "masks" in detections:
        masks = (detections["masks"][:, 0] >= MASK_THRESHOLD).to(torch.uint8).cpu().numpy()
        for result, mask in zip(results, masks, strict=True):
            result["segmentation"] = encode_mask(mask)
    if "keypoints" in detections:
        for result, points in zip(results, detections["keypoints"].float().cpu(), strict=True):
            points = points.clone()
            points[:, :2] -= 0.5  # The pixels whose centres these are.
            result["keypoints"] = points.flatten().tolist()
    return results


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """A mask (H, W) of 0 and 1 -> COCO's run-length code."""
    coded = pycocotools().mask.encode(np.asfortranarray(mask))
    return {"size": list(coded["size"]), "counts": coded["counts"].decode()}


class ImageJudge:
    """Tests a detector, one image at a time."""

    def __init__(self, network: Callable[..., Any], *, categories: Sequence[int], precision: str) -> None:
        self.call, self.categories = at_precision(network, precision), tuple(categories)

    @torch.inference_mode()
    def begin(self, item: ImageSample | Failure) -> tuple[ImageSample, Mapping[str, Tensor]] | Failure:
        """Gives the device an image."""
        if isinstance(item, Failure):
            return item
        (detections,) = self.call([item.image.to(local_device(), non_blocking=True)])
        return item, detections

    def finish(self, pending: tuple[ImageSample, Mapping[str, Tensor]] | Failure) -> Detected | Failure:
        """Reads what it found. Raises ValueError: it is not finite."""
        if isinstance(pending, Failure):
            return pending
        sample, detections = pending
        results = results_of(detections, image_id=sample.image_id, categories=self.categories)
        return Detected(sample.image_id, results)
