"""SGD with Nesterov momentum (Sec. 4.1 and the released configs), or AdamW, and the learning rate of each step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nonlocal_video.settings import OptimConfig
from nonlocal_video.types import ParameterGroup


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each step."""

    base_lr: float
    last_step: int
    kind: str = "steps"
    """steps: divided by ten at each milestone, as in the paper; cosine: half a wave, to 0 at the last step."""
    milestones: Sequence[int] = ()
    warmup_steps: int = 0
    """Steps in which the rate first grows to its value: large batches diverge without (Goyal et al. 2017)."""
    warmup_from: float = 0.0
    """The share of its value that it grows from."""

    def __call__(self, step: int) -> float:
        """The learning rate of step `step`, from 0."""
        if self.kind == "cosine":
            lr = self.base_lr * 0.5 * (1 + math.cos(math.pi * step / self.last_step))
        else:
            lr = self.base_lr * 0.1 ** sum(step >= milestone for milestone in self.milestones)
        grown = min(1.0, (step + 1) / (self.warmup_steps + 1))
        return float(lr * (self.warmup_from + (1 - self.warmup_from) * grown))

    def words(self) -> str:
        """The schedule in words."""
        drops = [f"{milestone:,}" for milestone in self.milestones if milestone < self.last_step]
        shape = "cosine to 0" if self.kind == "cosine" else f"/10 at {', '.join(drops)}" if drops else "the same in all"
        warmup = f", after a warm-up of {self.warmup_steps:,} steps" if self.warmup_steps else ""
        return f"{shape} of {self.last_step:,} steps{warmup}"


def build_optimizer(
    groups: Sequence[ParameterGroup], optim: OptimConfig, *, lr: float, fused: bool = False
) -> torch.optim.Optimizer:
    """SGD or AdamW over groups of parameters; those of rate 0 are frozen.

    PyTorch's momentum buffer holds gradients without the learning rate, which equals the released code's
    SCALE_MOMENTUM. A group's factor of `lr` is its `lr_factor`. With `fused` one kernel does all of a parameter's
    arithmetic: the memory is the bound of this step.
    """
    trained: list[dict[str, Any]] = []
    for group in groups:
        for parameter in group.parameters:
            parameter.requires_grad_(group.rate > 0)
        if group.rate:
            decay = optim.weight_decay if group.decays else 0.0
            trained.append({"params": group.parameters, "weight_decay": decay, "lr_factor": group.rate})
    if optim.kind == "adamw":
        return torch.optim.AdamW(trained, lr=lr, fused=fused)
    return torch.optim.SGD(trained, lr=lr, momentum=optim.momentum, nesterov=optim.nesterov, fused=fused)
