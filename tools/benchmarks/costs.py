"""The cost of a step, and how it is written down."""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import NamedTuple
from unittest import mock

from benchmarks.videos import File
from nonlocal_video.data.decode import DECODERS, check_decoder
from nonlocal_video.data.decoders import fallback
from nonlocal_video.data.decoders.source import Deadline


class Cost(NamedTuple):
    """Seconds of one step."""

    cpu_s: float
    """User and system time of the process, all threads."""
    wall_s: float


def cost_of(step: Callable[[], object]) -> Cost:
    """One run."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


class Turn(NamedTuple):
    """The calls of one way when it is its turn."""

    warm_up: Callable[[], object]
    """Not timed: what the way before left in the caches and the heap is not this way's."""
    steps: Sequence[Callable[[], object]]


def interleaved(turns: Mapping[str, Turn], *, repeats: int) -> dict[str, Cost]:
    """The mean cost of each way over its steps, of medians; ways take turns, so that a slow minute meets all."""
    costs: dict[str, list[list[Cost]]] = {name: [] for name in turns}
    for _ in range(repeats):
        for name, turn in turns.items():
            turn.warm_up()
            costs[name].append([cost_of(step) for step in turn.steps])
    return {name: mean([median(step) for step in zip(*found, strict=True)]) for name, found in costs.items()}


def mean(costs: Sequence[Cost]) -> Cost:
    return Cost(statistics.mean(cost.cpu_s for cost in costs), statistics.mean(cost.wall_s for cost in costs))


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(statistics.median(cost.cpu_s for cost in costs), statistics.median(cost.wall_s for cost in costs))


def ffmpeg(path: str) -> Cost:
    """One run of the ffmpeg program that decodes every frame and throws it away.

    Raises:
        RuntimeError: it failed.
    """
    command = ["ffmpeg", "-nostdin", "-v", "error", "-threads", "1", "-i", path, "-an", "-f", "null", "-"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{path}: ffmpeg ended with exit code {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start)


def ffmpeg_version() -> str | None:
    """None if the program is not there."""
    if shutil.which("ffmpeg") is None or not hasattr(os, "wait4"):
        return None
    first = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    return " ".join(first.split()[:3])


def why_absent(name: str, file: File) -> str | None:
    """Why a way "library, decoder" cannot be measured on a file; None if it can."""
    library, _, decoder = name.partition(", ")
    if library == "pytorchvideo" and find_spec("pytorchvideo") is None:
        return "pytorchvideo is not installed"
    if library == "pytorchvideo":
        return "decord is not installed" if decoder == "decord" and find_spec("decord") is None else None
    decoder = decoder.partition(",")[0]
    if decoder in DECODERS:
        try:
            check_decoder(decoder)
        except ValueError as error:
            return str(error)
        if _hands_over(decoder, file.path):
            return f"{decoder} leaves this file to PyAV"
    return None


def _hands_over(decoder: str, path: str) -> bool:
    with (
        mock.patch.object(fallback, "open_pyav", wraps=fallback.open_pyav) as spy,
        DECODERS[decoder](path, Deadline(None)),
    ):
        return bool(spy.called)


def against(target: float | None, value: float, *, at_least: bool) -> str:
    """A target and whether it was reached."""
    if target is None:
        return "no target"
    reached = value >= target if at_least else value <= target
    return f"target: at {'least' if at_least else 'most'} {target:g}, {'reached' if reached else 'MISSED'}"


def title(file: File) -> str:
    return (
        f"{file.name}: {file.width} x {file.height}, {file.num_frames} frames, {file.fps:g} a second, "
        f"{file.kbits_per_s:.0f} kbit/s"
    )
