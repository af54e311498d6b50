"""The task of a detector: torchvision's losses teach it, COCO's average precision judges it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision.utils import draw_bounding_boxes

from nonlocal_video.metrics.detection import coco_precision
from nonlocal_video.system.distributed import all_gather, local_device
from nonlocal_video.tasks.detection.results import results_of
from nonlocal_video.types import Failure, ImageBatch, ImageSample

Call = Callable[..., Any]
"""From images, and in training their targets, to a dictionary of losses, or in evaluation to a list of detections."""
LOSSES = {
    "loss_objectness": "objectness", "loss_rpn_box_reg": "proposals", "loss_classifier": "classes",
    "loss_box_reg": "boxes", "loss_mask": "masks", "loss_keypoint": "keypoints",
}  # fmt: skip
"""torchvision's losses, in the order of the network, and their names in logs."""
MEASURED = {"faster_rcnn": ("box",), "mask_rcnn": ("box", "mask"), "keypoint_rcnn": ("box", "keypoint")}
"""For each kind of detector, what of its detections is evaluated; the last is the paper's number."""
_OWN = {"mask_rcnn": "loss_mask", "keypoint_rcnn": "loss_keypoint"}


@dataclass(frozen=True)
class DetectionTask:
    """Finding the objects of images."""

    name: str
    """A kind of detector."""
    categories: Sequence[int] = ()
    """Their ids in the order of the labels, from 1."""
    validation_set: Mapping[str, Any] | None = None
    """The content of the annotations that validation is judged by."""

    unit: ClassVar[str] = "images"
    source: ClassVar[str] = "images"
    higher_is_better: ClassVar[bool] = True

    @property
    def losses(self) -> list[str]:
        """The keys of the losses of this kind of detector."""
        return [key for key in LOSSES if key not in _OWN.values() or key == _OWN.get(self.name)]

    @property
    def shown(self) -> Mapping[str, str]:
        """The losses by their names, with words that show their means."""
        return {LOSSES[key]: f"{LOSSES[key]} {{:.3f}}" for key in self.losses}

    @property
    def measured(self) -> tuple[str, ...]:
        """box, and mask or keypoint."""
        return MEASURED[self.name]

    @property
    def number(self) -> str:
        """The number of a validation that says which network is the best."""
        return f"{self.measured[-1]}_AP"

    def collate(self, items: Sequence[ImageSample | Failure]) -> ImageBatch:
        """Samples -> a batch; of items that are failures only these."""
        samples = [item for item in items if isinstance(item, ImageSample)]
        replaced = tuple(failure for sample in samples for failure in sample.failures)
        return ImageBatch(
            [sample.image for sample in samples],
            [sample.target for sample in samples],
            tuple(sample.name for sample in samples),
            tuple(sample.image_id for sample in samples),
            replaced + tuple(item for item in items if isinstance(item, Failure)),
        )

    def split(self, batch: ImageBatch, passes: int) -> list[ImageBatch]:
        """The images of a batch in equal parts."""
        size = batch.size // passes
        parts = [slice(start, start + size) for start in range(0, size * passes, size)]
        return [
            ImageBatch(batch.images[part], batch.targets[part], batch.names[part], batch.image_ids[part])
            for part in parts
        ]

    def loss(self, call: Call, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """The sum of the losses, and each times the number of images."""
        device = local_device()
        targets = [{key: value.to(device, non_blocking=True) for key, value in one.items()} for one in batch.targets]
        losses = call(self._images(batch), targets)
        parts = torch.stack([losses[key].float() for key in self.losses])
        return parts.sum(), parts.detach().double() * batch.size

    def forward(self, call: Call, batch: ImageBatch) -> Any:
        """Detections of the images."""
        return call(self._images(batch))

    def _images(self, batch: ImageBatch) -> list[Tensor]:
        return [image.to(local_device(), non_blocking=True) for image in batch.images]

    def validation(self) -> "DetectionValidation":
        """Begins a validation, one image after the other."""
        return DetectionValidation(self)

    def pictures(self, batch: ImageBatch) -> dict[str, Tensor]:
        """The first images with their boxes (3, H, W) uint8."""
        shown = zip(batch.images[:2], batch.targets, strict=False)
        return {f"image {n}": draw_bounding_boxes(image, target["boxes"]) for n, (image, target) in enumerate(shown)}


class DetectionValidation:
    """`box_AP` and more of what is measured, over the images that were seen."""

    def __init__(self, task: DetectionTask) -> None:
        self.task, self.results, self.image_ids = task, list[dict[str, Any]](), list[int]()

    def update(self, call: Call, batch: ImageBatch) -> None:
        """Detects the objects of images, each alone: padding changes what is found. Raises ValueError: NaN."""
        for one in self.task.split(batch, batch.size) if batch.size else ():
            (detections,) = self.task.forward(call, one)
            self.image_ids += one.image_ids
            self.results += results_of(detections, image_id=one.image_ids[0], categories=self.task.categories)

    def reduce(self) -> None:
        """Puts together what all ranks have found; called once, by all of them."""
        parts = all_gather((self.image_ids, self.results))
        self.image_ids = sorted(image_id for ids, _ in parts for image_id in ids)
        self.results = sorted((result for _, found in parts for result in found), key=lambda one: one["image_id"])

    @property
    def count(self) -> int:
        """Images so far."""
        return len(self.image_ids)

    def compute(self) -> dict[str, float]:
        """AP, AP50 and AP75 in percent of each thing that is measured."""
        assert self.task.validation_set is not None, "it is validated, so there are annotations"
        numbers = dict[str, float]()
        for of in self.task.measured:
            found = coco_precision(self.task.validation_set, self.results, of=of, image_ids=self.image_ids).numbers
            numbers |= {f"{of}_{name}": found.get(name, 0.0) for name in ("AP", "AP50", "AP75")}
        return {**numbers, "images": self.count}
