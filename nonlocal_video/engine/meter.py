"""What is summed up between two records of a run."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from nonlocal_video.engine.task import Batch, Task
from nonlocal_video.system.distributed import all_reduce_sum, gather, local_device
from nonlocal_video.types import Failure

AnyBatch = TypeVar("AnyBatch", bound=Batch)


class Meter:
    """Sums over the batches since the last record; they stay on the device until they are read."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.restart()

    def waiting(self, loader: Iterable[AnyBatch]) -> Iterator[AnyBatch]:
        """The same batches; measures how long they let us wait."""
        batches = iter(loader)
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waited_s += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def update(self, sums: Tensor, batch: Batch) -> None:
        """Adds a step: the sums of `train_step`, and the batch that they are of."""
        self.sums += sums
        self.size += batch.size
        self.failures.extend(batch.failures)

    def reduce(self) -> tuple[dict[str, float], list[Failure]]:
        """The means over all ranks, of the loss and of what the task sums; and the failures of all ranks, in their
        order. Starts anew.

        Without these means if no step was taken.
        """
        here = torch.cat([self.sums, self.sums.new_tensor([self.size])])
        loss, counted, *others, size = all_reduce_sum(here).tolist()
        failures = [failure for part in gather(self.failures) for failure in part]
        seconds = time.perf_counter() - self.since
        names = ("loss", *self.task.shown)
        means = {name: total / counted for name, total in zip(names, (loss, *others), strict=True)} if counted else {}
        means |= {f"{self.task.unit}_per_s": size / seconds, "data_wait": 100 * self.waited_s / seconds}
        self.restart()
        return means, failures

    def restart(self) -> None:
        """Forgets what came before; also the time that it took."""
        self.sums = torch.zeros(2 + len(self.task.shown), dtype=torch.float64, device=local_device())
        self.size = 0
        self.failures: list[Failure] = []
        self.since, self.waited_s = time.perf_counter(), 0.0
