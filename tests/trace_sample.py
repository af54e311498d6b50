"""Prints the files of the package that one sample passes: python -m tests.trace_sample

From a clip to a weight update, and from a line of a list to report.json. A sample passes a file where one of its
functions is given the sample, in any of its forms: its name, its frames, its scores.
"""

import contextlib
import io
import runpy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from nonlocal_video.data.prepare.encode import write_video

ROOT = Path(__file__).parent.parent
PACKAGE = f"{ROOT / 'nonlocal_video'}/"
NAME = "sample.mp4"
ROOMS = ("data/lists/", "data/decoders/", "models/", "metrics/", "reports/test/")
"""One stop each, however many of their files work on the sample."""
SERVANTS = ("system/", "settings/")
"""No stops."""


def carries(value: Any, depth: int = 3) -> bool:
    """Whether a value is the sample in one of its forms, or holds it."""
    if isinstance(value, str):
        return NAME in value
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.ndim > 0
    if isinstance(value, dict):
        value = tuple(value.values())
    return depth > 0 and isinstance(value, list | tuple) and any(carries(one, depth - 1) for one in value[:9])


class Trace:
    """The stops of a sample in the order in which it first comes to them, between two functions."""

    def __init__(self, first: str, last: str) -> None:
        self.first, self.last, self.stops = first, last, list[str]()
        self.recording = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return
        if event == "return" and code.co_name == self.last and self.recording:
            self.recording = False
            sys.setprofile(None)
        if event != "call" or not (self.recording or code.co_name == self.first):
            return
        self.recording = True
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(carries(frame.f_locals.get(name)) for name in names if name != "self"):
            inside = code.co_filename.removeprefix(PACKAGE)
            stop = next((room for room in ROOMS if inside.startswith(room)), inside)
            if stop not in self.stops and not stop.startswith(SERVANTS):
                self.stops.append(stop)


def traced(tool: str, arguments: Sequence[str], *, first: str, last: str) -> list[str]:
    """The stops while a tool runs."""
    trace, before = Trace(first, last), sys.argv
    sys.argv = [tool, *arguments]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            sys.setprofile(trace)
            runpy.run_path(str(ROOT / "tools" / tool), run_name="__main__")
    finally:
        sys.setprofile(None)
        sys.argv = before
    return trace.stops


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        frames = np.random.default_rng(0).integers(0, 256, (70, 60, 80, 3), dtype=np.uint8)
        write_video(f"{folder}/{NAME}", frames, fps=30)
        Path(folder, "list.txt").write_text(f"{NAME} 0\n")
        Path(folder, "classes.txt").write_text("this\nthat\n")
        run, files = f"{folder}/run", [f"data.{which}={folder}/list.txt" for which in ("train", "val")]
        own = ["model=nl_c2d_small", "clip=miniature", "optim=miniature", "optim.steps=1", "optim.clips_per_device=1"]
        data = ["data=custom", "data.name=one", f"data.root={folder}", *files, f"data.classes={folder}/classes.txt"]
        runtime = [f"runtime.runs={folder}", "runtime.workers=0", "name=run"]
        ways = {
            "a clip to a weight update": traced("train.py", [*own, *data, *runtime], first="_draw", last="train_step"),
            "a line of a list to report.json": traced(
                "test.py", [f"run={run}", "runtime.workers=0"], first="read_list", last="write_report"
            ),
        }
    for way, stops in ways.items():
        print(f"From {way}, {len(stops)} stops: `{'`, `'.join(stops)}`.")


if __name__ == "__main__":
    main()
