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
        validation_target=target,
        loss_of=F.cross_entropy,
        count_right=count_right,
        shown={"top1": "top-1 {:.1f}%"},
        metric=partial(TopK, (1, 5) if num_classes > 5 else (1,)),
        number="clip_top1",
        best_words="top-1",
    )


def target(label: Label, _seconds: np.ndarray) -> Tensor:
    """The class of the video, () int64."""
    return torch.tensor(label, dtype=torch.int64)


def count_right(logits: Tensor, labels: Tensor) -> Tensor:
    """The number of clips whose best-scored class is a label, ()."""
    return (logits.argmax(dim=1) == labels).sum()
