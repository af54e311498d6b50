"""Validation while a network trains."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nonlocal_video.engine.task import Batch, Task
from nonlocal_video.system.distributed import all_reduce_sum, gather, is_main
from nonlocal_video.system.precision import at_precision
from nonlocal_video.types import Failure

NUM_NAMED = 5
"""Failures that are named; the rest is counted."""


def validate(
    model: nn.Module,
    loader: Iterable[Batch],
    *,
    task: Task,
    precision: str,
    stopped: Callable[[], bool],
    note: Callable[[str], Any] = print,
) -> dict[str, float] | None:
    """Judges a network; leaves its mode and the random state as they were.

    Args:
        model: the plain network.
        loader: this rank's share, in batches of any size.
        precision: fp32, bf16 or fp16.
        stopped: whether to give up.
        note: on the main process, hears what could not be decoded.

    Returns:
        The numbers of the task, of all ranks, and `failed`, how many could not be decoded. None if a rank was stopped.

    Raises:
        ValueError: nothing could be decoded, or a score is not finite.
    """
    gave_up, failures, validation = False, list[Failure](), task.validation()
    call = at_precision(model, precision)
    with in_evaluation_mode(model), torch.inference_mode(), torch.random.fork_rng(devices=[]):
        for batch in loader:
            if gave_up := stopped():
                break
            failures.extend(batch.failures)
            validation.update(call, batch)
    # A rank that was stopped meets the others here, too: they would wait for it.
    if all_reduce_sum(torch.tensor(int(gave_up))):
        return None
    validation.reduce()
    causes = [failure.cause for failure in sorted(failure for part in gather(failures) for failure in part)]
    num_failed = int(all_reduce_sum(torch.tensor(len(failures))))
    rest = [f"and {len(causes) - NUM_NAMED} more"] if len(causes) > NUM_NAMED else []
    named = "".join(f"\n  {cause}" for cause in causes[:NUM_NAMED] + rest)
    if not validation.count:
        raise ValueError(f"validation: none of {num_failed} {task.source} can be decoded{named}")
    if causes and is_main():
        note(f"validation: {num_failed} {task.source} could not be decoded{named}")
    return {**validation.compute(), "failed": num_failed}


@contextmanager
def in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluates a network while this lasts; afterwards every layer is in the mode that it was in."""
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
