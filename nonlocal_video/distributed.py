"""Processes and ranks: the only file that speaks of them. All is a no-op in a single process."""

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException, get_context, start_processes
from torch.nn.parallel import DistributedDataParallel

TIMEOUT = timedelta(hours=2)
"""How long one rank waits for another: ranks may test lists of very unequal length."""


def launch(job: Callable[[Any], None], argument: Any, *, processes: int) -> None:
    """Runs job(argument) in every process: in those that torchrun started, else in `processes` new ones.

    Raises:
        ValueError: of the first process that raised one, or one that was killed. The others end with it.
    """
    if started_by_torchrun():
        _run_rank(job, argument, "env://", int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    elif processes == 1:
        job(argument)
    else:
        with tempfile.TemporaryDirectory() as folder:
            errors = get_context("spawn").SimpleQueue()
            arguments = (job, argument, f"file://{folder}/rendezvous", processes, errors)
            try:
                start_processes(_start_rank, arguments, nprocs=processes, start_method="spawn")
            except (ProcessExitedException, ProcessRaisedException) as error:
                # A rank that raised ValueError said so before the others lost their connection to it.
                raise ValueError(str(error) if errors.empty() else errors.get()) from error


def _start_rank(rank: int, job: Callable[[Any], None], argument: Any, store: str, processes: int, errors: Any) -> None:
    os.environ["LOCAL_RANK"] = str(rank)
    try:
        _run_rank(job, argument, store, rank, processes)
    except ValueError as error:
        errors.put(str(error))
        sys.exit(1)


def _run_rank(job: Callable[[Any], None], argument: Any, store: str, rank: int, processes: int) -> None:
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        if local_device().index >= torch.cuda.device_count():
            raise ValueError(
                f"got {local_device().index + 1} or more processes, expected {torch.cuda.device_count()}: one a GPU"
            )
        torch.cuda.set_device(local_device())
    dist.init_process_group(backend, init_method=store, rank=rank, world_size=processes, timeout=TIMEOUT)
    job(argument)
    # Not after an error: both could wait for ranks that wait for this one. The barrier lets gloo's thread free what it
    # gathered: PyTorch 2.6 can hang for ever where the group is destroyed meanwhile.
    dist.barrier()
    dist.destroy_process_group()


def started_by_torchrun() -> bool:
    """Whether torchrun started this process, beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def check_same(what: str, value: Any) -> None:
    """Fails on every rank unless all have the same value.

    Raises:
        ValueError: with the values.
    """
    if dist.is_initialized():
        values: list[Any] = [None] * world_size()
        dist.all_gather_object(values, value)
        if any(other != values[0] for other in values):
            raise ValueError(f"the processes differ in {what}: {values}; do they see the same files?")


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that prints and writes."""
    return rank() == 0


def local_device() -> torch.device:
    """The GPU of this process, or the CPU where there is none."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def set_threads(threads: int | None) -> None:
    """Threads of this process on the CPU; if None, its share of PyTorch's default."""
    torch.set_num_threads(threads or max(1, torch.get_num_threads() // world_size()))


def wrap(model: nn.Module) -> nn.Module:
    """The model as every rank calls it in training: gradients are averaged over the ranks."""
    return DistributedDataParallel(model) if dist.is_initialized() else model


def no_sync(model: nn.Module) -> AbstractContextManager[object]:
    """The context of a pass whose gradients are only added up, not yet averaged over the ranks."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum over the ranks, on every rank, where the tensor was."""
    if not dist.is_initialized():
        return tensor
    moved = tensor.to(local_device(), copy=True)
    dist.all_reduce(moved)
    return moved.to(tensor.device)


def gather(value: Any) -> list[Any]:
    """The values of all ranks, in their order, on the main one; an empty list on the others."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.gather_object(value, values if is_main() else None)
    return values if is_main() else []
