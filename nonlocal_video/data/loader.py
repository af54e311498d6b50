"""From items to batches, in worker processes that may die."""

import math
import multiprocessing
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from multiprocessing import forkserver
from operator import itemgetter
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from nonlocal_video.data.dataset import Started
from nonlocal_video.data.decode import DecodeError
from nonlocal_video.data.workers import START_METHOD, Board, kill, watched
from nonlocal_video.system.signals import deaf_children, end_with_parent, ignore_stopping
from nonlocal_video.types import Failure

GRACE_S = 10.0
"""A worker is ended so long after the limit at which the decoder should have given up by itself."""
MAX_IDLE_DEATHS = 3
"""Workers that may die one after the other without a video to blame."""


class Videos(Protocol):
    """A source of items, and the names of the videos that attempts at them read."""

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> Any: ...
    def name(self, index: int, attempt: int) -> str: ...


@dataclass
class Loader:
    """The batches of a plan, in order, whatever becomes of the worker processes.

    A worker that is at one video for longer than the limit is killed. When one is killed or dies, all start
    again at the first batch that was not given out yet, and the video that it was at counts as failed.

    Raises:
        DecodeError: while iterating; workers die and no video is to blame, or an item cannot be replaced.
    """

    videos: Videos
    plan: list[range]
    """The item numbers of each batch."""
    _: KW_ONLY
    collate: Callable[[list[Any]], Any]
    """Makes a batch from the list of its items."""
    workers: int
    """Processes; 0 makes the items here, where a library that hangs hangs this process."""
    limit_s: float | None
    """Seconds for one video; None for no limit."""

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Any]:
        done, idle_deaths, lost = 0, 0, dict[int, dict[int, Failure]]()
        while done < len(self.plan):
            board = Board(max(self.workers, 1))
            limit_s = self.limit_s + GRACE_S if self.limit_s is not None and self.workers else math.inf
            with watched(board, limit_s=limit_s) as ended:
                try:
                    for batch in self._start(board, lost, first=done):
                        if isinstance(batch, DecodeError):
                            raise batch
                        yield batch
                        done, idle_deaths = done + 1, 0
                except RuntimeError as error:
                    if not str(error).startswith("DataLoader worker"):  # PyTorch's words for a worker that is gone.
                        raise
                    dead = {int(pid) for pid in re.findall(r"\d+", str(error))}
                    blamed = [attempt for attempt in board.attempts() if attempt.pid in dead]
                    for attempt in blamed:
                        video, cause = self.videos.name(attempt.item, attempt.number), "died"
                        if attempt.pid in ended:
                            cause = f"was ended after {self.limit_s} s (data.decode_limit_s) and more"
                        failure = Failure(video, f"{video}: its loader process {cause}", transient=True)
                        lost.setdefault(attempt.item, {})[attempt.number] = failure
                    kill(board.pids())
                    idle_deaths += not blamed
                    if idle_deaths == MAX_IDLE_DEATHS:
                        raise DecodeError(
                            f"{idle_deaths} loader processes died between videos; is the memory, or the shared memory "
                            f"in /dev/shm, full? ({error})"
                        ) from error

    def _start(self, board: Board, lost: dict[int, dict[int, Failure]], *, first: int) -> "DataLoader[Any]":
        if self.workers and START_METHOD == "forkserver":
            multiprocessing.set_forkserver_preload(["__main__", "nonlocal_video.data.loader"])
            with deaf_children():
                forkserver.ensure_running()
        return DataLoader(
            _Items(self.videos, board, lost),
            batch_sampler=self.plan[first:],  # type: ignore[arg-type]
            collate_fn=partial(_collate_or_error, collate=self.collate),
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context=START_METHOD if self.workers else None,
            worker_init_fn=_begin if self.workers else None,
        )


@dataclass
class _Items(Dataset[Any]):
    """The items as PyTorch's loader asks for them, announced on the board."""

    videos: Videos
    board: Board
    lost: dict[int, dict[int, Failure]]

    def __getitem__(self, index: int) -> Any:
        """An item, or a `DecodeError`: raised in a worker, its message would be a page of tracebacks."""
        info = get_worker_info()
        with self.board.working(info.id if info else 0, index) as started:
            try:
                return self.videos.get(index, lost=self.lost.get(index, {}), started=started)
            except DecodeError as error:
                return error


def _collate_or_error(items: list[Any], *, collate: Callable[[list[Any]], Any]) -> Any:
    return next((item for item in items if isinstance(item, DecodeError)), None) or collate(items)


def _begin(_worker: int) -> None:
    ignore_stopping()  # A signal to all processes of a job must not cost the run a video.
    end_with_parent()


def testing_loader(
    videos: Videos, todo: Sequence[int], *, rank: int, world_size: int, workers: int, limit_s: float | None
) -> Loader:
    """Every world_size-th of the videos `todo` from the rank-th: each once, no padding."""
    plan = [range(index, index + 1) for index in todo[rank::world_size]]
    return Loader(videos, plan, collate=itemgetter(0), workers=workers, limit_s=limit_s)


def shard_plan(num_videos: int, *, clips: int, rank: int, world_size: int) -> list[range]:
    """Every world_size-th of the videos from the rank-th, `clips` a batch: each once, no padding."""
    shard = range(rank, num_videos, world_size)
    return [shard[start : start + clips] for start in range(0, len(shard), clips)]


def step_plan(*, first_step: int, last_step: int, clips_per_rank: int, rank: int, world_size: int) -> list[range]:
    """A rank's equal slice of the samples s x global batch .. (s + 1) x global batch - 1 of each step s."""
    starts = [(step * world_size + rank) * clips_per_rank for step in range(first_step, last_step)]
    return [range(start, start + clips_per_rank) for start in starts]
