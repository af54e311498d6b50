"""Training clips of this checkout beside those of another one, each in a process of its own; they take turns.

As a program it times the clips that it reads of, with the package that Python finds: one line of JSON in, one out.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

CLIPS = 11
"""Clips that are read of each file."""
HERE = Path(__file__).parent.parent.parent
EXPLANATION = """## Before and now

`git worktree add ../before COMMIT`, then `python tools/benchmark_data.py --only before --before ../before`. In each of
{rounds} rounds two fresh processes, one of each checkout, make the same {clips} training clips of each file (32 of 64
frames, short side 256 to 320, crop of 224, flip), clip by clip in turn, after two that are not timed. CPU time of a
clip: the mean in a round, of the rounds the median; "now / before" is the median of the rounds' ratios, then the lowest
and the highest. Where a clip cannot be made, the cause.
"""

Round = dict[str, list[float | str]]
"""By file: the seconds of a clip in both checkouts, or why there is none."""


def before(files: Sequence[tuple[str, str]], *, checkout: Path, rounds: int) -> Iterator[str]:
    """The section: CPU time of a clip, of the two in turn.

    Args:
        files: the names of files and their paths.
        checkout: the root of the other one.

    Raises:
        RuntimeError: a process ends.
    """
    from nonlocal_video.reports.texts import table  # As a program this file runs with the package of another checkout.

    yield EXPLANATION.format(clips=CLIPS, rounds=rounds)
    found = [_round([path for _, path in files], checkout, number) for number in range(rounds)]
    rows = []
    for name, path in files:
        was, now = ([times[path][which] for times in found] for which in (0, 1))
        rows.append([name, _cell(was), _cell(now), _ratio(was, now)])
    yield table(["file", "before: CPU ms", "now: CPU ms", "now / before"], rows) + "\n"


def _round(paths: Sequence[str], checkout: Path, number: int) -> Round:
    with _Timer(checkout) as old, _Timer(HERE) as new:
        found = Round()
        for path in paths:
            seconds: list[list[float | str]] = [[], []]
            for clip in (0, 1, *range(CLIPS)):
                for which in (0, 1) if (number + clip) % 2 else (1, 0):
                    seconds[which].append((old, new)[which].time(os.path.abspath(path), clip))
            found[path] = [_mean(clips[2:]) for clips in seconds]
    return found


class _Timer:
    """A process that times clips with the package of a checkout."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout

    def __enter__(self) -> "_Timer":
        environment = {**os.environ, "PYTHONPATH": str(self.checkout.resolve())}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def time(self, path: str, seed: int) -> float | str:
        """CPU seconds of a clip, or why there is none.

        Raises:
            RuntimeError: the process has ended.
        """
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([path, seed]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.checkout}: the process that makes clips has ended")
        found: float | str = json.loads(answer)
        return found


def _mean(clips: Sequence[float | str]) -> float | str:
    failed = [clip for clip in clips if isinstance(clip, str)]
    return failed[0] if failed else statistics.mean(_numbers(clips))


def _numbers(values: Sequence[float | str]) -> list[float]:
    return [value for value in values if not isinstance(value, str)]


def _cell(values: Sequence[float | str]) -> str:
    failed = [value for value in values if isinstance(value, str)]
    return f"n/a: {failed[0]}" if failed else f"{1000 * statistics.median(_numbers(values)):.1f}"


def _ratio(was: Sequence[float | str], now: Sequence[float | str]) -> str:
    if len(_numbers(was)) < len(was) or len(_numbers(now)) < len(now):
        return ""
    ratios = [new / old for old, new in zip(_numbers(was), _numbers(now), strict=True)]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def time_clip(path: str, seed: int) -> float | str:
    """CPU seconds of a training clip, or why it cannot be made."""
    # The package of the checkout whose process this is.
    from nonlocal_video.data.clips import random_clip
    from nonlocal_video.data.dataset import TrainingVideos
    from nonlocal_video.data.decode import DecodeError
    from nonlocal_video.data.transforms import training_crop
    from nonlocal_video.types import Entry

    more: dict[str, Any] = {}
    with suppress(ModuleNotFoundError):  # Checkouts from before there were tasks need none.
        from nonlocal_video.tasks.single_label import target

        more = {"target": target}
    fit: Any = partial(training_crop, jitter=(256, 320), crop=224, flip=True)
    pick = partial(random_clip, length=32, stride=2)
    videos = TrainingVideos([Entry("video", path, 0)], seed=seed, pick=pick, fit=fit, **more)
    start = time.process_time()
    try:
        videos.get(0, lost={}, started=lambda _: None)
    except DecodeError as error:
        return str(error).splitlines()[-1].rpartition(": ")[2]
    return time.process_time() - start


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(time_clip(*json.loads(line))), flush=True)
