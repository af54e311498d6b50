"""The training loop."""

import math
import signal
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nonlocal_video.engine.meter import Meter
from nonlocal_video.engine.step import TrainState, train_step
from nonlocal_video.engine.task import Batch, Task
from nonlocal_video.settings import OptimConfig, RuntimeConfig
from nonlocal_video.system.distributed import Vote, all_gather, is_main, rank, world_size, wrap
from nonlocal_video.system.signals import Stopped, StopRequest
from nonlocal_video.types import Failure

FEW_FAILURES = 10
"""Failures that any run may have, however short."""
KEPT = 4
"""Steps that are remembered: the ranks agree on a bad one two steps later, and the one before may be the cause."""
MAX_SKIPPED = 50
"""Steps in a row that may be skipped."""


@dataclass(frozen=True)
class Callbacks:
    """The loop calls these on all ranks, `log` on the main one only."""

    advance: Callable[[Any], None]
    """Hears of each step, with its batch."""
    log: Callable[[dict[str, float], list[Failure], Any], None]
    """Takes a record, what failed since the last one, and the step's batch."""
    evaluate: Callable[[], bool]
    """Measures what evaluation needs; False if a signal came meanwhile."""
    save: Callable[[], None]
    nonfinite: Callable[[list[dict[str, Any]]], str]
    """Keeps the facts on a loss that is not finite; says where."""
    stop: StopRequest


def train(
    state: TrainState,
    loader: Iterable[Batch],
    *,
    task: Task,
    schedule: Callable[[int], float],
    seed: int,
    optim: OptimConfig,
    runtime: RuntimeConfig,
    max_failed: float,
    callbacks: Callbacks,
) -> None:
    """Trains from `state.step` to `optim.steps` on the loader's batches, one a step.

    A record every `log_every` steps and before saving has what `Meter.reduce` gives since the last one, the learning
    rate, and how much failed and how many steps were skipped. Beyond `FEW_FAILURES`, the share `max_failed` of what was
    drawn may fail to decode.

    Raises:
        ValueError: the loss is not finite, or too much cannot be decoded.
        Stopped: a signal came; all is saved.
    """

    def evaluates_at(step: int) -> bool:
        every = runtime.validate_every
        return step == optim.steps or bool(every and step % every == 0)

    state.model.train_mode()
    model = wrap(state.model, sync_bn=optim.sync_bn)
    call = state.model.compiled(model) if runtime.compile else model
    if state.step and evaluates_at(state.step) and state.evaluated != state.step:  # A signal cut it short.
        if stopped := _evaluate(state, callbacks):
            raise Stopped(stopped)
        callbacks.save()
    watch, meter = _Watch(task.source, callbacks), Meter(task, loader)
    with meter.batches as batches:
        for batch in batches:
            lr, skipped = schedule(state.step), state.num_skipped
            sums = train_step(state, model, batch, task=task, call=call, lr=lr, seed=seed, optim=optim, runtime=runtime)
            meter.update(sums, batch)
            callbacks.advance(batch)
            facts = {"step": state.step, "lr": lr, "rank": rank(), "loss": sums[0], task.unit: sums[1]}
            stopped = watch.see({**facts, task.source: list(batch.names)}, skipped=state.num_skipped > skipped)
            evaluates = evaluates_at(state.step)
            saves = evaluates or stopped or state.step % runtime.checkpoint_every == 0
            if saves or state.step % runtime.log_every == 0:  # Also before saving: a checkpoint has counted everything.
                _log(state, meter, batch, watch, max_failed=max_failed)
            if evaluates and not stopped:
                stopped = _evaluate(state, callbacks)
            if saves:
                _check_weights(state)
                callbacks.save()
                meter.restart()  # Evaluating and saving is no training.
            if stopped:
                raise Stopped(stopped)
    watch.vote.close()


def _evaluate(state: TrainState, callbacks: Callbacks) -> int:
    """The number of the signal that came meanwhile, perhaps to another rank only, or 0."""
    if callbacks.evaluate():
        state.evaluated = state.step
        return 0
    return callbacks.stop.signum or signal.SIGTERM


def _log(state: TrainState, meter: Meter, batch: Batch, watch: "_Watch", *, max_failed: float) -> None:
    """Writes a record of what came since the last one. Raises: ValueError: too much cannot be decoded."""
    source, (means, failures) = meter.task.source, meter.reduce()
    state.num_failures += len(failures)
    state.num_transient += sum(failure.transient for failure in failures)
    if not math.isfinite(means.get("loss", 0.0)):
        watch.fail(skipped=False)
    if is_main():
        counts = {f"failed_{source}": state.num_failures, "skipped_steps": state.num_skipped}
        record = {"step": state.step, **means, "lr": watch.recent[-1]["lr"], **counts}
        watch.callbacks.log(record, failures, batch)
    num_drawn = state.step * batch.size * world_size() + state.num_failures
    if state.num_failures > max(max_failed * num_drawn, FEW_FAILURES):
        causes = "".join(f"\n  {failure.cause}" for failure in failures[:10])
        raise ValueError(
            f"{state.num_failures} of {num_drawn} drawn {source} cannot be decoded, more than "
            f"data.max_failed={max_failed} allows; failed_{source}.jsonl names them, tools/check_data.py finds all of "
            f"the list. The latest:{causes}"
        )


class _Watch:
    """Agrees with the other ranks, a step late, whether to go on."""

    def __init__(self, source: str, callbacks: Callbacks) -> None:
        self.source, self.callbacks = source, callbacks
        self.vote, self.recent, self.consecutive_skipped = Vote(3), deque[dict[str, Any]](maxlen=KEPT), 0

    def see(self, facts: dict[str, Any], *, skipped: bool) -> int:
        """Keeps the facts on a step, and fails if it must; the number of a signal that some rank has heard, or 0."""
        self.consecutive_skipped = self.consecutive_skipped + 1 if skipped else 0
        self.recent.append(facts)
        # A GPU is some steps behind: looking at this step's loss, not the one before, would wait for it.
        went_bad = len(self.recent) > 1 and not math.isfinite(self.recent[-2]["loss"].item())
        stopped, some_went_bad, many_skipped = self.vote.exchange(
            self.callbacks.stop.signum, went_bad, self.consecutive_skipped > MAX_SKIPPED
        )
        if some_went_bad or many_skipped:
            self.fail(skipped=bool(many_skipped))
        return stopped

    def fail(self, *, skipped: bool) -> None:
        """Raises: ValueError: too many steps were skipped, or the loss is not finite, with where the names are."""
        here = [{k: v.item() if isinstance(v, Tensor) else v for k, v in facts.items()} for facts in self.recent]
        facts = [fact for part in all_gather(here) for fact in part]
        facts.sort(key=lambda fact: (fact["step"], fact["rank"]))
        where = self.callbacks.nonfinite(facts)
        if skipped:
            raise ValueError(
                f"the gradients of {MAX_SKIPPED} steps in a row were not finite, up to step {self.recent[-1]['step']}"
            )
        bad = next((fact for fact in facts if not math.isfinite(fact["loss"])), facts[-1])
        raise ValueError(
            f"the loss is {bad['loss']} at step {bad['step']}, learning rate {bad['lr']:g}; the {self.source} of "
            f"that step and those before: {where}. The newest checkpoint is of before; optim.nonfinite=skip leaves "
            "such steps out"
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
