"""SGD with Nesterov momentum and a step schedule (Sec. 4.1 and the released configs)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class StepSchedule:
    """The learning rate is divided by ten at each milestone, counted in steps."""

    base_lr: float
    milestones: Sequence[int]

    def __call__(self, step: int) -> float:
        """The learning rate of step `step`, from 0."""
        return float(self.base_lr * 0.1 ** sum(step >= milestone for milestone in self.milestones))


def build_sgd(model: nn.Module, *, lr: float, momentum: float, nesterov: bool, weight_decay: float) -> torch.optim.SGD:
    """SGD over the trained parameters; batch normalisation is not decayed (released WEIGHT_DECAY_BN 0).

    The biases of non-local blocks and of the classifier are decayed, as in the released code.
    PyTorch's momentum buffer holds gradients without the learning rate, which equals the released
    code's SCALE_MOMENTUM.
    """
    norms = {id(p) for module in model.modules() if isinstance(module, nn.BatchNorm3d) for p in module.parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) not in norms], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) in norms], "weight_decay": 0.0},
    ]
    return torch.optim.SGD([g for g in groups if g["params"]], lr=lr, momentum=momentum, nesterov=nesterov)
