"""The miniature: small real videos of scenes that are drawn at random, and the lists that go with them.

Here are the two questions for newcomers, one for each idea of the paper; `miniature_tables.py` has the four for the
tables of ablations. Every video shows a grey textured scene that drifts up or down, a coloured square in its first part
and another, elsewhere in the frame, in its last part.

relation: have the two squares the same colour? The squares never share a frame, nor the few frames that temporal
    pooling joins, so a sum over local features cannot tell; comparing all pairs of positions can.
motion: does the scene drift up or down? Up is down played backwards, and C2D, which pools time but never convolves it,
    cannot tell one from the other, with non-local blocks or without.

Everything else (sizes, length, places, times, colours, speed, texture) is drawn apart from both answers, and all four
pairs of answers are equally frequent.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from nonlocal_video.data.prepare.encode import write_video
from nonlocal_video.data.prepare.written import make_once
from nonlocal_video.types import TimedLabel

VERSION = 2
QUESTIONS = {"relation": ("different", "same"), "motion": ("down", "up")}
SIZES = ((64, 80), (80, 64), (64, 64), (80, 80), (80, 96), (96, 80))
"""Height and width in pixels: multiples of 16, since decord fails on some others (72 wide, say)."""
NUM_FRAMES = (70, 88)
"""Shortest and longest video; a 32x2 clip spans 64 frames."""
GAP = 16
"""Frames without a square between the first and the second: more than temporal pooling joins."""
QUARTERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))
"""Quarters of the frame: down and right of its centre."""
COLOURS = ((220, 40, 40), (40, 80, 230))

Span = tuple[int, int]
"""A frame, and another up to which, not including, something is shown."""


class Square(NamedTuple):
    """A coloured shape: pixels from (top, left), frames from first up to, not including, last."""

    colour: int
    top: int
    left: int
    side: int
    first: int
    last: int
    shape: str = "square"
    """square, disc or ring (a square with a square hole)."""

    def mask(self) -> np.ndarray:
        """The pixels (side, side) that are coloured."""
        across = np.abs(np.arange(self.side) - (self.side - 1) / 2)
        if self.shape == "disc":
            return np.hypot(across[:, None], across) <= self.side / 2
        if self.shape == "ring":
            return np.maximum(across[:, None], across) > self.side / 4
        return np.ones((self.side, self.side), bool)


class Scene(NamedTuple):
    """All that a video shows."""

    height: int
    width: int
    num_frames: int
    squares: tuple[Square, ...]
    drift: float
    """Pixels per frame, downwards."""
    texture_seed: int
    labels: dict[str, int]
    """The answer to each question, as an index into its classes."""
    actions: tuple[TimedLabel, ...] = ()
    """The actions of a scene that shows several, with their times."""
    drifting: Span | None = None
    """The frames in which the scene drifts; None for all."""

    def shift(self, t: int) -> int:
        """How many pixels the scene has drifted downwards at frame t."""
        first, last = self.drifting or (0, self.num_frames)
        return round(self.drift * (min(max(t, first), last) - first))


def draw_scene(index: int, *, seed: int) -> Scene:
    """Scene `index` of the endless series of this seed; four in a row hold all pairs of answers."""
    rng = np.random.default_rng((seed, index))
    same, up = index % 2, index // 2 % 2
    size, num_frames = draw_size(rng, NUM_FRAMES)
    colours, quarters, times = draw_colours(rng, same=bool(same)), draw_quarters(rng), draw_times(rng, num_frames)
    squares, drift = draw_squares(rng, size, colours, quarters, times), draw_drift(rng, size, up=bool(up))
    return Scene(*size, num_frames, squares, drift, int(rng.integers(2**31)), {"relation": same, "motion": up})


def draw_size(rng: np.random.Generator, num_frames: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Height and width of a video, and its number of frames, from the shortest to the longest."""
    return SIZES[rng.integers(len(SIZES))], int(rng.integers(num_frames[0], num_frames[1] + 1))


def draw_colours(rng: np.random.Generator, *, same: bool) -> tuple[int, int]:
    """Two colours, which are the same or not."""
    first = int(rng.integers(len(COLOURS)))
    other = (first + int(rng.integers(1, len(COLOURS)))) % len(COLOURS)
    return first, first if same else other


def draw_quarters(rng: np.random.Generator) -> np.ndarray:
    """Two neighbouring or opposite quarters (2, 2) around the centre: visible whatever the training crop."""
    return rng.permutation(QUARTERS)[:2]


def draw_times(rng: np.random.Generator, num_frames: int) -> tuple[Span, Span]:
    """The first and the last part of a video, with a gap between them."""
    middle = num_frames // 2
    early = (int(rng.integers(0, 5)), middle - GAP // 2 - int(rng.integers(0, 4)))
    return early, (middle + GAP // 2 + int(rng.integers(0, 4)), num_frames - int(rng.integers(0, 5)))


def draw_squares(
    rng: np.random.Generator, size: Sequence[int], colours: Sequence[int], quarters: np.ndarray, times: Sequence[Span]
) -> tuple[Square, ...]:
    """A square for each colour, in its quarter of the frame and its time."""
    squares = list[Square]()
    for colour, quarter, time in zip(colours, quarters, times, strict=True):
        side = int(min(size) * rng.uniform(0.26, 0.32))
        centre = np.array(size) / 2 + quarter * min(size) * rng.uniform(0.17, 0.23, 2)
        top, left = (centre - side / 2).astype(int)
        squares.append(Square(colour, int(top), int(left), side, *time))
    return tuple(squares)


def draw_drift(rng: np.random.Generator, size: Sequence[int], *, up: bool) -> float:
    """Pixels per frame, downwards."""
    speed = float(rng.uniform(0.8, 1.2)) * min(size) / 80
    return -speed if up else speed


def render(scene: Scene) -> Iterator[np.ndarray]:
    """The frames (H, W, 3) uint8 of a scene."""
    height, width, rng = 2 * scene.height, scene.width, np.random.default_rng(scene.texture_seed)
    # Grey noise with waves of 8 to 24 pixels, periodic in both directions.
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    band = (frequency > 1 / 24) & (frequency < 1 / 8)
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((height, width))) * band).real
    texture = np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)
    for t in range(scene.num_frames):
        shifted = np.roll(texture, scene.shift(t), axis=0)[: scene.height]
        frame = np.repeat(shifted[..., None], 3, axis=2)
        for square in scene.squares:
            if square.first <= t < square.last:
                part = frame[square.top : square.top + square.side, square.left : square.left + square.side]
                part[square.mask()] = COLOURS[square.colour]
        yield frame


class Series(NamedTuple):
    """An endless series of scenes, and what is asked about them."""

    name: str
    draw: Callable[..., Scene]
    """draw(index, seed=...)."""
    write_lists: Callable[[Path, Sequence[str], Sequence[Scene], int], None]
    """write_lists(folder, names of the videos, their scenes, how many of them are for training)."""
    fps: int = 30


def write_questions(
    folder: Path, names: Sequence[str], scenes: Sequence[Scene], num_train: int, *, classes: Mapping[str, Sequence[str]]
) -> None:
    """Writes `<question>_train.txt`, `_val.txt` (lines `videos/name.mp4 label`) and `_classes.txt`, a name a line."""
    for question, answers in classes.items():
        (folder / f"{question}_classes.txt").write_text("".join(f"{name}\n" for name in answers))
        lines = [f"{name} {scene.labels[question]}\n" for name, scene in zip(names, scenes, strict=True)]
        (folder / f"{question}_train.txt").write_text("".join(lines[:num_train]))
        (folder / f"{question}_val.txt").write_text("".join(lines[num_train:]))


Job = tuple[Path, Series, int, int]
"""A video to write: where, of which series, its number in it, and the seed."""

TWO_QUESTIONS = Series("two questions", draw_scene, partial(write_questions, classes=QUESTIONS))


def make_miniature(
    folder: Path, series: Series = TWO_QUESTIONS, *, num_train: int, num_val: int, seed: int = 0, processes: int = 2
) -> None:
    """Writes `videos/*.mp4` and the lists of the series below `folder`; one made from the same arguments is kept.

    Raises:
        ValueError: the folder holds something that this function did not make.
    """
    made_from = {"version": VERSION, "series": series.name, "num_train": num_train, "num_val": num_val, "seed": seed}
    make_once(folder, made_from, lambda: _make(folder, series, num_train, num_val, seed, processes))


def _make(folder: Path, series: Series, num_train: int, num_val: int, seed: int, processes: int) -> None:
    shutil.rmtree(folder / "videos", ignore_errors=True)
    (folder / "videos").mkdir()
    parts = {"train": num_train, "val": num_val}
    names = [f"videos/{part}_{i:04d}.mp4" for part, number in parts.items() for i in range(number)]
    jobs = [(folder / name, series, index, seed) for index, name in enumerate(names)]
    scenes = list(tqdm(_written(jobs, processes), total=len(jobs), desc=folder.name, unit="video"))
    series.write_lists(folder, names, scenes, num_train)


def _written(jobs: Sequence[Job], processes: int) -> Iterator[Scene]:
    """Writes the videos, one after the other in this process if there is to be one; gives their scenes in order."""
    if processes == 1:
        yield from map(_write, jobs)
        return
    with get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(_write, jobs, chunksize=8)


def _write(job: Job) -> Scene:
    path, series, index, seed = job
    scene = series.draw(index, seed=seed)
    # A key frame falls into every gap: no trace of the first square is left when the second appears.
    write_video(path, render(scene), fps=series.fps, gop=GAP - 4)
    return scene
