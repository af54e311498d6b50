"""The 30 views of a video, decoded once, beside 30 decodes and beside ffmpeg's bare decoding."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.costs import Cost, Turn, against, ffmpeg, ffmpeg_version, interleaved, median, why_absent
from benchmarks.videos import File
from nonlocal_video.data.clips import uniform_clips
from nonlocal_video.data.dataset import TestingVideos
from nonlocal_video.data.decode import decode
from nonlocal_video.data.transforms import resize, short_side_size, testing_crops, testing_frame
from nonlocal_video.reports.texts import table
from nonlocal_video.types import Entry, Views

EXPLANATION = """## Testing: 30 views of a video

10 clips of 32 of 64 frames x 3 crops of 256: `TestingVideos.get(...)`, and all its views cut, one by one. "30 decodes"
is the naive way by our own decoder: each view by itself, its clip decoded, resized and cropped. Before the clock ran,
views 0, 7, 14, 21 and 28 of all ways were the same bit by bit. "ffmpeg" is `ffmpeg -v error -threads 1 -i FILE -an -f
null -`, which decodes every frame and throws it away: user and system time of the whole process, nothing subtracted.
Medians; the ways take turns, each of which begins with a run that is not timed.
"""
SHORT_SIDE, NUM_CLIPS, CROPS, CHUNK = 256, 10, "3", 1
CHECKED = range(0, 30, 7)
NAIVE, FFMPEG = "30 decodes, pyav", "ffmpeg"
NAIVE_TARGET = 9.0
FFMPEG_TARGETS = {"340x256, GOP 250": 1.3, "340x256, GOP 12": 1.3, "1280x720, GOP 250": 2.1}
"""At most so many times ffmpeg's CPU time."""


def test(files: Sequence[File], *, repeats: int) -> Iterator[str]:
    """The section, part by part.

    Raises:
        ValueError: a decoder fails, or the naive way gives other views.
    """
    yield EXPLANATION
    for file in files:
        turns = dict[str, Turn]()
        reasons = dict[str, str]()
        for name, way in WAYS.items():
            reason = why_absent(name, file)
            if reason is not None:
                reasons[name] = reason
                continue
            step = partial(way, file)
            turns[name] = Turn(step if name != NAIVE else partial(one_view, file, number=0), [step])
        _check(file, [name.removeprefix("ours, ") for name in turns if name != NAIVE])
        if ffmpeg_version() is None:
            reasons[FFMPEG] = "the program is not there"
        costs = _measure(file, turns, with_ffmpeg=FFMPEG not in reasons, repeats=repeats)
        yield f"### {file.name}\n"
        rows = [_row(file, name, costs, reasons) for name in (*WAYS, FFMPEG)]
        yield table(["way", "CPU ms", "wall ms", "CPU / ours, pyav", "ours, pyav / CPU", "target"], rows) + "\n"


def _measure(file: File, turns: dict[str, Turn], *, with_ffmpeg: bool, repeats: int) -> dict[str, Cost]:
    bare = list[Cost]()
    if with_ffmpeg:
        turns = {**turns, FFMPEG: Turn(lambda: None, [lambda: bare.append(ffmpeg(file.path))])}
    costs = interleaved(turns, repeats=repeats)
    if with_ffmpeg:
        costs[FFMPEG] = median(bare)  # Its time is that of another process.
    return costs


def views_of(file: File, *, decoder: str) -> Views:
    """The views as tools/test.py has them made.

    Raises:
        ValueError: the file cannot be read.
    """
    videos = TestingVideos(
        [Entry(file.name, file.path, 0)],
        pick=partial(uniform_clips, num_clips=NUM_CLIPS, length=32, stride=2),
        fit=partial(testing_frame, short_side=SHORT_SIDE),
        crops=partial(testing_crops, crops=CROPS),
        decode=partial(decode, decoder=decoder),
    )
    views = videos.get(0, lost={}, started=lambda _: None).views
    if not isinstance(views, Views):
        raise ValueError(views.cause)
    return views


def ours(file: File, *, decoder: str) -> None:
    """Cuts all views; one is held at a time, as by those who decode each by itself."""
    for _ in views_of(file, decoder=decoder).chunks(CHUNK):
        pass


def naive(file: File) -> None:
    """Makes one view after the other."""
    for number in range(NUM_CLIPS * int(CROPS)):
        one_view(file, number=number)


def one_view(file: File, *, number: int) -> Tensor:
    """(3, T, S, S) uint8: one view, by a decode of its own."""
    clip, crop = divmod(number, int(CROPS))

    def pick(seconds: np.ndarray) -> np.ndarray:
        return uniform_clips(seconds, num_clips=NUM_CLIPS, length=32, stride=2)[clip : clip + 1]

    def fit(height: int, width: int) -> Callable[[Tensor], Tensor]:
        size = short_side_size(height, width, SHORT_SIDE)
        top, left = testing_crops(*size, crops=CROPS)[0][crop]
        return lambda frame: resize(frame, size)[top : top + SHORT_SIDE, left : left + SHORT_SIDE]

    frames, rows, _ = decode(file.path, pick, fit)
    return frames[rows[0]].permute(3, 0, 1, 2)


WAYS: dict[str, Callable[[File], None]] = {
    "ours, pyav": partial(ours, decoder="pyav"),
    "ours, decord": partial(ours, decoder="decord"),
    "ours, torchcodec": partial(ours, decoder="torchcodec"),
    NAIVE: naive,
}


def _check(file: File, decoders: Sequence[str]) -> None:
    """Fails unless views of each decoder are those of decodes of their own."""
    expected = {number: one_view(file, number=number) for number in CHECKED}
    for decoder in decoders:
        views = [view for chunk in views_of(file, decoder=decoder).chunks(CHUNK) for view in chunk]
        for number, view in expected.items():
            if not torch.equal(views[number], view):
                raise ValueError(f"{file.path}: view {number} of ours, {decoder}, is not that of a decode of its own")


def _row(file: File, name: str, costs: dict[str, Cost], reasons: dict[str, str]) -> list[str]:
    if name not in costs:
        return [name, f"n/a: {reasons[name]}", "", "", "", ""]
    cost, own = costs[name], costs["ours, pyav"]
    ratio, target = cost.cpu_s / own.cpu_s, ""
    if name == NAIVE:
        target = against(NAIVE_TARGET, ratio, at_least=True)
    elif name == FFMPEG:
        target = against(FFMPEG_TARGETS.get(file.name), 1 / ratio, at_least=False)
    return [name, f"{1000 * cost.cpu_s:.0f}", f"{1000 * cost.wall_s:.0f}", f"{ratio:.2f}", f"{1 / ratio:.2f}", target]
