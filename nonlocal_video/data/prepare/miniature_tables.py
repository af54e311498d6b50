"""The miniature for tables of ablations: four questions in one data set, each video asks one.

Every video shows a grey textured scene that drifts up or down. Three of four show two coloured shapes in it, and the
question is whether these have the same colour: two squares at the same time, in different quarters of the frame (one
frame); two discs in the same place, one early and one late (one place); or two rings, in different quarters and one
early, one late (across). The gap in time is more than temporal pooling joins, as in `miniature.py`. The fourth shows
none, and the question is whether the scene drifts up or down. The shapes tell which question is asked, so that a
network which can answer none of them still reaches 50%.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from nonlocal_video.data.prepare import miniature as base

KINDS = ("one frame", "one place", "across", "drift")
SHAPES = ("square", "disc", "ring")
CLASSES = (*(f"{kind}: {answer}" for kind in KINDS[:3] for answer in ("different", "same")), "drift: down", "drift: up")


def draw_table_scene(index: int, *, seed: int) -> base.Scene:
    """Scene `index` of the endless series of this seed; eight in a row hold all classes."""
    rng = np.random.default_rng((seed, 7, index))
    kind, answer = index % 8 // 2, index % 2
    size, num_frames = base.draw_size(rng, base.NUM_FRAMES)
    squares = _draw_pair(rng, size, num_frames, kind=kind, same=bool(answer)) if kind < 3 else ()
    up = answer if kind == 3 else int(rng.integers(2))
    drift = base.draw_drift(rng, size, up=bool(up))
    return base.Scene(*size, num_frames, squares, drift, int(rng.integers(2**31)), {"questions": index % 8})


def _draw_pair(
    rng: np.random.Generator, size: Sequence[int], num_frames: int, *, kind: int, same: bool
) -> tuple[base.Square, ...]:
    colours, quarters = base.draw_colours(rng, same=same), base.draw_quarters(rng)
    times, middle = base.draw_times(rng, num_frames), num_frames // 2
    if KINDS[kind] == "one frame":
        times = ((middle - base.GAP - int(rng.integers(0, 4)), middle + base.GAP + int(rng.integers(0, 4))),) * 2
    num_places = 1 if KINDS[kind] == "one place" else 2
    pair = base.draw_squares(rng, size, colours[:num_places], quarters[:num_places], times[:num_places])
    if num_places == 1:
        pair = (*pair, pair[0]._replace(colour=colours[1], first=times[1][0], last=times[1][1]))
    return tuple(square._replace(shape=SHAPES[kind]) for square in pair)


_write = partial(base.write_questions, classes={"questions": CLASSES})
FOUR_QUESTIONS = base.Series("four questions", draw_table_scene, _write)
