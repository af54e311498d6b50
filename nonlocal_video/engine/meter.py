"""What is summed up between two records of a run."""

import time
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from nonlocal_video.system.distributed import all_reduce_sum, gather, local_device
from nonlocal_video.types import Batch, Failure


class Meter:
    """Sums over the clips since the last record; they stay on the device until they are read."""

    def __init__(self) -> None:
        self.restart()

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

    def update(self, sums: Tensor, batch: Batch) -> None:
        """Adds a step: the sum of the losses, correct answers and clips (3,), and the batch that they are of."""
        self.sums += sums
        self.num_clips += len(batch.labels)
        self.failures.extend(batch.failures)

    def reduce(self) -> tuple[dict[str, float], list[Failure]]:
        """Means over the clips of all ranks, and the failures of all ranks, in their order. Starts anew.

        Without `loss` and `top1` if no step was taken.
        """
        here = torch.cat([self.sums, self.sums.new_tensor([self.num_clips])])
        loss, correct, num_counted, num_clips = all_reduce_sum(here).tolist()
        failures = [failure for part in gather(self.failures) for failure in part]
        seconds = time.perf_counter() - self.since
        means = {"loss": loss / num_counted, "top1": 100 * correct / num_counted} if num_counted else {}
        means |= {"clips_per_s": num_clips / seconds, "data_wait": 100 * self.waited_s / seconds}
        self.restart()
        return means, failures

    def restart(self) -> None:
        """Forgets what came before; also the time that it took."""
        self.sums = torch.zeros(3, dtype=torch.float64, device=local_device())
        self.num_clips = 0
        self.failures: list[Failure] = []
        self.since, self.waited_s = time.perf_counter(), 0.0
