"""One class a video: the cross entropy of a softmax, and the share of videos whose class is scored best."""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nonlocal_video.metrics.topk import TopK
from nonlocal_video.tasks.clips import ClipTask
from nonlocal_video.types import Label


def single_label(num_classes: int) -> ClipTask:
    """The task of naming the one class of a video."""
    return ClipTask(
        name="single_label",
        listed="one",
        activation="softmax",
        words="",
        target=target,
        asked=target,
        loss_of=F.cross_entropy,
        count_right=count_right,
        right_words="top-1",
        metric=partial(TopK, (1, 5) if num_classes > 5 else (1,)),
        best="top1",
        best_words="top-1",
    )


def target(label: Label, _seconds: np.ndarray) -> Tensor:
    """The class of the video, () int64."""
    return torch.tensor(label, dtype=torch.int64)


def count_right(logits: Tensor, labels: Tensor) -> Tensor:
    """How many clips have their best-scored class for a label, ()."""
    return (logits.argmax(dim=1) == labels).sum()
