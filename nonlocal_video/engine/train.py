"""The training loop."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor
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
    device, model = local_device(), wrap(state.model)
    model.train()
    meter, since = _Meter(device), time.perf_counter()
    bar = tqdm(total=last_step, initial=state.step, unit="step", desc="train", disable=None if is_main() else True)
    for batch in loader:
        step = state.step
        torch.manual_seed(int(np.random.SeedSequence((seed, step, rank())).generate_state(1)[0]))
        for group in state.optimizer.param_groups:
            group["lr"] = schedule(step)
        clips, labels = batch.clips.to(device, non_blocking=True), batch.labels.to(device, non_blocking=True)
        with autocast(device, precision):
            logits = model(clips)
        loss = F.cross_entropy(logits.float(), labels)
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss).backward()
        state.scaler.step(state.optimizer)
        state.scaler.update()
        meter.update(loss, logits, labels, batch.failures)
        state.step += 1
        bar.update()
        saves = state.step % checkpoint_every == 0 or state.step == last_step
        if saves or state.step % log_every == 0:  # Also before saving, so that a checkpoint has counted everything.
            loss_mean, top1, num_clips, failures = meter.reduce()
            state.num_failures += len(failures)
            if not math.isfinite(loss_mean):
                raise ValueError(
                    f"the loss is {loss_mean} near step {state.step}: is the learning rate {schedule(step)} too high?"
                )
            clips_per_s, since = num_clips / (time.perf_counter() - since), time.perf_counter()
            if write_log:
                write_log(
                    {
                        "step": state.step,
                        "loss": loss_mean,
                        "top1": top1,
                        "lr": schedule(step),
                        "clips_per_s": clips_per_s,
                        "failed_videos": state.num_failures,
                    },
                    failures,
                )
                text = f"loss {loss_mean:.4f}  top-1 {top1:.1f}%  {clips_per_s:.1f} clips/s"
                if bar.disable:  # Not a terminal: lines instead of a bar.
                    print(f"step {state.step}/{last_step}  {text}", flush=True)
                bar.set_postfix_str(text)
        if saves and is_main():
            save()
    bar.close()


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context that a forward pass runs in."""
    dtype = DTYPES[precision]
    return torch.autocast(device.type, dtype) if dtype else nullcontext()


class _Meter:
    """Sums over the clips since the last record; they stay on the device until they are read."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)  # loss, correct, clips
        self.failures: list[Failure] = []

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor, failures: Sequence[Failure]) -> None:
        self.sums[0] += loss.detach() * len(labels)
        self.sums[1] += (logits.detach().argmax(dim=1) == labels).sum()
        self.sums[2] += len(labels)
        self.failures.extend(failures)

    def reduce(self) -> tuple[float, float, int, list[Failure]]:
        """Mean loss, top-1 in percent and number of clips over all ranks; failures of all ranks. Starts anew."""
        loss, correct, num_clips = all_reduce_sum(self.sums).tolist()
        failures = [failure for part in gather(self.failures) for failure in part]
        self.sums.zero_()
        self.failures = []
        return loss / num_clips, 100 * correct / num_clips, int(num_clips), failures
