import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from nonlocal_video.data.clips import random_clip, uniform_clips
from nonlocal_video.data.dataset import MAX_ATTEMPTS, SharedEntries, TestingVideos, TrainingVideos
from nonlocal_video.data.decode import DecodeError
from nonlocal_video.data.encode import write_video
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.transforms import testing_corners, testing_frame, training_crop
from nonlocal_video.types import Entry, Failure, Sample, TestItem, TimedLabel, Views
from tests.conftest import numbered_frames, numbers_in


@pytest.fixture
def entries(miniature: Path) -> list[Entry]:
    return read_list(str(miniature / "relation_train.txt"), root=str(miniature), num_classes=2)


def training(entries: list[Entry], *, seed: int = 0) -> TrainingVideos:
    fit = partial(training_crop, jitter=(55, 69), crop=48, flip=True)
    return TrainingVideos(entries, seed=seed, pick=partial(random_clip, length=8, stride=4), fit=fit)


def testing(entries: list[Entry]) -> TestingVideos:
    return TestingVideos(
        entries,
        pick=partial(uniform_clips, num_clips=3, length=8, stride=2),
        fit=partial(testing_frame, short_side=55),
        corners=partial(testing_corners, num_crops=3),
    )


def sample(videos: TrainingVideos, index: int, **lost: Failure) -> Sample:
    return videos.get(index, lost={int(k[1:]): v for k, v in lost.items()}, started=lambda _: None)


def item(videos: TestingVideos, index: int) -> TestItem:
    return videos.get(index, lost={}, started=lambda _: None)


def broken(folder: Path) -> Entry:
    (folder / "broken.mp4").write_text("no video")
    return Entry("broken.mp4", str(folder / "broken.mp4"), 0)


def test_shared_entries_are_the_entries() -> None:
    entries = [
        Entry("a b,c.mp4", "/x/a b,c.mp4", 3),
        Entry("d", "/x/d", (TimedLabel(1, 0.5, 2.0), TimedLabel(2, 0.0, 1.0)), 77),
        Entry("\udce9.mp4", "/x/\udce9.mp4", None),
    ]
    shared = SharedEntries(entries)
    assert [shared[i] for i in range(3)] == entries
    assert len(shared) == 3


def test_sample_is_a_pure_function_of_seed_and_number(entries: list[Entry]) -> None:
    first, again, other = training(entries), training(entries), training(entries, seed=1)
    assert torch.equal(sample(first, 30).clip, sample(again, 30).clip)
    assert sample(first, 30).clip.shape == (1, 3, 8, 48, 48)
    assert sample(first, 30).clip.dtype == torch.uint8
    assert [first.name(i, 0) for i in range(24)] != [other.name(i, 0) for i in range(24)]


@pytest.mark.parametrize("num_frames", [75, 10])
def test_a_clip_holds_its_frames_in_order_and_loops(tmp_path: Path, num_frames: int) -> None:
    write_video(tmp_path / "v.mp4", numbered_frames(num_frames))
    videos = TrainingVideos(
        [Entry("v.mp4", str(tmp_path / "v.mp4"), 0)],
        seed=0,
        pick=partial(random_clip, length=32, stride=2),
        fit=partial(training_crop, jitter=(64, 64), crop=64, flip=False),
    )
    clip = sample(videos, 0).clip
    assert clip.shape == (1, 3, 32, 64, 64)
    numbers = numbers_in(clip[0].permute(1, 2, 3, 0).numpy())
    assert numbers == [(numbers[0] + 2 * i) % num_frames for i in range(32)]


def test_every_pass_holds_every_video_once_in_another_order(entries: list[Entry]) -> None:
    videos = training(entries)
    passes = [[sample(videos, i).video for i in range(start, start + 24)] for start in (0, 24)]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(entry.video for entry in entries)
    assert passes[0] != passes[1]


def test_two_passes_see_other_clips_of_a_video(entries: list[Entry]) -> None:
    videos = training(entries[:1])
    assert not torch.equal(sample(videos, 0).clip, sample(videos, 1).clip)


def test_a_broken_video_is_replaced_counted_and_named(entries: list[Entry], tmp_path: Path) -> None:
    listed = [broken(tmp_path), *entries[:3]]
    samples = [sample(training(listed), i) for i in range(4)]
    assert all(len(one.clip) == 1 for one in samples)
    (replaced,) = [one for one in samples if one.failures]
    assert replaced.video in {entry.video for entry in entries[:3]}
    assert replaced.failures[0].video == "broken.mp4"
    assert not replaced.failures[0].by_chance
    assert torch.equal(sample(training(listed), samples.index(replaced)).clip, replaced.clip)


def test_a_file_deleted_during_the_run_is_replaced(entries: list[Entry], tmp_path: Path) -> None:
    path = tmp_path / "there.mp4"
    shutil.copy(entries[0].path, path)
    videos = training([Entry("there.mp4", str(path), 0), *entries[1:3]])
    assert not any(sample(videos, i).failures for i in range(3))
    path.unlink()
    causes = [failure.cause for i in range(3) for failure in sample(videos, i).failures]
    assert causes == [f"{path}: No such file or directory"]


def test_an_attempt_that_lost_its_process_is_passed_over(entries: list[Entry]) -> None:
    videos, lost = training(entries), Failure("v", "its loader process died", by_chance=True)
    assert sample(videos, 5, _0=lost).failures == (lost,)
    assert sample(videos, 5, _0=lost).video == videos.name(5, 1)
    assert sample(videos, 5, _1=lost).failures == ()


def test_training_stops_when_nothing_can_be_decoded(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=rf"{MAX_ATTEMPTS} videos in a row cannot be decoded:\n.*broken\.mp4"):
        sample(training([broken(tmp_path)]), 0)


def test_testing_gives_all_views_of_each_video_and_names_the_broken(entries: list[Entry], tmp_path: Path) -> None:
    videos = testing([entries[0], broken(tmp_path)])
    views = item(videos, 0).views
    assert isinstance(views, Views)
    assert next(views.chunks(9)).shape == (9, 3, 8, 55, 55)
    failure = item(videos, 1).views
    assert isinstance(failure, Failure)
    assert failure.video == "broken.mp4"


def test_views_of_128_frames_hold_each_frame_once(tmp_path: Path, entries: list[Entry]) -> None:
    """Thirty views of 128 frames of 70 frames would be 55 times as much."""
    videos = TestingVideos(
        entries[:1],
        pick=partial(uniform_clips, num_clips=10, length=128, stride=1),
        fit=partial(testing_frame, short_side=64),
        corners=partial(testing_corners, num_crops=3),
    )
    views = item(videos, 0).views
    assert isinstance(views, Views)
    assert len(views.frames) <= 88
    assert views.num_views == 30
    assert next(views.chunks(1)).shape == (1, 3, 128, 64, 64)
