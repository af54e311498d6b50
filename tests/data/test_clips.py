import numpy as np
import pytest

from nonlocal_video.data.clips import PLACEMENTS, at_rate, random_clip, uniform_clips


def at_30(num_frames: int) -> np.ndarray:
    return np.arange(num_frames) / 30


def test_uniform_clips_start_where_the_released_formula_says() -> None:
    clips = uniform_clips(at_30(310), num_clips=10, length=32, stride=2)
    assert clips.shape == (10, 32)
    assert clips[:, 0].tolist() == [0, 31, 62, 93, 124, 155, 186, 217, 248, 279]
    assert clips[1].tolist() == [31 + 2 * i for i in range(32)]


def test_uniform_clips_wrap_round_to_the_first_frames() -> None:
    assert uniform_clips(at_30(100), num_clips=10, length=32, stride=2)[9].tolist() == [
        *range(90, 100, 2),
        *range(0, 54, 2),
    ]


@pytest.mark.parametrize("num_frames", [1, 2, 7, 33, 299, 300, 1801, 9999])
def test_uniform_clips_start_as_the_released_cpp_computes_it(num_frames: int) -> None:
    """start = int(float(n) / float(10) * float(j)) % n, every step rounded to float32."""
    expected = [
        int(np.float32(np.float32(np.float32(num_frames) / np.float32(10)) * np.float32(j))) % num_frames
        for j in range(10)
    ]
    assert uniform_clips(at_30(num_frames), num_clips=10, length=4, stride=1)[:, 0].tolist() == expected


def test_random_clip_starts_everywhere_that_its_window_fits() -> None:
    rng = np.random.default_rng(0)
    clips = [random_clip(at_30(70), length=32, stride=2, rng=rng)[0] for _ in range(300)]
    assert {int(clip[0]) for clip in clips} == set(range(7))
    assert all((np.diff(clip) == 2).all() for clip in clips)


def test_random_clip_of_a_short_video_starts_at_0_and_loops() -> None:
    clip = random_clip(at_30(10), length=8, stride=2, rng=np.random.default_rng(0))
    assert clip.tolist() == [[0, 2, 4, 6, 8, 0, 2, 4]]


def test_even_clips_reach_from_the_first_to_the_last_frame_and_never_wrap() -> None:
    clips = uniform_clips(at_30(300), num_clips=10, length=32, stride=2, placement="even")
    assert clips[:, 0].tolist() == [0, 26, 52, 78, 104, 131, 157, 183, 209, 236]
    assert clips.max() == 236 + 62
    short = uniform_clips(at_30(10), num_clips=3, length=8, stride=2, placement="even")
    assert short.tolist() == [[0, 2, 4, 6, 8, 9, 9, 9]] * 3
    one = random_clip(at_30(10), length=8, stride=2, sampling="clamped", rng=np.random.default_rng(0))
    assert one.tolist() == short[:1].tolist()


def test_a_single_even_clip_stands_in_the_middle() -> None:
    assert uniform_clips(at_30(300), num_clips=1, length=32, stride=2, placement="even")[0, 0] == 118


# What PySlowFast's get_start_end_idx and temporal_sampling, mmaction2's SampleFrames, and for "centred" the
# sample_center_of_segments and get_sequence of long-term feature banks gave when they were run.
PEERS = {
    "pyslowfast at 30 frames a second": (
        (300, 30, 8, 8, 10), {0: [0, 9, 18, 27, 36, 45, 54, 63], 9: [212, 221, 230, 239, 248, 257, 266, 275]}
    ),
    "pyslowfast at 25 frames a second": (
        (250, 25, 8, 8, 10), {1: [19, 27, 34, 42, 49, 57, 64, 72], 9: [177, 184, 191, 199, 206, 214, 221, 229]}
    ),
    "pyslowfast on a short video": ((40, 30, 8, 8, 3), {1: [0, 9, 18, 27, 36, 39, 39, 39]}),
    "mmaction2": (
        (140, 30, 8, 8, 10), {0: [0, 8, 16, 24, 32, 40, 48, 56], 9: [83, 91, 99, 107, 115, 123, 131, 139]}
    ),
    "mmaction2 with one clip": ((300, 30, 3, 2, 1), {0: [147, 149, 151]}),
    "mmaction2 on a short video": ((50, 30, 8, 8, 3), {2: [0, 8, 16, 24, 32, 40, 48, 6]}),
    "centred": (
        (72, 24, 8, 4, 10), {0: [0, 0, 0, 0, 4, 8, 12, 16], 4: [16, 20, 24, 28, 32, 36, 40, 44],
                              9: [52, 56, 60, 64, 68, 71, 71, 71]}
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PEERS)
def test_clips_of_other_code_bases_are_theirs(case: str) -> None:
    (num_frames, fps, length, stride, num_clips), expected = PEERS[case]
    placement = case.split(maxsplit=1)[0]
    seconds = np.arange(num_frames) / fps
    clips = uniform_clips(seconds, num_clips=num_clips, length=length, stride=stride, placement=placement)
    assert {clip: clips[clip].tolist() for clip in expected} == expected


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("num_frames", [1, 7, 64, 301])
def test_clips_hold_frames_that_are_there(placement: str, num_frames: int) -> None:
    for seconds in (at_30(num_frames), np.full(num_frames, np.nan)):
        clips = uniform_clips(seconds, num_clips=10, length=32, stride=2, placement=placement)
        assert clips.shape == (10, 32)
        assert clips.min() >= 0
        assert clips.max() < num_frames


@pytest.mark.parametrize(("fps", "step"), [(15.0, 2), (30.0, 1), (10.0, 3)])
def test_resampling_to_a_slower_clock_takes_every_nth_frame(fps: float, step: int) -> None:
    assert at_rate(at_30(300), fps).tolist() == list(range(0, 300, step))


def test_resampling_to_a_faster_clock_repeats_frames() -> None:
    assert at_rate(np.arange(8) / 8, 16).tolist() == [k // 2 for k in range(16)]
    assert at_rate(np.array([0.0]), 30).tolist() == [0]


def test_resampling_follows_the_times_of_a_variable_rate() -> None:
    """Frames at 0, 0.5 and 0.6 s: what a clock of 10 ticks a second would show."""
    assert at_rate(np.array([0, 0.5, 0.6]), 10)[:7].tolist() == [0, 0, 0, 0, 0, 1, 2]


def test_times_that_the_file_rounded_do_not_shift_frames() -> None:
    """Matroska keeps whole milliseconds."""
    assert at_rate(np.round(np.arange(300) / 30, 3), 30).tolist() == list(range(300))


def test_a_clip_of_resampled_frames_spans_the_same_time_at_any_rate() -> None:
    rates = {
        fps: uniform_clips(np.arange(10 * fps) / fps, num_clips=10, length=32, stride=2, fps=30) for fps in (15, 30, 60)
    }
    assert (rates[30] // 2 == rates[15]).all()
    assert (rates[60] == 2 * rates[30]).all()


def test_frames_without_times_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match=r"clip\.fps: these frames have no times"):
        at_rate(np.full(10, np.nan), 30)
