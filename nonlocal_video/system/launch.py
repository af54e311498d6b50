"""Starts the processes of a job, or joins those that torchrun or srun started, and ends all when one is lost."""

import multiprocessing.connection
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache, partial
from itertools import count
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous
from torch.multiprocessing import get_context

from nonlocal_video.system.distributed import is_main, local_device
from nonlocal_video.system.files import LOCK, locked
from nonlocal_video.system.plain import check_folder
from nonlocal_video.system.signals import Stopped, StopRequest, deaf_children, end_with_parent, listening

LAST_WORDS_S = 5.0
"""Time that the others have after one process has died, to say why they end, too."""
LOCK_WAIT_S = 60.0
"""Time that the processes of a job that was killed may need to end."""
_JOBS = count()
"""Numbers the jobs of a process that torchrun or srun started: training, and then a test."""


class LostRankError(ValueError):
    """Another process died, or let this one wait for too long."""


def started_by_torchrun() -> bool:
    """Whether torchrun started this process, beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def started_by_srun() -> bool:
    """Whether Slurm's srun started this process, beside others. A batch script itself is no such process."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def count_processes(devices: int | None) -> int:
    """The number of processes of a job: torchrun's or srun's, else `devices`; if None, one for each GPU, at least 1."""
    if started_by_torchrun():
        return int(os.environ["WORLD_SIZE"])
    if started_by_srun():
        return int(os.environ["SLURM_STEP_NUM_TASKS"])
    return devices or max(1, torch.cuda.device_count())


def launch(job: Callable[[Any], None], argument: Any, *, devices: int | None, timeout_s: float) -> None:
    """Runs job(argument) in every process: in those that torchrun or srun started, else in new ones.

    A rank waits for another for up to `timeout_s`.

    Raises:
        ValueError: the first that a process raised, or that a process died. The others end with it.
        Stopped: a signal ended the job.
    """
    processes = count_processes(devices)
    if started_by_torchrun():
        _run_rank(job, argument, "env://", int(os.environ["RANK"]), processes, timeout_s)
    elif started_by_srun():
        _run_rank(job, argument, *_join_srun(), timeout_s)
    elif processes == 1:
        job(argument)
    else:
        with tempfile.TemporaryDirectory() as folder:
            place = f"file://{folder}/rendezvous"
            _run_children([partial(_run_rank, job, argument, place, n, processes, timeout_s) for n in range(processes)])


def _join_srun() -> tuple[str, int, int]:
    """The place where the ranks of a job step meet, this process's rank, and their number."""
    step = os.environ
    address = step.get("MASTER_ADDR") or ("127.0.0.1" if step.get("SLURM_STEP_NUM_NODES") == "1" else None)
    if address is None:
        raise ValueError(
            "srun on several machines: got no MASTER_ADDR, expected the first one's; see scripts/train.sbatch"
        )
    port = step.get("MASTER_PORT") or str(20_000 + int(step.get("SLURM_JOB_ID", "0")) % 10_000)
    # With --gpus-per-task a process sees its own GPU only, as number 0.
    step["LOCAL_RANK"] = "0" if torch.cuda.device_count() == 1 else step["SLURM_LOCALID"]
    return f"tcp://{address}:{port}", int(step["SLURM_PROCID"]), int(step["SLURM_STEP_NUM_TASKS"])


def _run_children(ranks: Sequence[Callable[[], None]]) -> None:
    """Starts the ranks on this machine and waits for them; passes signals on."""
    if sys.platform != "win32":  # Windows has no such tracker.
        with deaf_children():
            resource_tracker.ensure_running()
    context = get_context("spawn")
    said = context.SimpleQueue()
    children = [context.Process(target=_run_child, args=(run, rank, said)) for rank, run in enumerate(ranks)]

    def forward(signum: int) -> None:
        for child in children:
            with suppress(ProcessLookupError):
                if child.pid and child.exitcode is None:
                    os.kill(child.pid, signum)

    stop = StopRequest()
    with listening(stop, forward=forward):
        try:
            for child in children:
                child.start()
            codes = _wait_for(children)
        finally:  # Some may wait for one that is dead.
            for child in children:
                if child.pid:
                    child.kill()
                    child.join()
        words = []
        while not said.empty():
            words.append(said.get())
        _conclude(codes, words, stop)


def _run_child(run: Callable[[], None], rank: int, said: Any) -> None:
    """A process that `_run_children` started: says how it ended, and with what signal or message."""
    end_with_parent()
    os.environ["LOCAL_RANK"] = str(rank)
    try:
        run()
    except Stopped as stopped:
        said.put(("stop", stopped.signum))
    except ValueError as error:  # Any other error is in the process's own output.
        said.put(("lost" if isinstance(error, LostRankError) else "error", str(error)))
        sys.exit(1)
    except KeyboardInterrupt:  # The parent tells the user.
        sys.exit(130)


def _wait_for(children: Sequence[SpawnProcess]) -> list[int | None]:
    """Until all have ended, or until `LAST_WORDS_S` after the first that failed; the exit codes at that moment."""
    deadline = float("inf")
    while alive := [child for child in children if child.exitcode is None]:
        multiprocessing.connection.wait([child.sentinel for child in alive], timeout=0.5)
        if any(child.exitcode not in (0, None) for child in children):
            deadline = min(deadline, time.monotonic() + LAST_WORDS_S)
        if time.monotonic() > deadline:
            break
    return [child.exitcode for child in children]


def _conclude(codes: Sequence[int | None], words: Sequence[tuple[str, Any]], stop: StopRequest) -> None:
    """Raises what the job as a whole came to: a user's error before a death, a death before what followed from it."""
    errors, lost, stopped = ([what for kind, what in words if kind == wanted] for wanted in ("error", "lost", "stop"))
    if errors:
        raise ValueError(errors[0])
    killed = [(rank, -code) for rank, code in enumerate(codes) if code is not None and code < 0]
    if stopped or (stop() and killed):  # Before it listened, a process dies of the signal.
        raise Stopped(stop.signum or stopped[0])
    for rank, signum in killed:
        hint = " (was the memory full?)" if signal.Signals(signum).name == "SIGKILL" else ""
        raise ValueError(
            f"process {rank} of {len(codes)} was killed by {signal.Signals(signum).name}{hint}, and the others were "
            "ended; the same command resumes at the newest checkpoint"
        )
    if sum(map(bool, codes)) > len(lost):
        raise ValueError(f"the processes ended with the exit codes {list(codes)}; their own messages are above")
    if lost:
        raise ValueError(lost[0])


def _run_rank(
    job: Callable[[Any], None], argument: Any, place: str, rank: int, processes: int, timeout_s: float
) -> None:
    if torch.cuda.is_available():
        if local_device().index >= torch.cuda.device_count():
            raise ValueError(
                f"got {local_device().index + 1} or more processes, expected {torch.cuda.device_count()}: one a GPU"
            )
        torch.cuda.set_device(local_device())
    timeout, stopped = timedelta(seconds=timeout_s), None
    try:
        store = dist.PrefixStore(f"job {next(_JOBS)}", _meet(place, rank, processes, timeout))
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=processes, timeout=timeout)
        try:
            job(argument)
        except Stopped as error:  # On all ranks at the same step. After any other error they may wait for this one.
            stopped = error
        # The barrier lets gloo's thread free what it gathered: PyTorch 2.6 can hang for ever where the group is
        # destroyed meanwhile.
        dist.barrier()
        dist.destroy_process_group()
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise LostRankError(
            f"process {rank} of {processes} lost another one, which died or was busy for over "
            f"runtime.timeout_s={timeout_s:g}: {reason}; the same command resumes at the newest checkpoint"
        ) from error
    if stopped:
        raise stopped


@cache
def _meet(place: str, rank: int, processes: int, timeout: timedelta) -> dist.Store:
    """The store in which the ranks meet, one for all jobs: a new one would take the port or the file again."""
    store, _, _ = next(rendezvous(place, rank, processes, timeout=timeout))
    return store


@contextmanager
def only_job(folder: Path) -> Iterator[None]:
    """While this lasts, no other job writes the folder; a ValueError if it cannot be written, or leads elsewhere.

    The main process holds its lock; the others wait for it where they first compare what they have.
    """
    if not is_main():
        yield
        return
    if folder.is_dir():
        check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOCK).touch()
    except OSError as error:
        raise ValueError(f"the folder {folder} cannot be written: {error}") from error
    with locked(folder, wait_s=LOCK_WAIT_S, note=lambda text: print(text, flush=True)):
        yield
