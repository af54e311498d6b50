"""All that training knows: what a checkpoint holds and a resumed run continues from."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class TrainState:
    """The progress of a run."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    """Steps done."""
    num_failures: int = 0
    """Videos that could not be decoded and were replaced, on all ranks."""
    num_by_chance: int = 0
    """Those of them that another run may decode (time-outs): it then sees other clips."""
    num_skipped: int = 0
    """Steps that were not taken since their gradient was not finite."""
    best: dict[str, float] | None = None
    """The best single-clip validation: `step` and `clip_top1`, or `clip_map` of several classes a video."""
    evaluated: int = 0
    """The step after which the network was evaluated last; a signal may come before that is done."""
    precise_bn: dict[str, Tensor] | None = None
    """Statistics of batch normalisation for evaluation, if they were measured at this very step."""
