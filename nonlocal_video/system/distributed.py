"""Ranks: who this process is, where and how it computes, and what the ranks tell one another."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def check_same(what: str, value: Any) -> None:
    """Raises a ValueError with the values, on every rank, unless all ranks have the same one."""
    values = all_gather(value)
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
    number = int(os.environ.get("LOCAL_RANK", "0"))
    return torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")


def set_threads(threads: int | None) -> None:
    """Sets the threads of this process on the CPU; if None, to OMP_NUM_THREADS or its share of PyTorch's default."""
    share = 1 if "OMP_NUM_THREADS" in os.environ else world_size()
    torch.set_num_threads(threads or max(1, torch.get_num_threads() // share))


def at_precision(call: Callable[..., Any], precision: str) -> Callable[..., Any]:
    """A forward pass in fp32, or in bf16 or fp16 mixed with it."""
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return call if dtype is None else torch.autocast(local_device().type, dtype)(call)


def wrap(model: nn.Module, *, sync_bn: bool) -> nn.Module:
    """The model as every rank calls it: averages gradients and, with `sync_bn` on GPUs, normalises over all ranks."""
    if not dist.is_initialized():
        return model
    return DistributedDataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(model) if sync_bn else model)


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


def all_gather(value: Any) -> list[Any]:
    """The values of all ranks, in their order, on every one."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def gather(value: Any) -> list[Any]:
    """The values of all ranks, in their order, on the main one; an empty list on the others."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.gather_object(value, values if is_main() else None)
    return values if is_main() else []


class Vote:
    """Numbers that every rank says at every step; the largest is heard a step later, so that nobody waits for it."""

    def __init__(self, count: int) -> None:
        # A group on the CPU: a GPU would have to finish its queue first.
        self.group: Any = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self.numbers = torch.zeros(count, dtype=torch.int64)
        self.work: Any = None

    def exchange(self, *numbers: int) -> list[int]:
        """Says `count` numbers; gives the largest of each that was said at the step before, zeros at the first."""
        heard = self.close()
        self.numbers = torch.tensor(numbers)
        if self.group is not None:
            self.work = dist.all_reduce(self.numbers, dist.ReduceOp.MAX, group=self.group, async_op=True)
        return heard

    def close(self) -> list[int]:
        """Gives the largest of each number that was said last."""
        if self.work is not None:
            self.work.wait()
        return self.numbers.tolist()
