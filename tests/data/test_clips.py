import numpy as np
import pytest

from nonlocal_video.data.clips import random_clip, uniform_clips


def test_uniform_clips_start_where_the_released_formula_says() -> None:
    clips = uniform_clips(310, num_clips=10, length=32, stride=2)
    assert clips.shape == (10, 32)
    assert clips[:, 0].tolist() == [0, 31, 62, 93, 124, 155, 186, 217, 248, 279]
    assert clips[1].tolist() == [31 + 2 * i for i in range(32)]


def test_uniform_clips_wrap_round_to_the_first_frames() -> None:
    assert uniform_clips(100, num_clips=10, length=32, stride=2)[9].tolist() == [*range(90, 100, 2), *range(0, 54, 2)]


@pytest.mark.parametrize("num_frames", [1, 2, 7, 33, 299, 300, 1801, 9999])
def test_uniform_clips_start_as_the_released_cpp_computes_it(num_frames: int) -> None:
    """start = int(float(n) / float(10) * float(j)) % n, every step rounded to float32."""
    expected = [
        int(np.float32(np.float32(np.float32(num_frames) / np.float32(10)) * np.float32(j))) % num_frames
        for j in range(10)
    ]
    assert uniform_clips(num_frames, num_clips=10, length=4, stride=1)[:, 0].tolist() == expected


def test_random_clip_starts_everywhere_that_its_window_fits() -> None:
    rng = np.random.default_rng(0)
    clips = [random_clip(70, length=32, stride=2, rng=rng)[0] for _ in range(300)]
    assert {int(clip[0]) for clip in clips} == set(range(7))
    assert all((np.diff(clip) == 2).all() for clip in clips)


def test_random_clip_of_a_short_video_starts_at_0_and_loops() -> None:
    clip = random_clip(10, length=8, stride=2, rng=np.random.default_rng(0))
    assert clip.tolist() == [[0, 2, 4, 6, 8, 0, 2, 4]]
