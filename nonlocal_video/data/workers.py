"""Worker processes: what each is doing, so that a stuck one can be found, and how they end."""

import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import torch

START_METHOD = "spawn" if sys.platform == "win32" else "forkserver"
"""Workers are children of a process that never ran a decoder: a fork of one that did can hang."""

_PID, _ITEM, _ATTEMPT, _SINCE = range(4)


def num_cpus() -> int:
    """The CPUs that this process may use, where the system tells; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Work(NamedTuple):
    """An attempt at an item that began `seconds` ago and has not ended."""

    pid: int
    item: int
    attempt: int
    seconds: float


class Board:
    """A line for each worker; the worker writes it, the parent reads it."""

    def __init__(self, num_workers: int) -> None:
        self.lines = torch.zeros(num_workers, 4, dtype=torch.float64).share_memory_()

    @contextmanager
    def working(self, worker: int, item: int) -> Iterator[Callable[[int], None]]:
        """While an item is made; gives what is to be called with the number of each attempt."""
        line = self.lines[worker]

        def started(attempt: int) -> None:
            line[_SINCE] = 0  # First, so that no half-written line looks old.
            line[_PID], line[_ITEM], line[_ATTEMPT] = os.getpid(), item, attempt
            line[_SINCE] = time.monotonic()

        try:
            yield started
        finally:
            line[_SINCE] = 0

    def work(self) -> list[Work]:
        """What the workers are doing, or were when they died."""
        now = time.monotonic()
        return [
            Work(int(pid), int(item), int(attempt), now - since)
            for pid, item, attempt, since in self.lines.tolist()
            if since
        ]

    def pids(self) -> list[int]:
        """The processes that have written a line."""
        return [int(pid) for pid in self.lines[:, _PID].tolist() if pid]


class Watch(threading.Thread):
    """Ends worker processes that are at one attempt for longer than `limit_s`; `ended` holds those processes."""

    def __init__(self, board: Board, *, limit_s: float) -> None:
        super().__init__(daemon=True)
        self.board, self.limit_s, self.ended = board, limit_s, set[int]()
        self._stop = threading.Event()

    def run(self) -> None:
        while not self._stop.wait(0.5):
            self.ended = kill([work.pid for work in self.board.work() if work.seconds > self.limit_s])
            if self.ended:
                return

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()


def kill(pids: Iterable[int]) -> set[int]:
    """Ends processes that nothing else would end: one stuck in a library does not hear a polite signal.

    Returns:
        Those that were still alive.
    """
    killed = set()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))  # On Windows every signal kills.
            killed.add(pid)
    return killed


@atexit.register
def _end_stuck() -> None:
    """Children that still run as this process ends are stuck in a library; waiting for them would hang."""
    for child in multiprocessing.active_children():
        child.kill()
