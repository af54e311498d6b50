"""Clips that slide along a video, and the pieces in which long videos are decoded."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nonlocal_video.data import pieces
from nonlocal_video.data.clips import sliding_clips
from nonlocal_video.data.dataset import TestingVideos
from nonlocal_video.data.decode import Decoded, decode
from nonlocal_video.data.pieces import Piece, VideoPieces
from nonlocal_video.data.transforms import testing_crops, testing_frame
from nonlocal_video.types import Entry, Failure, Views
from tests.conftest import numbers_in


def at_30(num_frames: int) -> np.ndarray:
    return np.arange(num_frames) / 30


def test_sliding_clips_start_every_second_and_the_last_ends_with_the_video() -> None:
    clips = sliding_clips(at_30(310), every_s=1.0, length=8, stride=8)
    assert clips[:, 0].tolist() == [0, 30, 60, 90, 120, 150, 180, 210, 240, 246]
    assert (np.diff(clips, axis=1) == 8).all()
    assert clips[-1, 0] + 8 * 8 == 310


def test_sliding_clips_that_end_with_the_video_by_themselves_get_no_other_one() -> None:
    assert sliding_clips(at_30(94), every_s=0.5, length=8, stride=8)[:, 0].tolist() == [0, 15, 30]


@pytest.mark.parametrize("num_frames", [1, 5, 63, 64])
def test_sliding_over_a_short_video_is_one_clip_that_begins_again(num_frames: int) -> None:
    (clip,) = sliding_clips(at_30(num_frames), every_s=1.0, length=8, stride=8)
    assert clip.tolist() == [8 * i % num_frames for i in range(8)]


def test_sliding_follows_the_clock_where_frames_come_at_odd_times() -> None:
    seconds = np.concatenate([np.arange(10) / 10, 5 + np.arange(10) / 10])  # Nothing from 0.9 s to 5 s.
    clips = sliding_clips(seconds, every_s=0.5, length=2, stride=1)
    # At 0, 0.5, then the last frame before the gap; 5, 5.5, and the last that ends in time.
    assert clips[:, 0].tolist() == [0, 5, 9, 10, 15, 18]


def test_sliding_by_less_than_a_frame_starts_once_at_every_frame() -> None:
    assert sliding_clips(at_30(20), every_s=0.001, length=4, stride=2)[:, 0].tolist() == list(range(13))


def test_sliding_at_half_the_rate_is_sliding_over_every_second_frame() -> None:
    slow = sliding_clips(at_30(200)[::2], every_s=0.4, length=4, stride=3)
    assert (sliding_clips(at_30(200), every_s=0.4, length=4, stride=3, fps=15) == 2 * slow).all()


def test_sliding_needs_times() -> None:
    with pytest.raises(ValueError, match="no times"):
        sliding_clips(np.full(9, np.nan), every_s=1.0, length=2, stride=1)


# Pieces


class Spy:
    """Decodes, and keeps how many frames were asked for at a time."""

    def __init__(self) -> None:
        self.frames = list[int]()

    def __call__(self, *arguments: Any) -> Decoded:
        decoded = decode(*arguments)
        self.frames.append(len(decoded.frames))
        return decoded


def all_pieces(video: Path, spy: Spy, **sliding: Any) -> list[Piece]:
    testing = partial(
        TestingVideos,
        fit=partial(testing_frame, short_side=64),
        crops=partial(testing_crops, crops="full"),
        decode=spy,
    )

    def get(number: int) -> Piece:
        videos = VideoPieces(
            [(Entry("a", str(video), None), number)], pick=partial(sliding_clips, **sliding), testing=testing
        )
        return videos.get(0, lost={}, started=lambda _: None)

    first = get(0)
    return [first, *map(get, range(1, first.num_pieces))]


def test_pieces_hold_all_clips_once_in_order_and_few_frames_at_a_time(
    numbered_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_FRAMES", 20)
    sliding = {"every_s": 0.1, "length": 4, "stride": 2}
    spy = Spy()
    found = all_pieces(numbered_video, spy, **sliding)
    expected = sliding_clips(at_30(75), **sliding)
    assert len(found) > 3
    assert max(spy.frames) <= 20
    shown = []
    for piece in found:
        views = piece.item.views
        assert isinstance(views, Views)
        assert len(piece.start_s) == len(piece.end_s) == len(views.rows)
        numbers = numbers_in(views.frames.numpy())
        shown += [[numbers[row] for row in rows] for rows in views.rows.tolist()]
    assert shown == expected.tolist()
    starts, ends = (np.concatenate([getattr(piece, name) for piece in found]) for name in ("start_s", "end_s"))
    np.testing.assert_allclose(starts, expected[:, 0] / 30, atol=1e-4)
    np.testing.assert_allclose(ends, expected[:, -1] / 30, atol=1e-4)


@pytest.mark.parametrize("most", [20, 512])
def test_stills_are_the_frames_at_the_middles_of_eighths_of_the_video(
    numbered_video: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(pieces, "PIECE_FRAMES", most)
    found = all_pieces(numbered_video, Spy(), every_s=0.1, length=4, stride=1)
    stills = [still for piece in found for still in piece.stills()]
    times = [still.time_s for still in stills]
    np.testing.assert_allclose(times, (np.arange(8) + 0.5) * (74 / 30) / 8, atol=1e-4)
    # All 75 frames are in some clip; the one that is nearest is half a frame away, at most.
    assert all(
        abs(number / 30 - time) <= 0.5 / 30 + 1e-4
        for number, time in zip(numbers_in(np.stack([still.image for still in stills])), times, strict=True)
    )


def test_a_clip_of_many_frames_is_a_piece_of_its_own(numbered_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_FRAMES", 5)
    spy = Spy()
    found = all_pieces(numbered_video, spy, every_s=1.0, length=10, stride=2)
    assert [len(piece.start_s) for piece in found] == [1, 1, 1]
    assert spy.frames == [10, 10, 10]


def test_a_piece_of_a_broken_file_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (piece,) = all_pieces(tmp_path / "broken.mp4", Spy(), every_s=1.0, length=2, stride=1)
    assert isinstance(piece.item.views, Failure)
    assert "broken.mp4" in piece.item.views.cause


def test_a_piece_whose_process_was_lost_is_a_failure(numbered_video: Path) -> None:
    videos = VideoPieces(
        [(Entry("a", str(numbered_video), None), 1)],
        pick=partial(sliding_clips, every_s=1.0, length=2, stride=1),
        testing=partial(TestingVideos, fit=testing_frame, crops=testing_crops),
    )
    lost = Failure("a", "its process died")
    assert videos.get(0, lost={0: lost}, started=lambda _: None).item.views == lost
