import pytest
import torch
from torch import nn

from nonlocal_video.engine.optim import StepSchedule, build_sgd
from nonlocal_video.models import build_model


def test_learning_rate_is_divided_by_ten_at_each_milestone() -> None:
    schedule = StepSchedule(0.01, (150_000, 300_000))
    rates = [schedule(step) for step in (0, 149_999, 150_000, 299_999, 300_000, 399_999)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_only_batch_normalisation_escapes_weight_decay() -> None:
    model = build_model("nl_c2d_small_8x2", num_classes=2, crop=48)
    optimizer = build_sgd(model, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.5)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            assert decay[id(parameter)] == (0.0 if isinstance(module, nn.BatchNorm3d) else 0.5)


def test_sgd_moves_as_the_released_code_says() -> None:
    """V' = mu V + g + wd w; w' = w - lr (mu V' + g + wd w): Nesterov, the buffer without the learning rate."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = build_sgd(model, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    weight, buffer = 1.0, 0.0
    for lr in (0.1, 0.1, 0.01):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        model(torch.ones(1, 1)).sum().backward()
        optimizer.step()
        gradient = 1 + 0.01 * weight
        buffer = 0.9 * buffer + gradient
        weight -= lr * (0.9 * buffer + gradient)
        assert model.weight.item() == pytest.approx(weight, rel=1e-6)
