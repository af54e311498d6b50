from functools import partial
from pathlib import Path

import pytest
import torch

from nonlocal_video.data.clips import random_clip, uniform_clips
from nonlocal_video.data.dataset import MAX_ATTEMPTS, EvaluationVideos, TrainingVideos
from nonlocal_video.data.decode import DecodeError
from nonlocal_video.data.loader import StepSampler, evaluation_loader, training_loader
from nonlocal_video.data.manifest import read_list
from nonlocal_video.data.transforms import testing_views, training_view
from nonlocal_video.types import Entry


@pytest.fixture
def entries(miniature: Path) -> list[Entry]:
    return read_list(str(miniature / "relation_train.txt"), root=str(miniature), num_classes=2)


def training(entries: list[Entry], *, seed: int = 0) -> TrainingVideos:
    view = partial(training_view, jitter=(55, 69), crop=48, flip=True)
    return TrainingVideos(entries, seed=seed, pick=partial(random_clip, length=8, stride=4), view=view, decoder="pyav")


def evaluation(entries: list[Entry]) -> EvaluationVideos:
    pick = partial(uniform_clips, num_clips=3, length=8, stride=2)
    return EvaluationVideos(
        entries, pick=pick, views=partial(testing_views, short_side=55, num_crops=3), decoder="pyav"
    )


def test_sample_is_a_pure_function_of_seed_and_number(entries: list[Entry]) -> None:
    first, again, other = training(entries), training(entries), training(entries, seed=1)
    assert torch.equal(first[30].clips, again[30].clips)
    assert first[30].clips.shape == (1, 3, 8, 48, 48)
    assert [first[i].video for i in range(24)] != [other[i].video for i in range(24)]


def test_every_pass_holds_every_video_once_in_another_order(entries: list[Entry]) -> None:
    videos = training(entries)
    passes = [[videos[i].video for i in range(start, start + 24)] for start in (0, 24)]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(entry.video for entry in entries)
    assert passes[0] != passes[1]


def test_two_passes_see_other_clips_of_a_video(entries: list[Entry]) -> None:
    videos = training(entries[:1])
    assert not torch.equal(videos[0].clips, videos[1].clips)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_a_step_holds_the_same_samples_for_any_number_of_ranks(world_size: int) -> None:
    samplers = [
        StepSampler(first_step=3, last_step=5, clips_per_rank=8 // world_size, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    steps = [[number for part in parts for number in part] for parts in zip(*samplers, strict=True)]
    assert steps == [list(range(24, 32)), list(range(32, 40))]


def test_batches_do_not_depend_on_workers_or_on_where_the_run_began(entries: list[Entry]) -> None:
    def batches(first_step: int, workers: int) -> list:
        sampler = StepSampler(first_step=first_step, last_step=4, clips_per_rank=4, rank=0, world_size=1)
        return list(training_loader(training(entries), sampler, workers=workers))

    whole, resumed = batches(0, 0), batches(2, 2)
    assert len(resumed) == 2
    for own, other in zip(whole[2:], resumed, strict=True):
        assert torch.equal(own.clips, other.clips)
        assert torch.equal(own.labels, other.labels)


def test_a_broken_video_is_replaced_counted_and_named(entries: list[Entry], tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    broken = Entry("broken.mp4", str(tmp_path / "broken.mp4"), 0)
    videos = training([broken, *entries[:3]])
    samples = [videos[i] for i in range(4)]
    assert all(len(sample.clips) == 1 for sample in samples)
    (replaced,) = [sample for sample in samples if sample.failures]
    assert replaced.video in {entry.video for entry in entries[:3]}
    assert replaced.failures[0].video == "broken.mp4"
    again = training([broken, *entries[:3]])[samples.index(replaced)]
    assert torch.equal(again.clips, replaced.clips)


def test_training_stops_when_nothing_can_be_decoded(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    videos = training([Entry("broken.mp4", str(tmp_path / "broken.mp4"), 0)])
    with pytest.raises(DecodeError, match=rf"{MAX_ATTEMPTS} videos in a row cannot be decoded:\n.*broken\.mp4"):
        videos[0]


def test_evaluation_gives_all_views_of_each_video_and_names_the_broken(entries: list[Entry], tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    videos = evaluation([entries[0], Entry("broken.mp4", str(tmp_path / "broken.mp4"), 1)])
    assert videos[0].clips.shape == (9, 3, 8, 55, 55)
    assert len(videos[1].clips) == 0
    assert videos[1].failures[0].video == "broken.mp4"


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_ranks_share_the_videos_without_padding(entries: list[Entry], world_size: int) -> None:
    videos = evaluation(entries[:4])
    found = [
        sample.video
        for rank in range(world_size)
        for sample in evaluation_loader(videos, rank=rank, world_size=world_size, workers=0)
    ]
    assert sorted(found) == [entry.video for entry in entries[:4]]
