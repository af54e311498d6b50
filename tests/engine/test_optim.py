import math

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nonlocal_video.engine.optim import Schedule, build_optimizer
from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier, parameter_groups
from tests.small_runs import optim_of

OPTIM = optim_of(momentum=0.9, nesterov=True, weight_decay=0.5)


def small() -> Classifier:
    return build_model("nl_c2d_small_8x2", num_classes=2, crop=48)


def test_learning_rate_is_divided_by_ten_at_each_milestone() -> None:
    schedule = Schedule(0.01, 400_000, milestones=(150_000, 300_000))
    rates = [schedule(step) for step in (0, 149_999, 150_000, 299_999, 300_000, 399_999)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_cosine_falls_from_the_rate_over_half_of_it_to_nothing() -> None:
    schedule = Schedule(0.4, 1000, kind="cosine", milestones=(10,))
    assert [schedule(step) for step in (0, 500, 1000)] == pytest.approx([0.4, 0.2, 0.0])
    rates = [schedule(step) for step in range(1001)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("kind", ["steps", "cosine"])
def test_warm_up_grows_in_equal_steps_and_then_leaves_the_schedule_alone(kind: str) -> None:
    warm, cold = (Schedule(1.0, 10**9, kind=kind, warmup_steps=warmup) for warmup in (4, 0))
    assert [warm(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [warm(step) for step in range(4, 1000, 100)] == [cold(step) for step in range(4, 1000, 100)]


def test_schedule_says_what_it_does() -> None:
    assert Schedule(1, 400_000, milestones=(150_000, 300_000)).words() == "/10 at 150,000, 300,000 of 400,000 steps"
    assert Schedule(1, 100, milestones=(150,)).words() == "the same in all of 100 steps"
    assert "cosine to 0 of 50 steps, after a warm-up of 5" in Schedule(1, 50, kind="cosine", warmup_steps=5).words()


def test_only_batch_normalisation_escapes_weight_decay() -> None:
    model = small()
    optimizer = build_optimizer(model.groups(), OPTIM, lr=0.1)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            assert decay[id(parameter)] == (0.0 if isinstance(module, _BatchNorm) else 0.5)


def test_synchronised_batch_normalisation_escapes_weight_decay_too() -> None:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(small())
    assert any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
    optimizer = build_optimizer(model.groups(), OPTIM, lr=0.1)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for module in model.modules():
        if isinstance(module, nn.SyncBatchNorm):
            assert [decay[id(parameter)] for parameter in module.parameters()] == [0.0, 0.0]


def test_backbone_and_classifier_have_their_own_rates() -> None:
    model = small()
    optimizer = build_optimizer(model.groups(backbone_lr=0.1), OPTIM, lr=0.1)
    factors = {id(p): group["lr_factor"] for group in optimizer.param_groups for p in group["params"]}
    assert len(factors) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert factors[id(parameter)] == (1.0 if name.startswith("fc.") else 0.1), name


def test_frozen_backbone_trains_the_classifier_only_and_keeps_its_statistics() -> None:
    model = small()
    optimizer = build_optimizer(model.groups(backbone_lr=0.0), OPTIM, lr=0.1)
    model.train_mode()
    assert model.training
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model(torch.randint(0, 256, (2, 3, 8, 48, 48), dtype=torch.uint8)).square().sum().backward()
    optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_training_mode_of_a_network_that_trains_normalises_by_batches() -> None:
    model = small().eval()
    model.train_mode()
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("fused", [False, True])
def test_sgd_moves_as_the_released_code_says(fused: bool) -> None:
    """V' = mu V + g + wd w; w' = w - lr (mu V' + g + wd w): Nesterov, the buffer without the learning rate."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optim = optim_of(momentum=0.9, nesterov=True, weight_decay=0.01)
    optimizer = build_optimizer(parameter_groups(model), optim, lr=0.1, fused=fused)
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


def test_fused_steps_are_the_others_but_for_rounding() -> None:
    """Float32; one rounding less in each product and sum: 1e-6 of the largest weight after five steps."""
    outcomes, optim = [], optim_of(momentum=0.9, nesterov=True, weight_decay=1e-2)
    for fused in (False, True):
        torch.manual_seed(0)
        model = small()
        optimizer = build_optimizer(model.groups(), optim, lr=0.1, fused=fused)
        for _ in range(5):
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
        outcomes.append([parameter.detach() for parameter in model.parameters()])
    for one, other in zip(*outcomes, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6 * max(1.0, one.abs().max().item()))
        assert math.isfinite(one.sum().item())
