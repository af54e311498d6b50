"""The miniature for tables of ablations: four questions in one data set, each video asks one.

Every video shows a grey textured scene that drifts up or down. Three of four show two coloured shapes in it,
and the question is whether these have the same colour:

one frame: two squares at the same time, in different quarters of the frame;
one place: two discs in the same place, one early and one late;
across: two rings, in different quarters and one early, one late.

The gap in time is more than temporal pooling joins, as in `miniature.py`. The fourth shows none, and the question is
whether the scene drifts up or down. The shapes tell which question is asked, so that a network which can answer none of
them still reaches 50%.
"""

from functools import partial

import numpy as np

from nonlocal_video.data.prepare.miniature import (
    GAP,
    NUM_FRAMES,
    SIZES,
    Scene,
    Series,
    Square,
    draw_colours,
    draw_quarters,
    draw_speed,
    draw_square,
    write_questions,
)

KINDS = ("one frame", "one place", "across", "drift")
SHAPES = ("square", "disc", "ring")
CLASSES = (*(f"{kind}: {answer}" for kind in KINDS[:3] for answer in ("different", "same")), "drift: down", "drift: up")


def draw_table_scene(index: int, *, seed: int) -> Scene:
    """Scene `index` of the endless series of this seed; eight in a row hold all classes."""
    rng = np.random.default_rng((seed, 7, index))
    kind, answer = index % 8 // 2, index % 2
    height, width = SIZES[rng.integers(len(SIZES))]
    num_frames = int(rng.integers(NUM_FRAMES[0], NUM_FRAMES[1] + 1))
    squares = _draw_pair(rng, height, width, num_frames=num_frames, kind=kind, same=bool(answer)) if kind < 3 else ()
    up = answer if kind == 3 else int(rng.integers(2))
    speed = draw_speed(rng, height, width)
    labels = {"questions": index % 8}
    return Scene(height, width, num_frames, squares, -speed if up else speed, int(rng.integers(2**31)), labels)


def _draw_pair(
    rng: np.random.Generator, height: int, width: int, *, num_frames: int, kind: int, same: bool
) -> tuple[Square, Square]:
    first_colour, other_colour = draw_colours(rng)
    last_colour = first_colour if same else other_colour
    first_quarter, last_quarter = draw_quarters(rng)
    middle = num_frames // 2
    early = (int(rng.integers(0, 5)), middle - GAP // 2 - int(rng.integers(0, 4)))
    late = (middle + GAP // 2 + int(rng.integers(0, 4)), num_frames - int(rng.integers(0, 5)))
    if KINDS[kind] == "one frame":
        early = late = (middle - GAP - int(rng.integers(0, 4)), middle + GAP + int(rng.integers(0, 4)))
    first = draw_square(rng, height, width, quarter=first_quarter, colour=first_colour, time=early)
    if KINDS[kind] == "one place":
        last = first._replace(colour=last_colour, first=late[0], last=late[1])
    else:
        last = draw_square(rng, height, width, quarter=last_quarter, colour=last_colour, time=late)
    return first._replace(shape=SHAPES[kind]), last._replace(shape=SHAPES[kind])


FOUR_QUESTIONS = Series("four questions", draw_table_scene, partial(write_questions, questions={"questions": CLASSES}))
