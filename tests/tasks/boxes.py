"""A third task, shaped like object detection, which proves that the loops know nothing of the other two.

Images of different sizes, each with boxes or none; a dictionary of losses in training, a list of dictionaries in
evaluation, one image at a time in a test; a number where lower is better; biases with a rate of their own.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nonlocal_video.runs.recipe import Recipe
from nonlocal_video.settings import TrainConfig
from nonlocal_video.system.distributed import all_reduce_sum, rank, world_size
from nonlocal_video.types import Failure, ParameterGroup


class ImageBatch(NamedTuple):
    """Images (3, H, W) uint8 of any sizes, and the boxes (n, 4) of each, as shares of its size."""

    images: list[Tensor]
    boxes: list[Tensor]
    names: tuple[str, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def size(self) -> int:
        return len(self.images)


class Found(NamedTuple):
    """What a test says of an image."""

    name: str
    box: list[float]
    score: float

    def to_json(self) -> dict[str, Any]:
        return self._asdict()


# The task


@dataclass(frozen=True)
class Boxes:
    """Where is the bright box of an image, and is there one."""

    unit: ClassVar[str] = "images"
    source: ClassVar[str] = "images"
    shown: ClassVar[dict[str, str]] = {"place": "place {:.3f}", "presence": "presence {:.3f}"}
    number: ClassVar[str] = "error"
    higher_is_better: ClassVar[bool] = False

    def split(self, batch: ImageBatch, passes: int) -> list[ImageBatch]:
        length = -(-batch.size // passes)
        starts = range(0, batch.size, length)
        return [ImageBatch(*(part[start : start + length] for part in batch[:3])) for start in starts]

    def loss(self, call: Callable[..., Any], batch: ImageBatch) -> tuple[Tensor, Tensor]:
        losses = self.forward(call, batch)
        sums = torch.stack([losses[name].detach().double() * batch.size for name in self.shown])
        return losses["place"] + losses["presence"], sums

    def forward(self, call: Callable[..., Any], batch: ImageBatch) -> Any:
        return call(batch.images, batch.boxes)

    def validation(self) -> "Errors":
        return Errors()

    def pictures(self, batch: ImageBatch) -> dict[str, Tensor]:
        return {"first image": batch.images[0]}


class Errors:
    """The mean distance of boxes."""

    def __init__(self) -> None:
        self.total = torch.zeros(2, dtype=torch.float64)

    def update(self, call: Callable[..., Any], batch: ImageBatch) -> None:
        for found, boxes in zip(call(batch.images), batch.boxes, strict=True):
            distance = (found["box"] - boxes[0]).abs().sum() if len(boxes) else found["score"]
            self.total += torch.stack([distance.double(), torch.ones((), dtype=torch.float64)])

    def reduce(self) -> None:
        self.total = all_reduce_sum(self.total)

    @property
    def count(self) -> int:
        return int(self.total[1])

    def compute(self) -> dict[str, float]:
        return {"error": float(self.total[0] / self.total[1]), "images": float(self.total[1])}


class BoxJudge:
    """Tests one image after the other."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval()

    @torch.inference_mode()
    def begin(self, item: tuple[str, Tensor] | Failure) -> tuple[str, Any] | Failure:
        return item if isinstance(item, Failure) else (item[0], self.network([item[1]])[0])

    def finish(self, pending: tuple[str, Any] | Failure) -> Found | Failure:
        if isinstance(pending, Failure):
            return pending
        return Found(pending[0], pending[1]["box"].tolist(), float(pending[1]["score"]))


# Its network


class Detector(nn.Module):
    """In training images and boxes -> losses by their names; in evaluation images -> a box and a score each."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.dropout, self.head = nn.Dropout(0.2), nn.Linear(16 * 16, 5)

    def forward(self, images: Sequence[Tensor], boxes: Sequence[Tensor] | None = None) -> Any:
        maps = [nn.functional.adaptive_avg_pool2d(self.body(image[None] / 255), 4).flatten(1) for image in images]
        said = self.head(self.dropout(torch.cat(maps)))  # (B, 5)
        if boxes is None:
            return [{"box": one[:4], "score": one[4].sigmoid()} for one in said]
        there = torch.tensor([float(len(one) > 0) for one in boxes])
        target = torch.stack([one[0] if len(one) else torch.zeros(4) for one in boxes])
        place = ((said[:, :4] - target).abs().sum(1) * there).mean()
        return {"place": place, "presence": nn.functional.binary_cross_entropy_with_logits(said[:, 4], there)}

    def groups(self, *, backbone_lr: float = 1.0) -> list[ParameterGroup]:
        kinds = {name: [p for key, p in self.named_parameters() if key.endswith(name)] for name in ("weight", "bias")}
        return [ParameterGroup(kinds["weight"], 1.0, decays=True), ParameterGroup(kinds["bias"], 2.0, decays=False)]

    def train_mode(self) -> None:
        self.train()

    def plain_options(self) -> dict[str, Any]:
        return {}

    def smallest_side(self) -> int:
        return 4

    def compiled(self, call: Callable[..., Any]) -> Callable[..., Any]:
        return call


# Its data


def image(number: int) -> tuple[Tensor, Tensor]:
    """An image of 24 to 40 pixels a side with a bright box in it, or of every fourth without."""
    random = torch.Generator().manual_seed(number)
    height, width = (24 + 8 * torch.randint(0, 3, (2,), generator=random)).tolist()
    picture = torch.randint(0, 60, (3, height, width), dtype=torch.uint8, generator=random)
    if number % 4 == 3:
        return picture, torch.empty(0, 4)
    top, left = torch.randint(0, height - 12, (2,), generator=random).clamp(max=min(height, width) - 12).tolist()
    picture[:, top : top + 12, left : left + 12] = 250
    sides = torch.tensor([width, height, width, height])
    return picture, torch.tensor([[left, top, left + 12, top + 12]]) / sides


def batch_of(numbers: Iterable[int]) -> ImageBatch:
    images, boxes = zip(*map(image, numbers), strict=True)
    return ImageBatch(list(images), list(boxes), tuple(f"{number}.png" for number in numbers))


# Its run


class BoxRun:
    """What a run on images is of."""

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.task, self.network = config, Boxes(), Detector()

    def describe(self, recipe: Recipe) -> str:
        return f"boxes, {recipe.global_batch} images a step"

    def facts(self) -> dict[str, Any]:
        return {"listed_images": "all", "present_images": "all"}

    def start(self, weights: str, part: str | None) -> list[str]:
        return []

    def note_missing(self, folder: Path) -> None:
        pass

    def batches(self, first_step: int, recipe: Recipe) -> Iterable[ImageBatch]:
        size = recipe.clips_per_rank
        for step in range(first_step, self.config.optim.steps):
            if step == int(os.environ.get("DIE_AT", "-1")):
                os._exit(9)
            start = (step * world_size() + rank()) * size
            yield batch_of(range(start, start + size))

    def statistics_batches(self) -> Iterable[ImageBatch]:
        return []

    def validation_batches(self) -> Iterable[ImageBatch]:
        return [batch_of([number]) for number in range(1000 + rank(), 1010, world_size())]

    def validated(self, numbers: dict[str, float], step: int) -> str:
        return f"validation at step {step}: {self.best(numbers)}"

    def best(self, numbers: dict[str, float]) -> str:
        return f"error {numbers['error']:.4f}"

    def export(self, path: Path, network: nn.Module, *, steps: int) -> None:
        save_file(network.state_dict(), path)


class BoxJob(NamedTuple):
    """What every process gets."""

    config: TrainConfig

    def subject(self) -> BoxRun:
        return BoxRun(self.config)
