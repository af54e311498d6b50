from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from nonlocal_video.data.transforms import short_side_size, testing_crops, testing_frame, training_crop
from nonlocal_video.types import Views


def coordinates(height: int, width: int) -> Tensor:
    """A frame whose red is the row, whose green is the column."""
    frame = torch.zeros(height, width, 3, dtype=torch.uint8)
    frame[..., 0] = torch.arange(height)[:, None]
    frame[..., 1] = torch.arange(width)
    return frame


@pytest.mark.parametrize(
    ("height", "width", "short_side", "expected"),
    [(240, 320, 256, [256, 341]), (320, 240, 256, [341, 256]), (100, 100, 55, [55, 55]), (90, 161, 73, [73, 130])],
)
def test_short_side_is_exact_and_the_long_one_truncated(
    height: int, width: int, short_side: int, expected: list[int]
) -> None:
    assert short_side_size(height, width, short_side) == expected
    assert testing_frame(height, width, short_side=short_side)(coordinates(height, width)).shape == (*expected, 3)


def crops(num: int, *, flip: bool = False, jitter: tuple[int, int] = (60, 60)) -> list[Callable[[Tensor], Tensor]]:
    rng = np.random.default_rng(0)
    return [training_crop(60, 80, jitter=jitter, crop=56, flip=flip, rng=rng) for _ in range(num)]


def test_training_crops_cover_every_place_and_every_short_side() -> None:
    views = [cut(coordinates(60, 80)) for cut in crops(300)]
    assert {int(view[0, 0, 0]) for view in views} == set(range(5))
    assert {int(view[0, 0, 1]) for view in views} == set(range(25))
    assert views[0].shape == (56, 56, 3)
    assert views[0].dtype == torch.uint8
    flat = torch.full((60, 80, 3), 7, dtype=torch.uint8)
    assert all((cut(flat) == 7).all() for cut in crops(20, jitter=(56, 58)))
    assert len({int(cut(coordinates(60, 80))[-1, 0, 0]) for cut in crops(50, jitter=(56, 58))}) > 1


def test_all_frames_of_a_clip_are_cut_alike() -> None:
    (cut,) = crops(1, flip=True)
    assert torch.equal(cut(coordinates(60, 80)), cut(coordinates(60, 80)))


def test_a_flip_mirrors_every_second_clip() -> None:
    views = [cut(coordinates(60, 80)) for cut in crops(200, flip=True)]
    flipped = [bool(view[0, 0, 1] > view[0, -1, 1]) for view in views]
    assert 70 < sum(flipped) < 130
    assert all((view[:, 0, 1] == view[0, 0, 1]).all() for view in views)


@pytest.mark.parametrize(("height", "width"), [(64, 101), (101, 64)])
def test_three_crops_stand_at_the_released_offsets(height: int, width: int) -> None:
    along = 1 if width > height else 0
    corners, size = testing_crops(height, width, crops="3")
    assert size == (64, 64)
    assert [corner[along] for corner in corners] == [0, 18, 36]
    assert all(corner[1 - along] == 0 for corner in corners)
    assert testing_crops(height, width, crops="1") == (corners[1:2], size)
    assert testing_crops(height, width, crops="full") == (((0, 0),), (height, width))


def two_clips() -> Views:
    """Four frames of 64 x 101, numbered in blue, in two clips of two, at three places."""
    frames = torch.stack([coordinates(64, 101) for _ in range(4)])
    frames[..., 2] = torch.arange(4)[:, None, None]
    return Views(frames, torch.tensor([[0, 1], [3, 2]]), *testing_crops(64, 101, crops="3"))


def test_views_of_a_clip_stand_together() -> None:
    (views,) = two_clips().chunks(6)
    assert views.shape == (6, 3, 2, 64, 64)
    assert views[:, 2, :, 0, 0].tolist() == [[0, 1]] * 3 + [[3, 2]] * 3
    assert views[:, 1, 0, 0, 0].tolist() == [0, 18, 36] * 2
    assert (views[:, 0, :, 5] == 5).all()


@pytest.mark.parametrize("size", [1, 4, 100])
def test_views_in_chunks_are_the_views(size: int) -> None:
    (whole,) = two_clips().chunks(6)
    chunks = list(two_clips().chunks(size))
    assert all(len(chunk) <= size for chunk in chunks)
    assert torch.equal(torch.cat(chunks), whole)
    assert two_clips().num_views == 6


def test_flips_follow_the_view_that_they_mirror() -> None:
    (plain,), (both,) = two_clips().chunks(6), two_clips()._replace(flips=True).chunks(12)
    assert torch.equal(both[0::2], plain)
    assert torch.equal(both[1::2], plain.flip(-1))
    assert two_clips()._replace(flips=True).num_views == 12


def test_the_whole_frame_is_one_view_of_a_clip_and_needs_fewer_pixels_than_its_crops() -> None:
    """Sec. 4.1 and the released code's 3 crops of 256 of a frame of 340x256: 3 x 256 / 340 = 2.26."""
    frames, rows = torch.zeros(4, 256, 340, 3, dtype=torch.uint8), torch.tensor([[0, 1], [3, 2]])
    whole, crops = (Views(frames, rows, *testing_crops(256, 340, crops=crops)) for crops in ("full", "3"))
    assert [chunk.shape for chunk in whole.chunks(1)] == [(1, 3, 2, 256, 340)] * 2
    assert whole.num_pixels == 2 * 2 * 256 * 340
    assert crops.num_pixels / whole.num_pixels == pytest.approx(2.26, abs=0.005)
