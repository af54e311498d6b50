"""One step of gradient descent."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nonlocal_video.engine.loss import count_right, loss_of
from nonlocal_video.engine.state import TrainState
from nonlocal_video.system.distributed import local_device, no_sync, rank
from nonlocal_video.types import Batch

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class StepOptions:
    """How a step is taken."""

    seed: int
    precision: str = "fp32"
    """fp32, or bf16 or fp16 for mixed precision."""
    accumulate: int = 1
    """Passes that the clips of a step are split into; their gradients add up."""
    clip_norm: float | None = None
    """Gradients of a larger norm are scaled down to it."""
    skip_nonfinite: bool = False
    """A step whose gradient is not finite is not taken."""


def train_step(
    state: TrainState,
    model: nn.Module,
    batch: Batch,
    *,
    call: Callable[[Tensor], Tensor],
    lr: float,
    options: StepOptions,
) -> Tensor:
    """Steps `state` on a batch (B, 3, T, S, S).

    Dropout is seeded by (seed, step, place of the pass in it), so that a resumed run is the same run, also on half as
    many ranks with twice the passes.

    Args:
        model: as `wrap` gave it.
        call: what runs its forward pass: it, or its compiled form.

    Returns:
        (3,) float64 on the device: the sum of the losses, correct answers and clips; zeros if the step was not taken.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
    state.optimizer.zero_grad(set_to_none=True)
    buffers = [buffer.clone() for buffer in state.model.buffers()] if options.skip_nonfinite else []
    sums = _gradients(state, model, batch, call=call, options=options)
    state.precise_bn = None
    state.step += 1
    if options.skip_nonfinite or options.clip_norm is not None:
        norm = _clip(state, options.clip_norm)
        if options.skip_nonfinite and not torch.isfinite(norm):  # The same on all ranks: they share the gradient.
            for buffer, before in zip(state.model.buffers(), buffers, strict=True):
                buffer.copy_(before)
            state.num_skipped += 1
            state.scaler.update()  # Of fp16: the scale was too large, perhaps.
            return torch.zeros_like(sums)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return sums


def _gradients(
    state: TrainState, model: nn.Module, batch: Batch, *, call: Callable[[Tensor], Tensor], options: StepOptions
) -> Tensor:
    """Leaves the gradient of the batch in the parameters; returns the sums of `train_step`."""
    device, passes = local_device(), options.accumulate
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    parts = list(zip(batch.clips.chunk(passes), batch.labels.chunk(passes), strict=True))
    for number, (clips, labels) in enumerate(parts):
        place = rank() * passes + number  # Of this pass among those of the step, whoever runs it.
        torch.manual_seed(int(np.random.SeedSequence((options.seed, state.step, place)).generate_state(1)[0]))
        clips, labels = clips.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        last = number == len(parts) - 1
        with nullcontext() if last else no_sync(model):  # The ranks' gradients are averaged once a step.
            with autocast(device, options.precision):
                logits = call(clips)
            loss = loss_of(logits.float(), labels)
            state.scaler.scale(loss / len(parts)).backward()
        correct = count_right(logits, labels)
        sums += torch.stack([loss.detach().double() * len(labels), correct, torch.full_like(correct, len(labels))])
    return sums


def _clip(state: TrainState, max_norm: float | None) -> Tensor:
    """The norm of the whole gradient, which is then scaled down to `max_norm` if it is larger."""
    state.scaler.unscale_(state.optimizer)
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    if max_norm is None:
        return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    return nn.utils.clip_grad_norm_(parameters, max_norm)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context that a forward pass runs in."""
    dtype = DTYPES[precision]
    return torch.autocast(device.type, dtype) if dtype else nullcontext()
