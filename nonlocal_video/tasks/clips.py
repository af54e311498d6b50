"""The tasks on clips of videos: what they share, and what one is made of.

They are validated by one random clip a video, as in the released code. That is not the accuracy of videos, which
`tasks.views` measures with many views: the released 32x2 network had an error of 38.6% here, and of 25.1% there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nonlocal_video.settings.vocabulary import Activation
from nonlocal_video.system.distributed import all_reduce_sum, local_device
from nonlocal_video.types import ClipBatch, Failure, Label, Sample

Call = Callable[[Tensor], Tensor]
"""From clips (B, 3, T, S, S) uint8 on the device to logits (B, K)."""
Target = Callable[[Label, np.ndarray], Tensor]
"""From the label of a video and the times (T,) of a clip's frames to the target of the clip; travels to processes."""
MAX_CLIPS, MAX_FRAMES = 4, 8
"""The part of a batch that is shown as a picture."""


class Metric(Protocol):
    """Counts how good scores are."""

    @property
    def count(self) -> int: ...
    def update(self, scores: Tensor, labels: Tensor) -> None: ...
    def reduce(self) -> None: ...
    def compute(self) -> dict[str, float | None]: ...


@dataclass(frozen=True)
class ClipTask:
    """The targets, loss and metric that train and judge a network on clips."""

    name: str
    listed: Literal["one", "several"]
    """The number of labels that a list has of a video."""
    activation: Activation
    words: str
    """A remark on the classes for the start-up screen."""
    target: Target
    validation_target: Target
    """The target of a clip in validation: `target`, or more."""
    loss_of: Callable[[Tensor, Tensor], Tensor]
    """The mean over the clips, of logits (B, K) float32 and labels as in `ClipBatch`."""
    count_right: Callable[[Tensor, Tensor], Tensor]
    """The number of clips whose best-scored class is a label, ()."""
    shown: dict[str, str]
    """The share of these clips in percent, `top1`, as the log shows it."""
    metric: Callable[[], Metric]
    number: str
    """The number of a validation that says which network is the best: `clip_` and one of the metric."""
    best_words: str
    """The name of that number."""

    unit: ClassVar[str] = "clips"
    source: ClassVar[str] = "videos"
    higher_is_better: ClassVar[bool] = True

    def collate(self, items: Sequence[Sample | Failure]) -> ClipBatch:
        """Samples -> a batch (B, 3, T, S, S); of items that are failures only these, and B may be 0."""
        samples = [item for item in items if isinstance(item, Sample)]
        replaced = tuple(failure for sample in samples for failure in sample.failures)
        return ClipBatch(
            torch.cat([sample.clip for sample in samples]) if samples else torch.empty(0, dtype=torch.uint8),
            torch.stack([sample.target for sample in samples]) if samples else torch.empty(0, dtype=torch.int64),
            replaced + tuple(item for item in items if isinstance(item, Failure)),
            tuple(sample.video for sample in samples),
        )

    def split(self, batch: ClipBatch, passes: int) -> list[ClipBatch]:
        """The clips of a batch in equal parts."""
        return [ClipBatch(*part) for part in zip(batch.clips.chunk(passes), batch.labels.chunk(passes), strict=True)]

    def loss(self, call: Call, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """The mean loss of the clips, and how many have their best-scored class for a label, in percent."""
        logits, labels = self.forward(call, batch).float(), batch.labels.to(local_device(), non_blocking=True)
        return self.loss_of(logits, labels), 100 * self.count_right(logits, labels)[None].double()

    def forward(self, call: Call, batch: ClipBatch) -> Tensor:
        """Logits (B, K) of the clips."""
        return call(batch.clips.to(local_device(), non_blocking=True))

    def validation(self) -> "ClipValidation":
        """Begins a validation by single clips."""
        return ClipValidation(self)

    def pictures(self, batch: ClipBatch) -> dict[str, Tensor]:
        """The first clips as a picture (3, H, W) uint8: a row for each, with frames spread evenly over it."""
        length = batch.clips.shape[2]
        chosen = torch.linspace(0, length - 1, min(length, MAX_FRAMES)).round().long()
        framed = F.pad(batch.clips[:MAX_CLIPS, :, chosen], (2, 0, 2, 0), value=255)  # (clips, 3, frames, S + 2, S + 2)
        rows = framed.permute(1, 0, 3, 2, 4).flatten(1, 2).flatten(2)
        return {"clips": F.pad(rows, (0, 2, 0, 2), value=255)}


class ClipValidation:
    """`clip_loss`, `clip_` and the names of the task's metric, and `videos`, how many have a clip."""

    def __init__(self, task: ClipTask) -> None:
        self.task, self.metric, self.loss = task, task.metric(), 0.0

    def update(self, call: Call, batch: ClipBatch) -> None:
        """Scores the clips of a batch; a score that is not finite is a ValueError."""
        if batch.size:
            logits = self.task.forward(call, batch).float().cpu()  # (B, K)
            self.loss += batch.size * self.task.loss_of(logits, batch.labels).item()
            self.metric.update(logits, batch.labels)

    def reduce(self) -> None:
        """Adds up the ranks; called once, by all of them."""
        self.loss = all_reduce_sum(torch.tensor(self.loss, dtype=torch.float64)).item()
        self.metric.reduce()

    @property
    def count(self) -> int:
        """Videos so far."""
        return self.metric.count

    def compute(self) -> dict[str, float]:
        """Means over the videos, accuracies in percent."""
        found = {f"clip_{name}": value for name, value in self.metric.compute().items() if value is not None}
        return {"clip_loss": self.loss / self.count, **found, "videos": self.count}
