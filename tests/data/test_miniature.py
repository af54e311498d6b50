import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nonlocal_video.data.decode import decode
from nonlocal_video.data.lists.classes import read_classes
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.prepare.miniature import GAP, QUESTIONS, Scene, draw_scene, make_miniature

SCENES = [draw_scene(index, seed=0) for index in range(1280)]
NUISANCES: dict[str, Callable[[Scene], float]] = {
    "height": lambda s: s.height,
    "width": lambda s: s.width,
    "length": lambda s: s.num_frames,
    "first colour": lambda s: s.squares[0].colour,
    "last colour": lambda s: s.squares[1].colour,
    "first start": lambda s: s.squares[0].first,
    "first end": lambda s: s.squares[0].last,
    "last start": lambda s: s.squares[1].first,
    "last end": lambda s: s.squares[1].last,
    "first side": lambda s: s.squares[0].side,
    "last side": lambda s: s.squares[1].side,
    "distance": lambda s: float(np.hypot(s.squares[0].top - s.squares[1].top, s.squares[0].left - s.squares[1].left)),
    "speed": lambda s: abs(s.drift),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("nuisance", NUISANCES)
def test_nothing_else_tells_the_answer(nuisance: str, question: str) -> None:
    """Each property has the same mean for both answers: the difference stays within 3.5 standard errors."""
    values = np.array([NUISANCES[nuisance](scene) for scene in SCENES], float)
    labels = np.array([scene.labels[question] for scene in SCENES])
    groups = [values[labels == label] for label in (0, 1)]
    error = np.sqrt(sum(group.var() / len(group) for group in groups))
    assert abs(groups[0].mean() - groups[1].mean()) < 3.5 * error


def test_the_answers_to_both_questions_are_balanced_together() -> None:
    pairs = [(scene.labels["relation"], scene.labels["motion"]) for scene in SCENES]
    assert {pair: pairs.count(pair) for pair in set(pairs)} == {(a, b): 320 for a in (0, 1) for b in (0, 1)}


def test_squares_are_far_apart_in_time_and_place_and_within_the_frame() -> None:
    for scene in SCENES:
        first, last = scene.squares
        assert last.first - first.last >= GAP
        assert scene.num_frames > 64
        assert max(abs(first.top - last.top), abs(first.left - last.left)) > 0.3 * min(scene.height, scene.width)
        for square in scene.squares:
            assert 0 <= square.top < square.top + square.side <= scene.height
            assert 0 <= square.left < square.left + square.side <= scene.width


def test_every_64_frames_show_both_squares() -> None:
    for scene in SCENES:
        windows = (np.arange(64) + np.arange(scene.num_frames)[:, None]) % scene.num_frames  # A row for each start.
        for square in scene.squares:
            assert ((square.first <= windows) & (windows < square.last)).sum(axis=1).min() >= 4


def test_videos_show_their_scene(miniature: Path) -> None:
    """Colour of the squares, direction of the drift, and no trace of the first square under the second."""
    for index in range(8):
        scene = draw_scene(index, seed=0)
        first, last = scene.squares
        path = str(miniature / f"videos/train_{index:04d}.mp4")
        decoded = decode(path, lambda seconds: np.arange(len(seconds))[None], lambda _h, _w: lambda frame: frame)
        frames = decoded.frames.numpy().astype(int)
        assert frames.shape == (scene.num_frames, scene.height, scene.width, 3)
        for square in scene.squares:
            inside = frames[square.first + 2, square.top + 3 : square.top + square.side - 3][
                :, square.left + 3 : square.left + 9
            ]
            assert (inside[..., 0] > inside[..., 2]).all() == (square.colour == 0)
        saturation = np.ptp(frames[last.first : last.last], axis=-1)
        saturation[
            :, max(0, last.top - 4) : last.top + last.side + 4, max(0, last.left - 4) : last.left + last.side + 4
        ] = 0
        assert saturation[:, first.top : first.top + first.side, first.left : first.left + first.side].mean() < 2
        still = frames[first.last + 4 : first.last + 8, ..., 1]
        shifts = range(-12, 13)
        best = min(shifts, key=lambda d: np.abs(np.roll(still[0], d, axis=0) - still[3])[12:-12].mean())
        assert best == pytest.approx(3 * scene.drift, abs=1)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """Also in other processes."""
    digests = []
    for name, seed, processes in (("a", 1, 1), ("b", 1, 2), ("c", 2, 1)):
        make_miniature(tmp_path / name, num_train=2, num_val=1, seed=seed, processes=processes)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.suffix in (".mp4", ".txt"))
        digests.append(hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_a_finished_data_set_is_kept_and_an_unfinished_one_made_anew(tmp_path: Path) -> None:
    make_miniature(tmp_path, num_train=2, num_val=1, processes=1)
    video = tmp_path / "videos/train_0000.mp4"
    before = video.stat().st_mtime_ns
    make_miniature(tmp_path, num_train=2, num_val=1, processes=1)
    assert video.stat().st_mtime_ns == before
    stamp = tmp_path / "miniature.json"
    stamp.write_text(stamp.read_text().replace("true", "false"))
    make_miniature(tmp_path, num_train=2, num_val=1, processes=1)
    assert video.stat().st_mtime_ns > before


def test_a_folder_of_other_videos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/mine.mp4").write_bytes(b"mine")
    with pytest.raises(ValueError, match="got a folder with other files"):
        make_miniature(tmp_path, num_train=2, num_val=1, processes=1)
    assert (tmp_path / "videos/mine.mp4").exists()


@pytest.mark.parametrize("question", QUESTIONS)
def test_lists_and_classes_are_read_as_any_other(miniature: Path, question: str) -> None:
    entries = read_list(str(miniature / f"{question}_train.txt"), root=str(miniature), num_classes=2)
    assert [entry.label for entry in entries] == [draw_scene(i, seed=0).labels[question] for i in range(24)]
    assert read_classes(str(miniature / f"{question}_classes.txt"), num_classes=2) == list(QUESTIONS[question])
