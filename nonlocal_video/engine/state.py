"""All that training knows: what a checkpoint holds and a resumed run continues from."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class TrainState:
    """The progress of a run."""

    model: Any
    """A module that is a `Network`."""
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    """Steps done."""
    num_failures: int = 0
    """What could not be decoded and was replaced, on all ranks."""
    num_by_chance: int = 0
    """That of it which another run may decode (time-outs): it then sees something else."""
    num_skipped: int = 0
    """Steps that were not taken since their gradient was not finite."""
    best: dict[str, float] | None = None
    """The best validation: `step` and the number of the task."""
    evaluated: int = 0
    """The step after which the network was evaluated last; a signal may come before that is done."""
    precise_bn: dict[str, Tensor] | None = None
    """Statistics of batch normalisation for evaluation, if they were measured at this very step."""
