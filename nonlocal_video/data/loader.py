"""From items to batches, in worker processes."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Sampler, Subset

from nonlocal_video.data.dataset import EvaluationVideos, TrainingVideos
from nonlocal_video.types import Batch, Sample

TIMEOUT_S = 600
"""A worker that gives nothing for so long is taken for dead, and the run stops."""


class StepSampler(Sampler[list[int]]):
    """For each step the stream's sample numbers that one rank trains on.

    Step s holds samples s x global batch .. (s + 1) x global batch - 1; ranks take equal slices.
    """

    def __init__(self, *, first_step: int, last_step: int, clips_per_rank: int, rank: int, world_size: int) -> None:
        self.steps = range(first_step, last_step)
        self.clips_per_rank, self.rank, self.world_size = clips_per_rank, rank, world_size

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            start = (step * self.world_size + self.rank) * self.clips_per_rank
            yield list(range(start, start + self.clips_per_rank))


def training_loader(videos: TrainingVideos, sampler: StepSampler, *, workers: int) -> Iterable[Batch]:
    """Batches of the steps of `sampler`, in order."""
    return DataLoader(
        videos,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        timeout=TIMEOUT_S if workers else 0,
    )


def evaluation_loader(videos: EvaluationVideos, *, rank: int, world_size: int, workers: int) -> DataLoader[Sample]:
    """Every world_size-th video from the rank-th: each video once, no padding."""
    return DataLoader(
        Subset(videos, range(rank, len(videos), world_size)),
        batch_size=None,
        num_workers=workers,
        timeout=TIMEOUT_S if workers else 0,
    )


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of one view each -> a batch (B, 3, T, S, S)."""
    return Batch(
        torch.cat([sample.clips for sample in samples]),
        torch.tensor([sample.label for sample in samples]),
        tuple(failure for sample in samples for failure in sample.failures),
    )
