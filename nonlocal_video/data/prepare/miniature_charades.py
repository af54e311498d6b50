"""The miniature of Charades: long videos with several actions that overlap, and lists in Charades' own form.

Every video shows a grey textured scene, and some of these, each for a part of the time: a disc in the middle; two
squares in different quarters of the frame, of one colour or of two; a ring in a quarter, and after a gap another in
another quarter that echoes it, in its colour or in the other; the scene drifts, up or down. A disc is seen in any
frame, squares take the comparison of two places, rings of two places and times, and the drift a convolution over time.
Some videos show nothing, as some of Charades have no actions.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nonlocal_video.data.prepare import miniature as base
from nonlocal_video.types import TimedLabel

FPS = 24
NUM_FRAMES = (168, 240)
"""Shortest and longest video: 7 to 10 seconds."""
CLASSES = (
    "a disc is there",
    "two squares of one colour",
    "two squares of two colours",
    "a ring is echoed in its colour",
    "a ring is echoed in the other colour",
    "the scene drifts down",
    "the scene drifts up",
)
HEADER = ("id", "subject", "scene", "quality", "relevance", "verified", "script", "objects", "descriptions", "actions",
          "length")  # fmt: skip
"""The columns of the official lists."""
DURATION = (48, 96)
"""Frames of an action."""
FREQUENCY = 0.55
"""The share of the videos that show each of the four kinds."""


def draw_action_scene(index: int, *, seed: int) -> base.Scene:
    """Scene `index` of the endless series of this seed."""
    rng = np.random.default_rng((seed, 11, index))
    size, num_frames = base.draw_size(rng, NUM_FRAMES)
    times = [_draw_time(rng, num_frames) for _ in range(4)]
    shown, answers = rng.random(4) < FREQUENCY, rng.integers(0, 2, 4)
    quarters = rng.permutation(base.QUARTERS)
    squares = list[base.Square]()
    if shown[1]:
        colours = base.draw_colours(rng, same=answers[1] == 0)
        squares += base.draw_squares(rng, size, colours, quarters[:2], [times[1]] * 2)
    if shown[2]:
        first, last = times[2]
        middle = (first + last) // 2
        parts = [(first, middle - base.GAP // 2), (middle + base.GAP // 2, last)]
        rings = base.draw_squares(rng, size, base.draw_colours(rng, same=answers[2] == 0), quarters[2:], parts)
        squares += [ring._replace(shape="ring") for ring in rings]
    if shown[0]:
        side = int(min(size) * rng.uniform(0.2, 0.25))
        top, left = ((length - side) // 2 for length in size)
        squares.append(base.Square(base.draw_colours(rng, same=True)[0], top, left, side, *times[0], shape="disc"))
    labels = (0, 1 + answers[1], 3 + answers[2], 5 + answers[3])
    actions = [
        TimedLabel(int(label), first / FPS, (last - 1) / FPS)
        for label, (first, last), is_there in zip(labels, times, shown, strict=True)
        if is_there
    ]
    drift = base.draw_drift(rng, size, up=answers[3] == 1) if shown[3] else 0.0
    texture = int(rng.integers(2**31))
    return base.Scene(*size, num_frames, tuple(squares), drift, texture, {}, tuple(actions), times[3])


def _draw_time(rng: np.random.Generator, num_frames: int) -> base.Span:
    duration = int(rng.integers(DURATION[0], DURATION[1] + 1))
    first = int(rng.integers(0, num_frames - duration + 1))
    return first, first + duration


def write_charades(folder: Path, names: Sequence[str], scenes: Sequence[base.Scene], num_train: int) -> None:
    """Writes `Charades_v1_train.csv`, `Charades_v1_test.csv` and `Charades_v1_classes.txt`."""
    classes = "".join(f"c{label:03d} {name}\n" for label, name in enumerate(CLASSES))
    (folder / "Charades_v1_classes.txt").write_text(classes)
    rows = list(zip(names, scenes, strict=True))
    for which, part in (("train", rows[:num_train]), ("test", rows[num_train:])):
        with (folder / f"Charades_v1_{which}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, HEADER, restval="", lineterminator="\n")
            writer.writeheader()
            for name, scene in part:
                actions = ";".join(f"c{label:03d} {start_s:.2f} {end_s:.2f}" for label, start_s, end_s in scene.actions)
                length = f"{scene.num_frames / FPS:.2f}"
                writer.writerow({"id": Path(name).stem, "actions": actions, "length": length})


ACTIONS = base.Series("actions", draw_action_scene, write_charades, fps=FPS)
