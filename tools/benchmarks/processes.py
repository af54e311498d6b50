"""Memory of long runs, and the loader with its workers: what needs processes of its own."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.costs import why_absent
from benchmarks.videos import File
from benchmarks.ways import CROP, JITTER, LENGTH, STRIDE
from nonlocal_video.data.clips import random_clip, uniform_clips
from nonlocal_video.data.dataset import TestingVideos, TrainingVideos
from nonlocal_video.data.decode import DECODERS, decode
from nonlocal_video.data.loader import Loader, step_plan
from nonlocal_video.data.transforms import testing_crops, testing_frame, training_crop
from nonlocal_video.reports.texts import table
from nonlocal_video.tasks.single_label import single_label, target
from nonlocal_video.types import Entry, Views

MEMORY = """## Memory

Training clips from files of four sizes in turn, each decoder in a fresh process: resident memory in MiB before, and
after so many clips; file descriptors and threads. Then the 30 views of 128 frames (stride 1), made and cut one by one.
"""
LOADER = """## Through the loader

`Loader` with batches of 8 clips, on all the cores this program may use: clips a second of wall time, from the
moment when each worker has given a batch. Starting the workers is left out.
"""
BATCH, BATCHES = 8, 8
"""Clips; batches that are timed."""


class Usage(NamedTuple):
    """The memory, files and threads that a process holds."""

    items: int
    resident_mib: float
    peak_mib: float
    descriptors: int
    threads: int


def usage(items: int) -> Usage:
    """Asks Linux what this process holds."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resident, peak = (int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return Usage(items, resident, peak, len(os.listdir("/proc/self/fd")), int(lines["Threads"]))


def stream(files: Sequence[File], *, decoder: str) -> TrainingVideos:
    """A training stream of 32x2 clips."""
    return TrainingVideos(
        [Entry(file.path, file.path, 0) for file in files],
        seed=0,
        pick=partial(random_clip, length=LENGTH, stride=STRIDE),
        fit=partial(training_crop, jitter=JITTER, crop=CROP, flip=True),
        target=target,
        decode=partial(decode, decoder=decoder),
    )


def train_long(files: Sequence[File], *, decoder: str, marks: Sequence[int]) -> list[Usage]:
    """Loads clips, and asks after each of so many what this process holds.

    Raises:
        ValueError: a file cannot be read.
    """
    torch.set_num_threads(1)
    videos, found = stream(files, decoder=decoder), [usage(0)]
    for index in range(max(marks)):
        sample = videos.get(index, lost={}, started=lambda _: None)
        if sample.failures:
            raise ValueError(sample.failures[0].cause)
        if index + 1 in marks:
            found.append(usage(index + 1))
    return found


def test_long(file: File) -> list[Usage]:
    """Asks what this process holds before and after 30 views of 128 frames.

    Raises:
        ValueError: the file cannot be read.
    """
    torch.set_num_threads(1)
    videos = TestingVideos(
        [Entry(file.name, file.path, 0)],
        pick=partial(uniform_clips, num_clips=10, length=128, stride=1),
        fit=partial(testing_frame, short_side=256),
        crops=partial(testing_crops, crops="3"),
    )
    before = usage(0)
    views = videos.get(0, lost={}, started=lambda _: None).views
    if not isinstance(views, Views):
        raise ValueError(views.cause)
    made = usage(1)
    cut = sum(len(chunk) for chunk in views.chunks(1))
    return [before, made, usage(cut)]


def fresh(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Runs a function in a new process that has nothing of this one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **options).result()


def memory(files: Sequence[File], *, long: File, num_items: int) -> Iterator[str]:
    """The section, part by part.

    Raises:
        ValueError: a file cannot be read.
    """
    yield MEMORY
    if not Path("/proc/self/status").exists():
        yield "n/a: only Linux tells what a process holds.\n"
        return
    marks, rows = sorted({max(num_items // 10, 1), max(num_items // 2, 1), num_items}), []
    for decoder in DECODERS:
        reason = next((reason for file in files if (reason := why_absent(f"ours, {decoder}", file))), None)
        if reason is not None:
            rows.append([f"ours, {decoder}", f"n/a: {reason}", *[""] * (len(marks) + 3)])
            continue
        found: list[Usage] = fresh(train_long, files, decoder=decoder, marks=marks)
        cells = [f"{held.resident_mib:.0f}" for held in found] + [f"{found[-1].peak_mib:.0f}"]
        cells += [" ".join(str(held.descriptors) for held in found), " ".join(str(held.threads) for held in found)]
        rows.append([f"ours, {decoder}", *cells])
    head = ["before", *(f"after {mark}" for mark in marks)]
    yield table(["decoder", *head, "peak", "descriptors", "threads"], rows) + "\n"
    before, made, cut = fresh(test_long, long)
    yield (
        f"30 views of 128 frames of {long.name}: {before.resident_mib:.0f} MiB before; peak {made.peak_mib:.0f} "
        f"when the frames are there, {cut.peak_mib:.0f} after all {cut.items} views were cut one by one.\n"
    )


def loader(file: File, *, workers: Sequence[int]) -> Iterator[str]:
    """The section, part by part.

    Raises:
        DecodeError: the file cannot be read.
    """
    yield LOADER
    rows = []
    for number in workers:
        rate = _clips_a_second(file, workers=number)
        rows.append([str(number), f"{rate:.1f}", f"{rate / float(rows[0][1]):.2f}" if rows else "1.00"])
    yield f"{file.name}:\n"
    yield table(["workers", "clips a second", "x"], rows) + "\n"


def _clips_a_second(file: File, *, workers: int) -> float:
    first = max(workers, 1)
    plan = step_plan(first_step=0, last_step=first + BATCHES, clips_per_rank=BATCH, rank=0, world_size=1)
    start = 0.0
    collate = single_label(1).collate
    batches = Loader(stream([file], decoder="pyav"), plan, collate=collate, workers=workers, limit_s=60)
    for number, batch in enumerate(batches):
        if batch.failures:
            raise ValueError(batch.failures[0].cause)
        if number == first - 1:
            start = time.perf_counter()
    return BATCH * BATCHES / (time.perf_counter() - start)
