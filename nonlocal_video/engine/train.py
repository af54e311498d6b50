"""The training loop."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from nonlocal_video.distributed import all_reduce_sum, gather, is_main, local_device, no_sync, rank, world_size, wrap
from nonlocal_video.engine.state import TrainState
from nonlocal_video.types import Batch, Failure

FEW_FAILURES = 10
"""Videos that may fail in any run, however short."""
DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def train(
    state: TrainState,
    loader: Iterable[Batch],
    *,
    last_step: int,
    schedule: Callable[[int], float],
    seed: int,
    precision: str,
    accumulate: int,
    max_failed: float,
    log_every: int,
    write_log: Callable[[dict[str, float], list[Failure]], None] | None,
    checkpoint_every: int,
    save: Callable[[], None],
) -> None:
    """Trains from `state.step` to `last_step` on the loader's batches, one a step.

    Dropout is seeded by (seed, step, place of the pass in it), so that a resumed run is the same run, also on half as
    many ranks with twice the passes.

    Args:
        precision: fp32, or bf16 or fp16 for mixed precision.
        accumulate: passes that the clips of a step are split into; their gradients add up.
        max_failed: the share of drawn videos that may fail to decode, beyond `FEW_FAILURES`.
        write_log: on the main process, takes a record every `log_every` steps and before saving: the means of loss and
            top-1 accuracy (%) over all clips since the last record, the learning rate, clips per second, the share
            of the time (%) in which this process waited for data; and the videos that could not be decoded since.
        save: called on the main process every `checkpoint_every` steps and after the last.

    Raises:
        ValueError: the loss is not finite, or too many videos cannot be decoded.
    """
    model = wrap(state.model).train()
    meter = _Meter()
    bar = tqdm(total=last_step, initial=state.step, unit="step", desc="train", disable=None if is_main() else True)
    for batch in meter.waiting(loader):
        lr = schedule(state.step)
        meter.update(*_step(state, model, batch, lr=lr, precision=precision, seed=seed, accumulate=accumulate))
        bar.update()
        saves = state.step % checkpoint_every == 0 or state.step == last_step
        if saves or state.step % log_every == 0:  # Also before saving, so that a checkpoint has counted everything.
            means, failures = meter.reduce()
            state.num_failures += len(failures)
            state.num_by_chance += sum(failure.by_chance for failure in failures)
            if not math.isfinite(means["loss"]):
                raise ValueError(f"the loss is {means['loss']} near step {state.step}; is the rate {lr} too high?")
            if write_log:
                write_log({"step": state.step, **means, "lr": lr, "failed_videos": state.num_failures}, failures)
                _show(bar, state.step, means, failures)
            num_clips = state.step * len(batch.labels) * world_size()
            _check_failures(state, failures, num_drawn=num_clips + state.num_failures, share=max_failed)
        if saves and is_main():
            save()
    bar.close()


def _step(
    state: TrainState, model: nn.Module, batch: Batch, *, lr: float, precision: str, seed: int, accumulate: int
) -> tuple[Tensor, Tensor, Batch]:
    """One step of gradient descent; returns the sums of loss and correct answers on the device, and the batch."""
    device = local_device()
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    state.optimizer.zero_grad(set_to_none=True)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    parts = list(zip(batch.clips.chunk(accumulate), batch.labels.chunk(accumulate), strict=True))
    for number, (clips, labels) in enumerate(parts):
        place = rank() * accumulate + number  # Of this pass among those of the step, whoever runs it.
        torch.manual_seed(int(np.random.SeedSequence((seed, state.step, place)).generate_state(1)[0]))
        clips, labels = clips.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        last = number == len(parts) - 1
        with nullcontext() if last else no_sync(model):  # The ranks' gradients are averaged once a step.
            with autocast(device, precision):
                logits = model(clips)
            loss = F.cross_entropy(logits.float(), labels)
            state.scaler.scale(loss / len(parts)).backward()
        sums += torch.stack([loss.detach().double() * len(labels), (logits.argmax(dim=1) == labels).sum()])
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.step += 1
    return sums[0], sums[1], batch


def _check_failures(state: TrainState, recent: Sequence[Failure], *, num_drawn: int, share: float) -> None:
    """Raises: ValueError: too many of the videos that were drawn could not be decoded."""
    if state.num_failures > max(share * num_drawn, FEW_FAILURES):
        causes = "".join(f"\n  {failure.cause}" for failure in recent[:10])
        raise ValueError(
            f"{state.num_failures} of {num_drawn} drawn videos cannot be decoded, more than data.max_failed={share} "
            f"allows; failed_videos.jsonl names them, tools/check_data.py finds all of the list. The latest:{causes}"
        )


def _show(bar: "tqdm[Any]", step: int, means: dict[str, float], failures: Sequence[Failure]) -> None:
    """Beside the bar, or as a line where there is no terminal."""
    text = f"loss {means['loss']:.4f}  top-1 {means['top1']:.1f}%  {means['clips_per_s']:.1f} clips/s"
    text += f"  data wait {means['data_wait']:.0f}%"
    if bar.disable:
        print(f"step {step}/{bar.total}  {text}", flush=True)
    bar.set_postfix_str(text)
    for failure in failures:
        if failure.by_chance:
            bar.write(f"note: {failure.cause}; from here this run may not repeat exactly")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context that a forward pass runs in."""
    dtype = DTYPES[precision]
    return torch.autocast(device.type, dtype) if dtype else nullcontext()


class _Meter:
    """Sums over the clips since the last record; they stay on the device until they are read."""

    def __init__(self) -> None:
        self._restart()

    def waiting(self, loader: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; measures how long they let us wait."""
        batches = iter(loader)
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waited_s += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def update(self, loss: Tensor, correct: Tensor, batch: Batch) -> None:
        self.sums += torch.stack([loss, correct, torch.full_like(loss, len(batch.labels))])
        self.failures.extend(batch.failures)

    def reduce(self) -> tuple[dict[str, float], list[Failure]]:
        """Means over the clips of all ranks, and the failures of all ranks, in their order. Starts anew."""
        loss, correct, num_clips = all_reduce_sum(self.sums).tolist()
        failures = [failure for part in gather(self.failures) for failure in part]
        seconds = time.perf_counter() - self.since
        means = {
            "loss": loss / num_clips,
            "top1": 100 * correct / num_clips,
            "clips_per_s": num_clips / seconds,
            "data_wait": 100 * self.waited_s / seconds,
        }
        self._restart()
        return means, failures

    def _restart(self) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64, device=local_device())  # loss, correct, clips
        self.failures: list[Failure] = []
        self.since, self.waited_s = time.perf_counter(), 0.0
