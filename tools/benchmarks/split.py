"""The parts of the time that a training clip takes, by timers around named functions of the package."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest import mock

import av

from benchmarks.videos import File
from benchmarks.ways import get, spread, training_videos
from nonlocal_video.data import decode as decoding
from nonlocal_video.data.decoders import pyav
from nonlocal_video.reports.texts import table

EXPLANATION = """## Where the time of a training clip goes

Ours, pyav: CPU ms (and %), of each clip the median over the repeats, after one to warm up, and of these the mean over
the clips. Timers wrap functions of the package from the outside; every moment counts for the innermost one. "Copy" puts
the frames side by side in memory and makes the clip of them; "rest" chooses frames and closes the file.
"""
PARTS = ("open", "count", "seek and decode", "colour", "resize and crop", "copy", "rest")


class Watch:
    """Splits CPU time among nested parts."""

    def __init__(self) -> None:
        self.seconds = Counter[str]()
        self._parts = ["outside"]
        self._since = time.process_time()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """While this part runs."""
        self._turn()
        self._parts.append(name)
        try:
            yield
        finally:
            self._turn()
            self._parts.pop()

    def _turn(self) -> None:
        now = time.process_time()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                return function(*arguments, **options)

        return timed

    def iterate(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        """The items, with the making of each timed."""
        while True:
            with self.part(name):
                item = next(items, None)
            if item is None:
                return
            yield item


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Puts the timers around the package's functions."""
    fitted = decoding._fitted

    def timed_fitted(images: Iterator[Any], fit: Callable[..., Any], **options: Any) -> Any:
        def timed_fit(height: int, width: int) -> Callable[..., Any]:
            return watch.wrap("resize and crop", fit(height, width))

        with watch.part("copy"):
            return fitted(watch.iterate("seek and decode", images), timed_fit, **options)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(decoding, "_fitted", timed_fitted))
        for owner, name, part in (
            (av, "open", "open"),
            (pyav, "read_index", "count"),
            (pyav._ToRgb, "__call__", "colour"),
        ):
            stack.enter_context(mock.patch.object(owner, name, watch.wrap(part, getattr(owner, name))))
        yield


def measure(file: File, *, seed: int) -> dict[str, float]:
    """Seconds of each part for one clip.

    Raises:
        ValueError: the file cannot be read.
    """
    watch = Watch()
    videos = training_videos(file, seed=seed, decoding=watch.wrap("rest", partial(decoding.decode, decoder="pyav")))
    with watched(watch), watch.part("copy"):
        get(videos)
    return {part: watch.seconds[part] for part in PARTS}


def split(files: Sequence[File], *, num_clips: int, repeats: int) -> Iterator[str]:
    """The section, part by part.

    Raises:
        ValueError: a file cannot be read.
    """
    yield EXPLANATION
    rows = []
    for file in files:
        clips = spread(file, num_clips=num_clips)
        found = [[measure(file, seed=clip.seed) for _ in range(repeats + 1)][1:] for clip in clips]
        parts = {
            part: statistics.mean(statistics.median(repeat[part] for repeat in repeated) for repeated in found)
            for part in PARTS
        }
        whole = sum(parts.values())
        cells = [f"{1000 * seconds:.1f} ({100 * seconds / whole:.0f})" for seconds in parts.values()]
        rows.append([file.name, *cells, f"{1000 * whole:.1f}"])
    yield table(["videos", *PARTS, "all"], rows) + "\n"
