from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nonlocal_video.data.decode import decode
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.prepare.miniature import COLOURS, GAP, Scene, make_miniature, render
from nonlocal_video.data.prepare.miniature_tables import CLASSES, FOUR_QUESTIONS, draw_table_scene

SCENES = [draw_table_scene(index, seed=0) for index in range(1600)]
PAIRS = [scene for scene in SCENES if scene.squares]
NUISANCES: dict[str, Callable[[Scene], float]] = {
    "height": lambda s: s.height,
    "width": lambda s: s.width,
    "length": lambda s: s.num_frames,
    "speed": lambda s: abs(s.drift),
}
OF_PAIRS: dict[str, Callable[[Scene], float]] = {
    **NUISANCES,
    "direction": lambda s: np.sign(s.drift),
    "first colour": lambda s: s.squares[0].colour,
    "last colour": lambda s: s.squares[1].colour,
    "first start": lambda s: s.squares[0].first,
    "last end": lambda s: s.squares[1].last,
    "first side": lambda s: s.squares[0].side,
    "last side": lambda s: s.squares[1].side,
    "distance": lambda s: float(np.hypot(s.squares[0].top - s.squares[1].top, s.squares[0].left - s.squares[1].left)),
}


def apart(values: Callable[[Scene], float], scenes: list[Scene]) -> float:
    """Standard errors between the means of the two answers."""
    groups = [np.array([values(s) for s in scenes if s.labels["questions"] % 2 == answer], float) for answer in (0, 1)]
    error = np.sqrt(sum(group.var() / len(group) for group in groups))
    return float(abs(groups[0].mean() - groups[1].mean()) / error) if error else 0.0


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("nuisance", OF_PAIRS)
def test_nothing_else_tells_whether_the_colours_are_the_same(nuisance: str, kind: int) -> None:
    scenes = [scene for scene in PAIRS if scene.labels["questions"] // 2 == kind]
    assert apart(OF_PAIRS[nuisance], scenes) < 3.5


@pytest.mark.parametrize("nuisance", NUISANCES)
def test_nothing_else_tells_the_direction(nuisance: str) -> None:
    assert apart(NUISANCES[nuisance], [scene for scene in SCENES if not scene.squares]) < 3.5


def test_classes_are_equally_frequent_and_mean_what_they_say() -> None:
    for scene in SCENES:
        name = CLASSES[scene.labels["questions"]]
        if scene.squares:
            first, last = scene.squares
            assert (first.colour == last.colour) == name.endswith("same")
            assert {first.shape, last.shape} == {
                {"one frame": "square", "one place": "disc", "across": "ring"}[name.split(":")[0]]
            }
        else:
            assert name == ("drift: up" if scene.drift < 0 else "drift: down")
    labels = np.array([scene.labels["questions"] for scene in SCENES])
    assert np.bincount(labels).tolist() == [200] * 8


def test_a_pair_shares_the_frame_the_place_or_neither() -> None:
    for scene in PAIRS:
        kind, (first, last) = CLASSES[scene.labels["questions"]].split(":")[0], scene.squares
        together = first.first < last.last and last.first < first.last
        same_place = (first.top, first.left, first.side) == (last.top, last.left, last.side)
        assert (together, same_place) == {
            "one frame": (True, False),
            "one place": (False, True),
            "across": (False, False),
        }[kind]
        assert together or last.first - first.last >= GAP
        if not same_place:
            assert max(abs(first.top - last.top), abs(first.left - last.left)) > 0.3 * min(scene.height, scene.width)


def test_every_64_frames_show_both_shapes() -> None:
    for scene in PAIRS:
        for start in range(scene.num_frames):
            window = (np.arange(64) + start) % scene.num_frames
            assert all(((square.first <= window) & (window < square.last)).sum() >= 4 for square in scene.squares)


def test_shapes_cover_what_their_names_say() -> None:
    for scene in PAIRS[:24]:
        frames, one = list(render(scene)), scene.squares[0]
        part = frames[one.first][one.top : one.top + one.side, one.left : one.left + one.side]
        share = (part == COLOURS[one.colour]).all(axis=-1).mean()
        assert share == pytest.approx({"square": 1.0, "disc": np.pi / 4, "ring": 3 / 4}[one.shape], abs=0.1)


def test_data_set_is_written_as_any_other(tmp_path: Path) -> None:
    make_miniature(tmp_path, FOUR_QUESTIONS, num_train=8, num_val=8, processes=1)
    entries = read_list(str(tmp_path / "questions_val.txt"), root=str(tmp_path), num_classes=8)
    assert [entry.label for entry in entries] == list(range(8))
    for number, entry in enumerate(entries[:6]):
        scene = draw_table_scene(8 + number, seed=0)
        decoded = decode(entry.path, lambda seconds: np.arange(len(seconds))[None], lambda _h, _w: lambda frame: frame)
        frames = decoded.frames.numpy().astype(int)
        assert len(frames) == scene.num_frames
        for square in scene.squares:
            corner = frames[square.first + 2, square.top + square.side // 2, square.left + 1 : square.left + 4]
            assert (corner[:, 0] > corner[:, 2]).all() == (square.colour == 0)
