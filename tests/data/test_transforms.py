import numpy as np
import pytest
import torch

from nonlocal_video.data.decode import Decoded
from nonlocal_video.data.transforms import resize_short_side, testing_views, training_view


def coordinates(height: int, width: int, num_frames: int = 4) -> Decoded:
    """Frames whose red is the row, whose green is the column, and whose blue is the number of the frame."""
    frames = np.zeros((num_frames, height, width, 3), np.uint8)
    frames[..., 0] = np.arange(height)[:, None]
    frames[..., 1] = np.arange(width)
    frames[..., 2] = np.arange(num_frames)[:, None, None]
    return Decoded(frames, np.arange(num_frames)[None])


@pytest.mark.parametrize(
    ("height", "width", "short_side", "expected"),
    [(240, 320, 256, (256, 341)), (320, 240, 256, (341, 256)), (100, 100, 55, (55, 55)), (90, 161, 73, (73, 130))],
)
def test_short_side_is_exact_and_the_long_one_truncated(
    height: int, width: int, short_side: int, expected: tuple[int, int]
) -> None:
    assert resize_short_side(np.zeros((1, height, width, 3), np.uint8), short_side).shape[1:3] == expected


def test_training_views_cover_every_crop_and_every_short_side() -> None:
    decoded, rng = coordinates(60, 80), np.random.default_rng(0)
    views = [training_view(decoded, jitter=(60, 60), crop=56, flip=False, rng=rng)[0] for _ in range(300)]
    assert {int(view[0, 0, 0, 0]) for view in views} == set(range(5))
    assert {int(view[1, 0, 0, 0]) for view in views} == set(range(25))
    assert views[0].shape == (3, 4, 56, 56)
    assert views[0].dtype == torch.uint8
    assert views[0][2, :, 5, 5].tolist() == [0, 1, 2, 3]
    sizes = {
        int(training_view(decoded, jitter=(56, 58), crop=56, flip=False, rng=rng)[0, 0, 0, -1, 0]) for _ in range(50)
    }
    assert len(sizes) > 1


def test_a_flip_mirrors_the_whole_clip_every_second_time() -> None:
    decoded, rng = coordinates(56, 56), np.random.default_rng(0)
    views = [training_view(decoded, jitter=(56, 56), crop=56, flip=True, rng=rng)[0] for _ in range(200)]
    flipped = [bool(view[1, 0, 0, 0] > view[1, 0, 0, -1]) for view in views]
    assert 70 < sum(flipped) < 130
    assert all((view[1, :, 0, 0] == view[1, 0, 0, 0]).all() for view in views)


@pytest.mark.parametrize(("height", "width"), [(64, 101), (101, 64)])
def test_three_crops_stand_at_the_released_offsets(height: int, width: int) -> None:
    views = testing_views(coordinates(height, width), short_side=64, num_crops=3)
    assert views.shape == (3, 3, 4, 64, 64)
    along = 1 if width > height else 0
    assert views[:, along, 0, 0, 0].tolist() == [0, 18, 36]
    assert (views[:, 1 - along, 0, 0, 0] == 0).all()
    assert torch.equal(testing_views(coordinates(height, width), short_side=64, num_crops=1)[0], views[1])


def test_views_of_a_clip_stand_together() -> None:
    decoded = coordinates(64, 101)._replace(rows=np.array([[0, 1], [2, 3]]))
    views = testing_views(decoded, short_side=64, num_crops=3)
    assert views[:, 2, :, 0, 0].tolist() == [[0, 1]] * 3 + [[2, 3]] * 3
