"""SGD with Nesterov momentum and the learning rate of each step (Sec. 4.1 and the released configs)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nonlocal_video.models.classifier import Classifier


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each step."""

    base_lr: float
    last_step: int
    kind: str = "steps"
    """steps: divided by ten at each milestone, as in the paper; cosine: half a wave, to 0 at the last step."""
    milestones: Sequence[int] = ()
    warmup_steps: int = 0
    """In so many steps the rate first grows to its value: large batches diverge without (Goyal et al. 2017)."""

    def __call__(self, step: int) -> float:
        """The learning rate of step `step`, from 0."""
        if self.kind == "cosine":
            lr = self.base_lr * 0.5 * (1 + math.cos(math.pi * step / self.last_step))
        else:
            lr = self.base_lr * 0.1 ** sum(step >= milestone for milestone in self.milestones)
        return float(lr * min(1.0, (step + 1) / (self.warmup_steps + 1)))

    def describe(self) -> str:
        """In words."""
        drops = [f"{milestone:,}" for milestone in self.milestones if milestone < self.last_step]
        shape = "cosine to 0" if self.kind == "cosine" else f"/10 at {', '.join(drops)}" if drops else "the same in all"
        warmup = f", after a warm-up of {self.warmup_steps:,} steps" if self.warmup_steps else ""
        return f"{shape} of {self.last_step:,} steps{warmup}"


def build_sgd(
    model: nn.Module,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    backbone_lr: float = 1.0,
    fused: bool = False,
) -> torch.optim.SGD:
    """SGD over the trained parameters; batch normalisation is not decayed (released WEIGHT_DECAY_BN 0).

    The biases of non-local blocks and of the classifier are decayed, as in the released code.
    PyTorch's momentum buffer holds gradients without the learning rate, which equals the released
    code's SCALE_MOMENTUM.

    Args:
        backbone_lr: factor of the learning rate for all but the classifier; a group's own is its `lr_factor`.
        fused: one kernel for all of a parameter's arithmetic, which the step is bound by the memory for.
    """
    norms = {id(p) for module in model.modules() if isinstance(module, _BatchNorm) for p in module.parameters()}
    head = {id(p) for p in model.fc.parameters()} if isinstance(model, Classifier) else set()
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            key = (id(parameter) in norms, 1.0 if id(parameter) in head else backbone_lr)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.SGD(
        [
            {"params": groups[norm, factor], "weight_decay": 0.0 if norm else weight_decay, "lr_factor": factor}
            for norm, factor in sorted(groups)
        ],
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        fused=fused,
    )


def freeze_backbone(model: Classifier) -> None:
    """Leaves only the classifier to train; `train_mode` keeps the statistics of the rest as they are."""
    for parameter in model.backbone.parameters():
        parameter.requires_grad_(False)


def train_mode(model: Classifier) -> None:
    """Training mode; a frozen backbone stays in evaluation mode, so that its batch normalisation is frozen, too."""
    model.train()
    if not any(parameter.requires_grad for parameter in model.backbone.parameters()):
        model.backbone.eval()
