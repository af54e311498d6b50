"""How processes end: what a signal asks of a run, and children that outlive nobody."""

import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any

STOPPING = [
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
]
"""A shutdown, Ctrl-C, a closed terminal, and what Slurm and submitit send before a job's time is over."""


class Stopped(SystemExit):
    """A signal ended the work, after all was saved. No error: it passes through whatever collects errors."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)  # Shells name the end by a signal so.
        self.signum = signum


class StopRequest:
    """A signal's request to save and end, if there is one."""

    def __init__(self) -> None:
        self.signum, self.since = 0, 0.0

    def __call__(self) -> bool:
        return self.signum != 0

    def hear(self, signum: int, _frame: FrameType | None) -> None:
        """Handles a signal. Ctrl-C pressed again, a second later or more, ends at once."""
        now = time.monotonic()
        if signum == signal.SIGINT and self.signum and now - self.since > 1:
            raise KeyboardInterrupt
        if not self.signum:
            self.signum, self.since = signum, now


@contextmanager
def listening(stop: StopRequest, *, forward: Callable[[int], None] | None = None) -> Iterator[None]:
    """While this lasts, signals are requests. Who handled one before (submitit) gets it after the work has ended.

    A signal that is ignored (SIGHUP under nohup) stays so. A SIGTERM that somebody handles already is left to them:
    submitit passes over it and waits for its own signal. `forward` passes a signal on to child processes.
    """

    def hear(signum: int, frame: FrameType | None) -> None:
        stop.hear(signum, frame)
        if forward:
            forward(signum)

    before, ended_by = dict[int, Any](), 0
    if threading.current_thread() is threading.main_thread():
        for signum in STOPPING:
            handler = signal.getsignal(signum)
            if handler is signal.SIG_DFL or (handler is not signal.SIG_IGN and signum != signal.SIGTERM):
                before[signum] = signal.signal(signum, hear)
    try:
        yield
    except Stopped as stopped:
        ended_by = stopped.signum
        raise
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        handler = before.get(ended_by)
        if callable(handler) and handler is not signal.default_int_handler:
            handler(ended_by, None)


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that start while this lasts never get these signals: those of `multiprocessing` would die of them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        resource_tracker.ensure_running()  # Its start, which may be in here otherwise, lets signals through again.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_stopping() -> None:
    """Makes a helper process deaf to these signals: its parent decides when it ends."""
    for signum in STOPPING:
        signal.signal(signum, signal.SIG_IGN)


def end_with_parent() -> None:
    """Lets a child process end as soon as its parent has: a parent that is killed cannot end it."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
