"""Sums between two records of a run, and the time that a loop waits."""

import time
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from nonlocal_video.engine.task import Batch, Task
from nonlocal_video.system.distributed import all_reduce_sum, gather, local_device
from nonlocal_video.types import Failure

Item = TypeVar("Item")


class Timed(Iterator[Item]):
    """Passes items on, until it is closed, which ends the loader; `waited_s` is how long the loop waited for them."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items, self.waited_s = iter(items), 0.0

    def __next__(self) -> Item:
        asked = time.perf_counter()
        try:
            return next(self.items)
        finally:
            self.waited_s += time.perf_counter() - asked

    def __enter__(self) -> "Timed[Item]":
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self.items, Generator):
            self.items.close()


class Meter:
    """Sums over the batches since the last record; they stay on the device until they are read."""

    def __init__(self, task: Task, loader: Iterable[Batch]) -> None:
        self.task, self.batches = task, Timed(loader)
        self.restart()

    def update(self, sums: Tensor, batch: Batch) -> None:
        """Adds a step: the sums of `train_step`, and its batch."""
        self.sums += sums
        self.size += batch.size
        self.failures.extend(batch.failures)

    def reduce(self) -> tuple[dict[str, float], list[Failure]]:
        """The means of the loss and of what the task sums, if a step was taken, and the speed; starts anew.

        The means and the failures are those of all ranks; the share of the time (%) that was waited is this rank's.
        """
        here = torch.cat([self.sums, self.sums.new_tensor([self.size])])
        loss, counted, *others, size = all_reduce_sum(here).tolist()
        failures = [failure for part in gather(self.failures) for failure in part]
        seconds = time.perf_counter() - self.since
        names = ("loss", *self.task.shown)
        means = {name: total / counted for name, total in zip(names, (loss, *others), strict=True)} if counted else {}
        means |= {f"{self.task.unit}_per_s": size / seconds, "data_wait": 100 * self.batches.waited_s / seconds}
        self.restart()
        return means, failures

    def restart(self) -> None:
        """Forgets what came before; also the time that it took."""
        self.sums = torch.zeros(2 + len(self.task.shown), dtype=torch.float64, device=local_device())
        self.size, self.failures = 0, list[Failure]()
        self.since, self.batches.waited_s = time.perf_counter(), 0.0
