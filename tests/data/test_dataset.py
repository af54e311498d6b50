import shutil
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from nonlocal_video.data.clips import random_clip, uniform_clips
from nonlocal_video.data.dataset import (
    MAX_ATTEMPTS,
    PRECISE_BN,
    TRAIN,
    SharedItems,
    TestingVideos,
    TrainingVideos,
    ValidationVideos,
)
from nonlocal_video.data.decode import DecodeError
from nonlocal_video.data.decoders import index as index_module
from nonlocal_video.data.decoders import pyav as pyav_module
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.prepare.encode import write_video
from nonlocal_video.data.transforms import testing_crops, testing_frame, training_crop
from nonlocal_video.tasks.single_label import target
from nonlocal_video.types import Entry, Failure, Sample, TestItem, TimedLabel, Views
from tests.conftest import numbered_frames, numbers_in


@pytest.fixture
def entries(miniature: Path) -> list[Entry]:
    return read_list(str(miniature / "relation_train.txt"), root=str(miniature), num_classes=2)


def training(entries: list[Entry], *, seed: int = 0, stream: int = TRAIN) -> TrainingVideos:
    fit = partial(training_crop, jitter=(55, 69), crop=48, flip=True)
    pick = partial(random_clip, length=8, stride=4)
    return TrainingVideos(entries, seed=seed, pick=pick, fit=fit, target=target, stream=stream)


def validation(entries: list[Entry], *, seed: int = 0) -> ValidationVideos:
    fit = partial(training_crop, jitter=(55, 69), crop=48, flip=True)
    return ValidationVideos(entries, seed=seed, pick=partial(random_clip, length=8, stride=4), fit=fit, target=target)


def testing(entries: list[Entry]) -> TestingVideos:
    return TestingVideos(
        entries,
        pick=partial(uniform_clips, num_clips=3, length=8, stride=2),
        fit=partial(testing_frame, short_side=55),
        crops=partial(testing_crops, crops="3"),
    )


def sample(videos: TrainingVideos, index: int, **lost: Failure) -> Sample:
    return videos.get(index, lost={int(k[1:]): v for k, v in lost.items()}, started=lambda _: None)


def item(videos: TestingVideos, index: int) -> TestItem:
    return videos.get(index, lost={}, started=lambda _: None)


def one_clip(videos: ValidationVideos, index: int) -> Sample:
    found = videos.get(index, lost={}, started=lambda _: None)
    assert isinstance(found, Sample)
    return found


def broken(folder: Path) -> Entry:
    (folder / "broken.mp4").write_text("no video")
    return Entry("broken.mp4", str(folder / "broken.mp4"), 0)


def test_shared_entries_are_the_entries() -> None:
    entries = [
        Entry("a b,c.mp4", "/x/a b,c.mp4", 3),
        Entry("d", "/x/d", (TimedLabel(1, 0.5, 2.0), TimedLabel(2, 0.0, 1.0)), 77),
        Entry("\udce9.mp4", "/x/\udce9.mp4", None),
    ]
    shared = SharedItems(entries, Entry)
    assert [shared[i] for i in range(3)] == entries
    assert len(shared) == 3


def test_a_file_that_is_read_anew_gives_the_clip_that_is_read_at_once(
    entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process has found out about a file must not change the draws of a clip."""
    expected, readings = sample(training(entries), 3), []

    def astray(*arguments: object) -> Iterator[np.ndarray]:
        readings.append(arguments)
        raise pyav_module._StrayError

    monkeypatch.setattr(pyav_module, "_pick", astray)
    monkeypatch.setattr(index_module, "_kept", OrderedDict())
    for num_readings in (2, 2):  # The second time it is known that the frames have to be counted.
        found = sample(training(entries), 3)
        assert (found.video, len(readings), found.failures) == (expected.video, num_readings, ())
        assert torch.equal(found.clip, expected.clip)


def test_sample_is_a_pure_function_of_seed_and_number(entries: list[Entry]) -> None:
    first, again, other = training(entries), training(entries), training(entries, seed=1)
    assert torch.equal(sample(first, 30).clip, sample(again, 30).clip)
    assert sample(first, 30).clip.shape == (1, 3, 8, 48, 48)
    assert sample(first, 30).clip.dtype == torch.uint8
    assert [first.name(i, 0) for i in range(24)] != [other.name(i, 0) for i in range(24)]


def test_the_stream_for_batch_normalisation_is_another_and_pure(entries: list[Entry]) -> None:
    train, other, again = training(entries), *(training(entries, stream=PRECISE_BN) for _ in range(2))
    names = [other.name(i, 0) for i in range(24)]
    assert sorted(names) == sorted(entry.video for entry in entries)
    assert names != [train.name(i, 0) for i in range(24)]
    assert torch.equal(sample(other, 30).clip, sample(again, 30).clip)
    alone, alone_other = training(entries[:1]), training(entries[:1], stream=PRECISE_BN)
    assert not torch.equal(sample(alone, 0).clip, sample(alone_other, 0).clip)


def test_the_training_stream_is_that_of_older_checkpoints(entries: list[Entry]) -> None:
    """Written down when the first checkpoints were: a resumed run would otherwise see other videos."""
    rows = {entry.video: row for row, entry in enumerate(entries)}
    videos = training(entries, seed=7)
    assert [rows[videos.name(i, 0)] for i in (*range(6), *range(24, 30))] == [1, 4, 16, 18, 5, 23, 6, 5, 13, 18, 14, 3]
    assert [rows[videos.name(3, attempt)] for attempt in (1, 2, 3)] == [8, 10, 2]


@pytest.mark.parametrize("num_frames", [75, 10])
def test_a_clip_holds_its_frames_in_order_and_loops(tmp_path: Path, num_frames: int) -> None:
    write_video(tmp_path / "v.mp4", numbered_frames(num_frames))
    videos = TrainingVideos(
        [Entry("v.mp4", str(tmp_path / "v.mp4"), 0)],
        seed=0,
        pick=partial(random_clip, length=32, stride=2),
        fit=partial(training_crop, jitter=(64, 64), crop=64, flip=False),
        target=target,
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
    assert all(len(drawn.clip) == 1 for drawn in samples)
    (replaced,) = [drawn for drawn in samples if drawn.failures]
    assert replaced.video in {entry.video for entry in entries[:3]}
    assert replaced.failures[0].video == "broken.mp4"
    assert not replaced.failures[0].transient
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
    videos, lost = training(entries), Failure("v", "its loader process died", transient=True)
    assert sample(videos, 5, _0=lost).failures == (lost,)
    assert sample(videos, 5, _0=lost).video == videos.name(5, 1)
    assert sample(videos, 5, _1=lost).failures == ()


def test_training_stops_when_nothing_can_be_decoded(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=rf"{MAX_ATTEMPTS} files in a row cannot be decoded:\n.*broken\.mp4"):
        sample(training([broken(tmp_path)]), 0)


def test_validation_holds_each_video_once_with_one_clip_that_stays_the_same(entries: list[Entry]) -> None:
    first, again, other = validation(entries), validation(entries), validation(entries, seed=1)
    assert [one_clip(first, i).video for i in range(len(first))] == [entry.video for entry in entries]
    assert one_clip(first, 3).target == entries[3].label
    assert one_clip(first, 3).clip.shape == (1, 3, 8, 48, 48)
    assert torch.equal(one_clip(first, 3).clip, one_clip(again, 3).clip)
    assert not torch.equal(one_clip(first, 3).clip, one_clip(other, 3).clip)


def test_validation_draws_clips_as_training_does(tmp_path: Path) -> None:
    """Start, flip and crop vary from item to item of the same video; frames stay in order."""
    frames = numbered_frames(75)
    for frame in frames:
        frame[:, :8] = 255  # A white edge on the left: flipped, it is on the right.
    write_video(tmp_path / "v.mp4", frames)
    videos = ValidationVideos(
        [Entry("v.mp4", str(tmp_path / "v.mp4"), 0)] * 20,
        seed=0,
        pick=partial(random_clip, length=8, stride=2),
        fit=partial(training_crop, jitter=(64, 64), crop=64, flip=True),
        target=target,
    )
    clips = [one_clip(videos, i).clip[0] for i in range(20)]
    starts = set()
    for clip in clips:
        numbers = numbers_in(clip[:, :, :, 16:48].permute(1, 2, 3, 0).numpy())
        assert numbers == list(range(numbers[0], numbers[0] + 16, 2))
        starts.add(numbers[0])
    assert len(starts) > 5
    assert {bool(clip[0, 0, 0, 0] > 200) for clip in clips} == {True, False}


def test_validation_names_a_broken_video_and_replaces_nothing(entries: list[Entry], tmp_path: Path) -> None:
    videos = validation([entries[0], broken(tmp_path)])
    failure = videos.get(1, lost={}, started=lambda _: None)
    assert isinstance(failure, Failure)
    assert (failure.video, failure.transient) == ("broken.mp4", False)
    lost = Failure("v", "its loader process died", transient=True)
    assert videos.get(0, lost={0: lost}, started=lambda _: None) == lost


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
        crops=partial(testing_crops, crops="3"),
    )
    views = item(videos, 0).views
    assert isinstance(views, Views)
    assert len(views.frames) <= 88
    assert views.num_views == 30
    assert next(views.chunks(1)).shape == (1, 3, 128, 64, 64)
