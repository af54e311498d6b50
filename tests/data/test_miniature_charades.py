import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nonlocal_video.data.decode import decode
from nonlocal_video.data.lists.classes import read_classes
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.prepare.miniature import COLOURS, GAP, Scene, make_miniature, render
from nonlocal_video.data.prepare.miniature_charades import ACTIONS, CLASSES, FPS, FREQUENCY, HEADER, draw_action_scene
from nonlocal_video.types import TimedLabel

SCENES = [draw_action_scene(index, seed=0) for index in range(600)]


def frames_of(action: TimedLabel) -> tuple[int, int]:
    """The first and the last frame."""
    return round(action.start_s * FPS), round(action.end_s * FPS)


def test_kinds_and_answers_are_as_frequent_as_they_say() -> None:
    counts = np.bincount([action.label for scene in SCENES for action in scene.actions])
    expected = len(SCENES) * FREQUENCY * np.array([1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert (abs(counts - expected) < 4 * np.sqrt(expected)).all()
    assert any(not scene.actions for scene in SCENES)
    assert any(
        a.start_s < b.end_s and b.start_s < a.end_s for s in SCENES for a in s.actions for b in s.actions if a != b
    )


def test_actions_are_what_their_names_say() -> None:
    for scene in SCENES:
        labels = {action.label: frames_of(action) for action in scene.actions}
        shapes = {
            shape: [square for square in scene.squares if square.shape == shape] for shape in ("disc", "square", "ring")
        }
        assert len(shapes["disc"]) == (0 in labels)
        for shape, (same, other) in (("square", (1, 2)), ("ring", (3, 4))):
            pair = shapes[shape]
            assert len(pair) == 2 * ((same in labels) + (other in labels))
            if pair:
                assert (pair[0].colour == pair[1].colour) == (same in labels)
                first, last = labels.get(same) or labels[other]
                assert (min(square.first for square in pair), max(square.last for square in pair)) == (first, last + 1)
                if shape == "ring":
                    assert pair[1].first - pair[0].last >= GAP
                else:
                    assert pair[0].first == pair[1].first
        if 5 in labels or 6 in labels:
            first, last = labels.get(5) or labels[6]
            assert scene.drifting == (first, last + 1)
            assert (scene.drift > 0) == (5 in labels)
        else:
            assert scene.drift == 0


def quarter(scene: Scene, index: int) -> tuple[bool, bool]:
    one = scene.squares[index]
    return one.top + one.side / 2 > scene.height / 2, one.left + one.side / 2 > scene.width / 2


def test_squares_and_rings_have_quarters_of_their_own() -> None:
    for scene in SCENES:
        quarters = [quarter(scene, index) for index, square in enumerate(scene.squares) if square.shape != "disc"]
        assert len(set(quarters)) == len(quarters)


def test_scene_drifts_in_its_time_only() -> None:
    scene = next(scene for scene in SCENES if [action.label for action in scene.actions] == [6])
    first, last = frames_of(scene.actions[0])
    frames = list(render(scene))
    moved = [not np.array_equal(a, b) for a, b in pairwise(frames)]
    assert not any(moved[:first])
    assert sum(moved[first : last + 1]) > 0.5 * (last - first)
    assert not any(moved[last + 1 :])


def test_lists_are_in_the_form_of_charades(tmp_path: Path) -> None:
    make_miniature(tmp_path, ACTIONS, num_train=6, num_val=4, processes=1)
    with (tmp_path / "Charades_v1_train.csv").open() as file:
        assert next(csv.reader(file)) == list(HEADER)
    assert read_classes(str(tmp_path / "Charades_v1_classes.txt"), num_classes=7) == list(CLASSES)
    entries = read_list(str(tmp_path / "Charades_v1_test.csv"), root=str(tmp_path / "videos"), num_classes=7)
    assert [entry.video for entry in entries] == [f"val_{number:04d}" for number in range(4)]
    for number, entry in enumerate(entries):
        scene = draw_action_scene(6 + number, seed=0)
        assert isinstance(entry.label, tuple)
        assert [item.label for item in entry.label if isinstance(item, TimedLabel)] == [a.label for a in scene.actions]
        decoded = decode(entry.path, lambda seconds: np.arange(len(seconds))[None], lambda _h, _w: lambda frame: frame)
        assert len(decoded.frames) == scene.num_frames
        assert decoded.seconds[0, -1] == pytest.approx((scene.num_frames - 1) / FPS, abs=1e-3)
        for square in scene.squares:
            if square.shape == "square":
                middle = decoded.frames.numpy()[
                    square.first + 2, square.top + square.side // 2, square.left + square.side // 2
                ]
                assert abs(middle.astype(int) - COLOURS[square.colour]).max() < 60
