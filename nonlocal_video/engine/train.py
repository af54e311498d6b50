"""The training loop."""

import math
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nonlocal_video.engine.meter import Meter
from nonlocal_video.engine.optim import train_mode
from nonlocal_video.engine.state import TrainState
from nonlocal_video.engine.step import StepOptions, train_step
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.system.distributed import Vote, all_gather, is_main, rank, world_size, wrap
from nonlocal_video.system.signals import Stopped, StopRequest
from nonlocal_video.types import Batch, Failure

FEW_FAILURES = 10
"""Videos that may fail in any run, however short."""
KEPT = 4
"""Steps that are remembered: the ranks agree on a bad one two steps later, and the one before may be the cause."""
MAX_SKIPPED = 50
"""Steps in a row that may be skipped."""


@dataclass(frozen=True)
class LoopOptions:
    """When what happens, in steps."""

    last_step: int
    log_every: int
    checkpoint_every: int
    validate_every: int = 0
    """0: after the last step only."""
    max_failed: float = 0.01
    """The share of drawn videos that may fail to decode, beyond `FEW_FAILURES`."""
    sync_bn: bool = False
    compile: bool = False

    def evaluates_at(self, step: int) -> bool:
        """Whether the network is evaluated after `step` steps."""
        return step == self.last_step or bool(self.validate_every and step % self.validate_every == 0)


@dataclass(frozen=True)
class Hooks:
    """What the loop has done by others, on all ranks."""

    advance: Callable[[Batch], None]
    """After each step, with its batch."""
    log: Callable[[dict[str, float], list[Failure], Batch], None]
    """On the main process: takes a record, the videos that failed since the last one, and the step's batch."""
    evaluate: Callable[[], bool]
    """Measures what evaluation needs; False if a signal came meanwhile."""
    save: Callable[[], None]
    nonfinite: Callable[[list[dict[str, Any]]], str]
    """Keeps the facts on a loss that is not finite; says where."""
    stop: StopRequest


class Recent(NamedTuple):
    """A step whose loss may not have been looked at yet: a GPU is some steps behind."""

    step: int
    lr: float
    sums: Tensor
    videos: tuple[str, ...]

    def is_finite(self) -> bool:
        return math.isfinite(self.sums[0].item())


def train(
    state: TrainState,
    loader: Iterable[Batch],
    *,
    schedule: Callable[[int], float],
    step_options: StepOptions,
    options: LoopOptions,
    hooks: Hooks,
) -> None:
    """Trains from `state.step` to `last_step` on the loader's batches, one a step.

    A record every `log_every` steps and before saving has the means of loss and top-1 accuracy (%) over all clips since
    the last one, the learning rate, clips per second, the share of the time (%) in which this process waited for data,
    and the videos and steps that were lost.

    Raises:
        ValueError: the loss is not finite, or too many videos cannot be decoded.
        Stopped: a signal came; all is saved.
    """
    assert isinstance(state.model, Classifier)
    train_mode(state.model)
    model = wrap(state.model, sync_bn=options.sync_bn)
    call: Callable[[Tensor], Tensor] = torch.compile(model) if options.compile else model
    if state.step and options.evaluates_at(state.step) and state.evaluated != state.step:  # A signal came before.
        signum = _evaluate(state, hooks)
        if signum:
            raise Stopped(signum)
        hooks.save()
    meter, vote, recent, num_skipped_before = Meter(), Vote(), deque[Recent](maxlen=KEPT), 0
    for batch in meter.waiting(loader):
        lr, skipped = schedule(state.step), state.num_skipped
        sums = train_step(state, model, batch, call=call, lr=lr, options=step_options)
        num_skipped_before = num_skipped_before + 1 if state.num_skipped > skipped else 0
        recent.append(Recent(state.step, lr, sums, batch.videos))
        meter.update(sums, batch)
        hooks.advance(batch)
        # Of the step before: looking at this one's loss would wait for it.
        went_bad = len(recent) > 1 and not recent[-2].is_finite()
        stopped, some_went_bad, many_skipped = vote.exchange(
            hooks.stop.signum, went_bad, num_skipped_before > MAX_SKIPPED
        )
        if some_went_bad or many_skipped:
            _fail(recent, hooks, skipped=bool(many_skipped))
        evaluates = options.evaluates_at(state.step)
        saves = evaluates or stopped or state.step % options.checkpoint_every == 0
        if saves or state.step % options.log_every == 0:  # Also before saving: a checkpoint has counted everything.
            _log(state, meter, batch, recent, hooks, max_failed=options.max_failed)
        if evaluates and not stopped:
            stopped = _evaluate(state, hooks)
        if saves:
            _check_weights(state)
            hooks.save()
            meter.restart()  # Evaluating and saving is no training.
        if stopped:
            raise Stopped(int(stopped))
    vote.close()


def _evaluate(state: TrainState, hooks: Hooks) -> int:
    """The number of the signal that came meanwhile, perhaps to another rank only, or 0."""
    if hooks.evaluate():
        state.evaluated = state.step
        return 0
    return hooks.stop.signum or signal.SIGTERM


def _log(
    state: TrainState, meter: Meter, batch: Batch, recent: Sequence[Recent], hooks: Hooks, *, max_failed: float
) -> None:
    """Writes a record of what came since the last one.

    Raises:
        ValueError: the loss is not finite, or too many videos cannot be decoded.
    """
    means, failures = meter.reduce()
    state.num_failures += len(failures)
    state.num_by_chance += sum(failure.by_chance for failure in failures)
    if not math.isfinite(means.get("loss", 0.0)):
        _fail(recent, hooks, skipped=False)
    if is_main():
        counts = {"failed_videos": state.num_failures, "skipped_steps": state.num_skipped}
        hooks.log({"step": state.step, **means, "lr": recent[-1].lr, **counts}, failures, batch)
    num_clips = state.step * len(batch.labels) * world_size()
    _check_failures(state, failures, num_drawn=num_clips + state.num_failures, share=max_failed)


def _fail(recent: Sequence[Recent], hooks: Hooks, *, skipped: bool) -> None:
    """Raises: ValueError: the loss is not finite; with the step, the learning rate, and where the videos' names are."""
    here = [
        {"step": one.step, "lr": one.lr, "rank": rank(), "loss": one.sums[0].item(), "clips": one.sums[2].item(),
         "videos": list(one.videos)}
        for one in recent
    ]  # fmt: skip
    facts = sorted((fact for part in all_gather(here) for fact in part), key=lambda fact: (fact["step"], fact["rank"]))
    where = hooks.nonfinite(facts)
    if skipped:
        raise ValueError(f"the gradients of {MAX_SKIPPED} steps in a row were not finite, up to step {recent[-1].step}")
    bad = next((fact for fact in facts if not math.isfinite(fact["loss"])), facts[-1])
    raise ValueError(
        f"the loss is {bad['loss']} at step {bad['step']}, learning rate {bad['lr']:g}; the videos of that step and "
        f"those before: {where}. The newest checkpoint is of before; optim.nonfinite=skip leaves such steps out"
    )


def _check_weights(state: TrainState) -> None:
    """Raises: ValueError: a weight or a statistic is not finite; a checkpoint of it would be of no use."""
    tensors = [tensor.float() for tensor in state.model.state_dict().values()]
    if not torch.isfinite(nn.utils.get_total_norm(tensors)):
        names = [name for name, tensor in state.model.state_dict().items() if not torch.isfinite(tensor).all()]
        raise ValueError(
            f"the network after step {state.step}: {len(names)} tensors are not finite ({', '.join(names[:3])}, ...): "
            "not saved, the newest checkpoint is of before; lower optim.lr or set optim.clip_norm"
        )


def _check_failures(state: TrainState, recent: Sequence[Failure], *, num_drawn: int, share: float) -> None:
    """Raises: ValueError: too many of the videos that were drawn could not be decoded."""
    if state.num_failures > max(share * num_drawn, FEW_FAILURES):
        causes = "".join(f"\n  {failure.cause}" for failure in recent[:10])
        raise ValueError(
            f"{state.num_failures} of {num_drawn} drawn videos cannot be decoded, more than data.max_failed={share} "
            f"allows; failed_videos.jsonl names them, tools/check_data.py finds all of the list. The latest:{causes}"
        )
