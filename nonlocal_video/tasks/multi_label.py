"""Several classes a video: the binary cross entropy of each class's sigmoid, and the mean average precision."""

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nonlocal_video.data.lists.labels import classes_of, shown_between
from nonlocal_video.metrics.average_precision import AveragePrecision
from nonlocal_video.tasks.clips import ClipTask
from nonlocal_video.types import Label

WORDS = {
    "clip": ", several a video: a clip is taught those that it shows",
    "video": ", several a video: a clip is taught all of its video",
}


def multi_label(num_classes: int, *, scope: str) -> ClipTask:
    """The task of naming all classes of a video; the target of a clip has those of the scope, a key of `WORDS`.

    The loss is a mean over the classes, too: as PySlowFast's bce_logit and Caffe2's SigmoidCrossEntropyLoss, which
    long-term feature banks train with. Validation asks about all classes of the video.
    """
    return ClipTask(
        name="multi_label",
        listed="several",
        activation="sigmoid",
        words=WORDS[scope],
        target=partial(target, scope=scope, num_classes=num_classes),
        validation_target=partial(target, scope="video", num_classes=num_classes),
        loss_of=F.binary_cross_entropy_with_logits,
        count_right=count_right,
        shown={"top1": "hit@1 {:.1f}%"},
        metric=AveragePrecision,
        number="clip_map",
        best_words="mAP",
    )


def target(label: Label, seconds: np.ndarray, *, scope: str, num_classes: int) -> Tensor:
    """The target of a clip, (K,) float32: 1 for each class that the clip shows, or the whole video, as the scope says.

    The frames of the clip are shown at these `seconds` (T,) of the video. Between the first and the last also frames
    count that stride leaves out.

    Raises:
        ValueError: nobody knows when the frames are shown, and the labels have times.
    """
    if scope == "clip" and np.isnan(seconds).any():
        raise ValueError("data.labels=clip: these frames have no times; data.frame_rate gives those of folders")
    classes = classes_of(label) if scope == "video" else shown_between(label, seconds.min(), seconds.max())
    assert isinstance(classes, tuple), "other labels are refused when the list is read"
    return torch.zeros(num_classes).index_fill_(0, torch.tensor(classes, dtype=torch.int64), 1.0)


def count_right(logits: Tensor, labels: Tensor) -> Tensor:
    """The number of clips whose best-scored class is a label, ()."""
    return labels.gather(1, logits.argmax(dim=1)[:, None]).sum().long()
