"""What a network is taught about a clip, and asked about a video: from the labels of a list to classes."""

import numpy as np
import torch
from torch import Tensor

from nonlocal_video.types import Classes, Label, TimedLabel


def classes_of(label: Label) -> Classes | None:
    """The class of a video, all of several whenever they are shown, or None if nobody says."""
    if label is None or isinstance(label, int):
        return label
    return tuple(sorted({item.label if isinstance(item, TimedLabel) else item for item in label}))


def shown_between(label: Label, first_s: float, last_s: float) -> Classes | None:
    """The same for a part of the video, from its first frame to its last: classes whose times meet it.

    Classes without times are shown all the time.

    Args:
        first_s, last_s: in seconds since the beginning of the video.
    """
    if label is None or isinstance(label, int):
        return label
    shown = [
        item.label if isinstance(item, TimedLabel) else item
        for item in label
        if not isinstance(item, TimedLabel) or (item.start_s <= last_s and item.end_s >= first_s)
    ]
    return tuple(sorted(set(shown)))


def target(label: Label, seconds: np.ndarray, *, labels: str, num_classes: int) -> Tensor:
    """What a training clip is taught: its class () int64, or (K,) float32 with 1 for each of its classes.

    Args:
        label: of the video.
        seconds: (T,) when the frames of the clip are shown, since the beginning of the video. Between the first and the
            last also frames count that stride leaves out.
        labels: what clips are taught: the one class of their video; of several those that the clip shows (clip), or all
            of the video (video).
        num_classes: K.

    Raises:
        ValueError: nobody knows when the frames are shown, and the labels have times.
    """
    if labels == "one":
        return torch.tensor(label, dtype=torch.int64)
    if labels == "clip" and np.isnan(seconds).any():
        raise ValueError("data.labels=clip: these frames have no times; data.frame_rate gives those of folders")
    classes = classes_of(label) if labels == "video" else shown_between(label, seconds.min(), seconds.max())
    assert isinstance(classes, tuple), "other labels are refused when the list is read"
    return torch.zeros(num_classes).index_fill_(0, torch.tensor(classes, dtype=torch.int64), 1.0)
