import math

import pytest
import torch

from nonlocal_video.engine.loss import count_right, loss_of

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])


def test_loss_of_one_class_is_the_cross_entropy() -> None:
    expected = -sum(
        math.log(math.exp(row[label]) / sum(map(math.exp, row)))
        for row, label in zip(LOGITS.tolist(), (2, 1), strict=True)
    ) / 2  # fmt: skip
    assert loss_of(LOGITS, torch.tensor([2, 1])).item() == pytest.approx(expected, rel=1e-6)


def test_loss_of_several_is_the_mean_binary_cross_entropy_over_clips_and_classes() -> None:
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])

    def one(logit: float, shown: float) -> float:
        probability = 1 / (1 + math.exp(-logit))
        return -math.log(probability if shown else 1 - probability)

    pairs = zip(LOGITS.flatten().tolist(), labels.flatten().tolist(), strict=True)
    assert loss_of(LOGITS, labels).item() == pytest.approx(sum(one(*pair) for pair in pairs) / 6, rel=1e-6)


def test_clips_whose_best_class_is_a_label_are_right() -> None:
    assert count_right(LOGITS, torch.tensor([2, 1])).item() == 1
    several = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    assert count_right(LOGITS, several).item() == 1
    assert count_right(LOGITS, torch.zeros(2, 3)).item() == 0
