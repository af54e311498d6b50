"""Training clips of this checkout beside those of another one; each run is a process of its own.

As a program it times clips of files with the package that Python finds: python tools/benchmarks/before.py FILE ...
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

CLIPS = 12
"""Of each file; the first is not timed."""
HERE = Path(__file__).parent.parent.parent
EXPLANATION = """## Before and now

`git worktree add ../before COMMIT`, then `python tools/benchmark_data.py --only before --before ../before`. The two
checkouts take turns, {rounds} runs each: a fresh process makes the same {clips} training clips of each file (32 of 64
frames, short side 256 to 320, crop of 224, flip), and one before them that is not timed. CPU time of a clip: the mean
in a run, the median of the runs. Where a clip cannot be made, the cause.
"""

Runs = list[dict[str, float | str]]
"""Of each run, seconds of a clip by the file, or why there is none."""


def before(files: Sequence[tuple[str, str]], *, checkout: Path, rounds: int) -> Iterator[str]:
    """The section: CPU time of a clip, of the two in turn.

    Args:
        files: the names of files and their paths.
        checkout: the root of the other one.

    Raises:
        RuntimeError: a run fails.
    """
    yield EXPLANATION.format(clips=CLIPS - 1, rounds=rounds)
    paths = [os.path.abspath(path) for _, path in files]
    old, new = Runs(), Runs()
    for _ in range(rounds):
        old.append(_run(checkout, paths))
        new.append(_run(HERE, paths))
    lines = ["| file | before: CPU ms | now: CPU ms | now / before |", "|---|---|---|---|"]
    for (name, _), path in zip(files, paths, strict=True):
        was, now = _median(old, path), _median(new, path)
        ratio = "" if isinstance(was, str) or isinstance(now, str) else f"{now / was:.3f}"
        lines.append(f"| {name} | {_cell(was)} | {_cell(now)} | {ratio} |")
    yield "\n".join(lines) + "\n"


def _run(checkout: Path, paths: Sequence[str]) -> dict[str, float | str]:
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    command = [sys.executable, __file__, *paths]
    run = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=checkout)
    if run.returncode:
        raise RuntimeError(f"{checkout}: {run.stderr.strip()[-500:]}")
    found: dict[str, float | str] = json.loads(run.stdout)
    return found


def _median(runs: Runs, path: str) -> float | str:
    found = [run[path] for run in runs]
    failed = [one for one in found if isinstance(one, str)]
    return failed[0] if failed else statistics.median(one for one in found if not isinstance(one, str))


def _cell(value: float | str) -> str:
    return f"n/a: {value}" if isinstance(value, str) else f"{1000 * value:.1f}"


def time_clips(path: str) -> float | str:
    """CPU seconds of a training clip, or why it cannot be made."""
    # The package of the checkout whose turn it is.
    from nonlocal_video.data.clips import random_clip
    from nonlocal_video.data.dataset import TrainingVideos
    from nonlocal_video.data.transforms import training_crop
    from nonlocal_video.types import Entry

    seconds = []
    for seed in range(CLIPS):
        videos = TrainingVideos(
            [Entry("video", path, 0)],
            seed=seed,
            pick=partial(random_clip, length=32, stride=2),
            fit=partial(training_crop, jitter=(256, 320), crop=224, flip=True),
        )
        start = time.process_time()
        try:
            sample = videos.get(0, lost={}, started=lambda _: None)
        except ValueError as error:
            return str(error).strip().splitlines()[-1].rpartition(": ")[2]
        if sample.failures:
            return sample.failures[0].cause.rpartition(": ")[2]
        seconds.append(time.process_time() - start)
    return statistics.mean(seconds[1:])


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    print(json.dumps({path: time_clips(path) for path in sys.argv[1:]}))
