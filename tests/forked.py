"""Commands and ranks as forks of one process that has imported all they need: they start in 0.1 s instead of 5 CPU s.

What they do from there on is what a process does that a user has started: it leads a session, writes into its file,
dies of its signals. Tests of the very start (the shell scripts, torchrun, a launch with `spawn`) do not use this.
"""

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

from torch.multiprocessing import get_context

from nonlocal_video.system import launch
from nonlocal_video.system.signals import STOPPING

FORKING: list[Any] = []
"""The context whose processes are forks, after `serve`; before that, none."""
IMPORTED = ["nonlocal_video.system.waiting", "torch._dynamo", "nonlocal_video.cli.jobs", "nonlocal_video.cli.compose"]


class Command:
    """A running tool; it has the parts of `subprocess.Popen` that tests use."""

    def __init__(
        self, words: Sequence[str], out: Path, errors: Path, *, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.args = words
        out.touch()
        errors.touch()
        arguments = (list(words), str(out), str(errors), str(folder), dict(environment))
        self._process = FORKING[0].Process(target=_run, args=arguments)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        with suppress(ProcessLookupError):  # It may have ended by now.
            while os.getsid(self.pid) != self.pid:
                time.sleep(0.001)

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end. Raises subprocess.TimeoutExpired: it does not come."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(words: list[str], out: str, errors: str, folder: str, environment: dict[str, str]) -> None:
    os.setsid()
    for number, path in enumerate((out, errors), 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _unlearn()
    resource_tracker._resource_tracker._fd = resource_tracker._resource_tracker._pid = None  # The server's.
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    launch.get_context = lambda _method: get_context("fork")
    os.register_at_fork(after_in_child=_unlearn)
    sys.path.insert(0, str(Path(words[0]).absolute().parent))
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")


def _unlearn() -> None:
    """Takes the answers to signals that this process has from the one that forked it; a new one has none."""
    for signum in STOPPING:
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)


def serve() -> None:
    """Lets the processes of tests be forks, from now on."""
    server = get_context("forkserver")
    FORKING.append(server)
    preload = forkserver.set_forkserver_preload
    forkserver.set_forkserver_preload = lambda modules: preload([*IMPORTED, *modules])
    server.set_forkserver_preload([])
    launch.get_context = lambda _method: server
