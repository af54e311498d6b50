import numpy as np
import pytest
import torch

from nonlocal_video.tasks import multi_label, single_label
from nonlocal_video.tasks.multi_label import target
from tests.data.test_labels import TIMED


def test_clips_are_taught_their_own_classes_or_those_of_the_video() -> None:
    seconds = np.array([2.9, 3.0, 1.5])  # A clip that begins again: its times are not in order.
    clip = target(TIMED, seconds, scope="clip", num_classes=6)
    assert clip.dtype == torch.float32
    assert clip.tolist() == [0, 0, 1, 0, 0, 1]
    assert target(TIMED, seconds, scope="video", num_classes=6).tolist() == [1, 0, 1, 0, 0, 1]
    assert target((), seconds, scope="clip", num_classes=3).tolist() == [0, 0, 0]
    one = single_label(6).target(4, seconds)
    assert (one.dtype, one.item()) == (torch.int64, 4)


def test_labels_of_a_clip_need_times() -> None:
    with pytest.raises(ValueError, match=r"data\.frame_rate"):
        target(TIMED, np.array([np.nan, np.nan]), scope="clip", num_classes=6)
    assert target(TIMED, np.array([np.nan]), scope="video", num_classes=6).sum() == 3


def test_validation_asks_about_all_classes_of_the_video_whatever_clips_are_taught() -> None:
    seconds = np.array([2.9, 3.0])
    for scope, expected in (("clip", [0, 0, 0, 0, 0, 1]), ("video", [1, 0, 1, 0, 0, 1])):
        task = multi_label(6, scope=scope)
        assert task.target(TIMED, seconds).tolist() == expected
        assert task.validation_target(TIMED, seconds).tolist() == [1, 0, 1, 0, 0, 1]
    assert single_label(6).validation_target(4, seconds).item() == 4
