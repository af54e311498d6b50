"""Looks at a network while it trains: its validation, and how much each non-local block does."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nonlocal_video.engine.task import Batch, Task
from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.models.placement import built_places
from nonlocal_video.system.distributed import all_reduce_sum, at_precision, gather, is_main
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
    """Judges the plain network on this rank's share of the batches; its mode and the random state stay as they were.

    On the main process `note` hears what could not be decoded.

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


@torch.inference_mode()
def contributions(model: nn.Module, batch: Batch, *, task: Task, precision: str) -> dict[str, float]:
    """The norm of W_z y, after its normalisation, over the norm of x (Eq. 6), for each non-local block.

    It is a mean over the batch, 0 at initialisation and where a block was given nothing, and named by the place of the
    block, such as res3.1. The plain network runs as in testing, at fp32, bf16 or fp16; its mode and the random state
    stay as they were.
    """
    blocks = [layer for layer in model.modules() if isinstance(layer, NonLocalBlock)]
    if not blocks:
        return {}
    x_norms, y_norms = list[Tensor](), list[Tensor]()  # (B,) for each block, in the order in which they run.

    def norms(values: Tensor) -> Tensor:
        return values.float().flatten(1).norm(dim=1)

    with in_evaluation_mode(model), ExitStack() as hooks:
        for block in blocks:
            hooks.enter_context(block.register_forward_pre_hook(lambda _, x: x_norms.append(norms(x[0]))))
            hooks.enter_context(block.bn.register_forward_hook(lambda _, __, y: y_norms.append(norms(y))))
        task.forward(at_precision(model, precision), batch)
    return {
        f"{place.stage}.{place.block}": float((y / x).mean()) if len(x) else 0.0
        for place, x, y in zip(built_places(model), x_norms, y_norms, strict=True)
    }
