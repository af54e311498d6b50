"""The training loop."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from nonlocal_video.distributed import all_reduce_sum, gather, is_main, local_device, rank, wrap
from nonlocal_video.engine.state import TrainState
from nonlocal_video.types import Batch, Failure

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def train(
    state: TrainState,
    loader: Iterable[Batch],
    *,
    last_step: int,
    schedule: Callable[[int], float],
    seed: int,
    precision: str,
    log_every: int,
    write_log: Callable[[dict[str, float], list[Failure]], None] | None,
    checkpoint_every: int,
    save: Callable[[], None],
) -> None:
    """Trains from `state.step` to `last_step` on the loader's batches, one a step.

    Dropout is seeded by (seed, step, rank), as the data are, so that a resumed run is the same run.

    Args:
        precision: fp32, or bf16 or fp16 for mixed precision.
        write_log: on the main process, takes a record every `log_every` steps and before saving: the means of loss and
            top-1 accuracy (%) over all clips since the last record, the learning rate, clips per second;
            and the videos that could not be decoded since.
        save: called on the main process every `checkpoint_every` steps and after the last.

    Raises:
        ValueError: the loss is not finite.
    """
    model = wrap(state.model).train()
    meter = _Meter()
    bar = tqdm(total=last_step, initial=state.step, unit="step", desc="train", disable=None if is_main() else True)
    for batch in loader:
        lr = schedule(state.step)
        torch.manual_seed(int(np.random.SeedSequence((seed, state.step, rank())).generate_state(1)[0]))
        meter.update(*_step(state, model, batch, lr=lr, precision=precision), batch.failures)
        bar.update()
        saves = state.step % checkpoint_every == 0 or state.step == last_step
        if saves or state.step % log_every == 0:  # Also before saving, so that a checkpoint has counted everything.
            means, failures = meter.reduce()
            state.num_failures += len(failures)
            if not math.isfinite(means["loss"]):
                raise ValueError(f"the loss is {means['loss']} near step {state.step}; is the rate {lr} too high?")
            if write_log:
                write_log({"step": state.step, **means, "lr": lr, "failed_videos": state.num_failures}, failures)
                _show(bar, state.step, means)
        if saves and is_main():
            save()
    bar.close()


def _step(
    state: TrainState, model: nn.Module, batch: Batch, *, lr: float, precision: str
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of gradient descent; returns its loss, logits (B, K) and labels (B,), on the device."""
    device = local_device()
    clips, labels = batch.clips.to(device, non_blocking=True), batch.labels.to(device, non_blocking=True)
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    with autocast(device, precision):
        logits = model(clips)
    loss = F.cross_entropy(logits.float(), labels)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.step += 1
    return loss.detach(), logits.detach(), labels


def _show(bar: "tqdm[Any]", step: int, means: dict[str, float]) -> None:
    """Beside the bar, or as a line where there is no terminal."""
    text = f"loss {means['loss']:.4f}  top-1 {means['top1']:.1f}%  {means['clips_per_s']:.1f} clips/s"
    if bar.disable:
        print(f"step {step}/{bar.total}  {text}", flush=True)
    bar.set_postfix_str(text)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context that a forward pass runs in."""
    dtype = DTYPES[precision]
    return torch.autocast(device.type, dtype) if dtype else nullcontext()


class _Meter:
    """Sums over the clips since the last record; they stay on the device until they are read."""

    def __init__(self) -> None:
        self._restart()

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor, failures: Sequence[Failure]) -> None:
        self.sums[0] += loss * len(labels)
        self.sums[1] += (logits.argmax(dim=1) == labels).sum()
        self.sums[2] += len(labels)
        self.failures.extend(failures)

    def reduce(self) -> tuple[dict[str, float], list[Failure]]:
        """Means over the clips of all ranks, and the failures of all ranks. Starts anew."""
        loss, correct, num_clips = all_reduce_sum(self.sums).tolist()
        failures = [failure for part in gather(self.failures) for failure in part]
        clips_per_s = num_clips / (time.perf_counter() - self.since)
        self._restart()
        return {"loss": loss / num_clips, "top1": 100 * correct / num_clips, "clips_per_s": clips_per_s}, failures

    def _restart(self) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64, device=local_device())  # loss, correct, clips
        self.failures: list[Failure] = []
        self.since = time.perf_counter()
