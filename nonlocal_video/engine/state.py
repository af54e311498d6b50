"""All that training knows: what a checkpoint holds and a resumed run continues from."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class TrainState:
    """The progress of a run. Data and dropout follow from (seed, step), so no random state is kept."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    """Steps done."""
    num_failures: int = 0
    """Videos that could not be decoded and were replaced, on all ranks."""
    num_by_chance: int = 0
    """Those of them that another run may decode (time-outs): it then sees other clips."""
