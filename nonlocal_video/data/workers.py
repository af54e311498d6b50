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


class Attempt(NamedTuple):
    """A worker's attempt at an item, which began `seconds` ago and has not ended."""

    pid: int
    item: int
    number: int
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

    def attempts(self) -> list[Attempt]:
        """The attempts that workers are at, or were when they died."""
        now, lines = time.monotonic(), self.lines.tolist()
        return [Attempt(int(pid), int(item), int(number), now - since) for pid, item, number, since in lines if since]

    def pids(self) -> list[int]:
        """The processes that have written a line."""
        return [int(pid) for pid in self.lines[:, _PID].tolist() if pid]


@contextmanager
def watched(board: Board, *, limit_s: float) -> Iterator[set[int]]:
    """Ends worker processes that are at one attempt for longer than `limit_s`; gives the set of those processes."""
    ended, stop = set[int](), threading.Event()

    def watch() -> None:
        while not ended and not stop.wait(0.5):
            ended.update(kill(attempt.pid for attempt in board.attempts() if attempt.seconds > limit_s))

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield ended
    finally:
        stop.set()


def kill(pids: Iterable[int]) -> set[int]:
    """Ends processes, also those stuck in a library, which hear no polite signal; returns those that were alive."""
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
