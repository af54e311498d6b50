"""One step of gradient descent, and the state that it changes."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nonlocal_video.engine.task import Batch, Call, Task
from nonlocal_video.settings import OptimConfig, RuntimeConfig
from nonlocal_video.system.distributed import at_precision, local_device, no_sync, rank


@dataclass
class TrainState:
    """The progress of a run: all that a checkpoint holds and a resumed run continues from."""

    model: Any
    """A module that is a `Network`."""
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    """Steps done."""
    num_failures: int = 0
    """Videos, or whatever is decoded, that failed and were replaced, on all ranks."""
    num_transient: int = 0
    """Failures that another run may not have (time-outs): it then sees something else."""
    num_skipped: int = 0
    """Steps that were not taken since their gradient was not finite."""
    best: dict[str, float] | None = None
    """The best validation: `step` and the number of the task."""
    evaluated: int = 0
    """The step after which the network was evaluated last; a signal may come before that is done."""
    precise_bn: dict[str, Tensor] | None = None
    """Statistics of batch normalisation for evaluation, if they were measured at this very step."""


def train_step(
    state: TrainState,
    model: nn.Module,
    batch: Batch,
    *,
    task: Task,
    call: Call,
    lr: float,
    seed: int,
    optim: OptimConfig,
    runtime: RuntimeConfig,
) -> Tensor:
    """Steps `state` on a batch.

    Dropout is seeded by (seed, step, place of the pass in it), so that a resumed run is the same run, also on half as
    many ranks with twice the passes. `model` is what `wrap` gave, `call` the same or its compiled form.

    Returns:
        (2 + n,) float64 on the device: the sum of the losses, the size, and the n sums of the task; zeros if the step
        was not taken.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
    state.optimizer.zero_grad(set_to_none=True)
    skips = optim.nonfinite == "skip"
    buffers = [buffer.clone() for buffer in state.model.buffers()] if skips else []
    call = at_precision(call, runtime.precision)
    sums = _gradients(state, model, batch, task=task, call=call, seed=seed, passes=runtime.accumulate or 1)
    state.precise_bn = None
    state.step += 1
    if skips or optim.clip_norm is not None:
        norm = _clip(state, optim.clip_norm)
        if skips and not torch.isfinite(norm):  # On all ranks or none: they share the gradient.
            for buffer, before in zip(state.model.buffers(), buffers, strict=True):
                buffer.copy_(before)
            state.num_skipped += 1
            state.scaler.update()  # In fp16 the scale was too large, perhaps.
            return torch.zeros_like(sums)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return sums


def _gradients(
    state: TrainState, model: nn.Module, batch: Batch, *, task: Task, call: Call, seed: int, passes: int
) -> Tensor:
    """Leaves the gradient of the batch in the parameters; returns the sums of `train_step`."""
    sums = torch.zeros(2 + len(task.shown), dtype=torch.float64, device=local_device())
    parts = task.split(batch, passes)
    for number, part in enumerate(parts):
        place = rank() * passes + number  # The pass among those of the step, whoever runs it.
        torch.manual_seed(int(np.random.SeedSequence((seed, state.step, place)).generate_state(1)[0]))
        last = number == len(parts) - 1
        with nullcontext() if last else no_sync(model):  # The ranks' gradients are averaged once a step.
            loss, others = task.loss(call, part)
            state.scaler.scale(loss / len(parts)).backward()
        sums[0] += loss.detach().double() * part.size
        sums[1] += part.size
        sums[2:] += others
    return sums


def _clip(state: TrainState, max_norm: float | None) -> Tensor:
    """The norm of the whole gradient, which is then scaled down to `max_norm` if it is larger."""
    state.scaler.unscale_(state.optimizer)
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    if max_norm is None:
        return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    return nn.utils.clip_grad_norm_(parameters, max_norm)
