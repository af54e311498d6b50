import math

import numpy as np
import pytest
import torch

from nonlocal_video.tasks.multi_label import multi_label
from nonlocal_video.tasks.single_label import single_label
from nonlocal_video.types import ClipBatch

ONE, SEVERAL = single_label(3), multi_label(3, scope="clip")
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])


def test_loss_of_one_class_is_the_cross_entropy() -> None:
    expected = -sum(
        math.log(math.exp(row[label]) / sum(map(math.exp, row)))
        for row, label in zip(LOGITS.tolist(), (2, 1), strict=True)
    ) / 2  # fmt: skip
    assert ONE.loss_of(LOGITS, torch.tensor([2, 1])).item() == pytest.approx(expected, rel=1e-6)


def test_loss_of_several_is_the_mean_binary_cross_entropy_over_clips_and_classes() -> None:
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])

    def one(logit: float, shown: float) -> float:
        probability = 1 / (1 + math.exp(-logit))
        return -math.log(probability if shown else 1 - probability)

    pairs = zip(LOGITS.flatten().tolist(), labels.flatten().tolist(), strict=True)
    assert SEVERAL.loss_of(LOGITS, labels).item() == pytest.approx(sum(one(*pair) for pair in pairs) / 6, rel=1e-6)


def test_clips_whose_best_class_is_a_label_are_right() -> None:
    assert ONE.count_right(LOGITS, torch.tensor([2, 1])).item() == 1
    several = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    assert SEVERAL.count_right(LOGITS, several).item() == 1
    assert SEVERAL.count_right(LOGITS, torch.zeros(2, 3)).item() == 0


def test_a_loss_is_a_mean_over_clips_and_what_is_right_a_sum_in_percent() -> None:
    batch = ClipBatch(torch.zeros(2, 3, 1, 1, 1, dtype=torch.uint8), torch.tensor([2, 1]))
    loss, right = ONE.loss(lambda clips: LOGITS[: len(clips)].bfloat16(), batch)
    assert loss.item() == pytest.approx(ONE.loss_of(LOGITS, batch.labels).item())
    assert (loss.dtype, right.dtype, right.tolist()) == (torch.float32, torch.float64, [100.0])


def test_the_parts_of_a_batch_are_all_of_its_clips() -> None:
    batch = ClipBatch(torch.arange(6, dtype=torch.uint8)[:, None], torch.arange(6))
    parts = ONE.split(batch, 3)
    assert [part.clips.flatten().tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert [part.labels.tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]


def test_pictures_show_frames_in_order_over_the_whole_clip() -> None:
    """Frame t of clip b is of grey level 60 b + t; margins are 255."""
    levels = 60 * torch.arange(3)[:, None] + torch.arange(50)
    clips = levels[:, None, :, None, None].expand(3, 3, 50, 4, 4).to(torch.uint8)
    picture = shown(clips)
    assert picture.dtype == torch.uint8
    for row in range(3):
        cells = [picture[0, 2 + 6 * row, 2 + 6 * column].item() - 60 * row for column in range(8)]
        assert cells == np.linspace(0, 49, 8).round().tolist()
    assert picture[0, 0, 0] == 255
    assert shown(clips[:1, :, :2]).shape == (3, 8, 14)
    assert shown(torch.zeros(5, 3, 32, 16, 16, dtype=torch.uint8)).shape == (3, 4 * 18 + 2, 8 * 18 + 2)


def shown(clips: torch.Tensor) -> torch.Tensor:
    return ONE.pictures(ClipBatch(clips, torch.zeros(len(clips))))["clips"]
