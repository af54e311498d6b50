import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from nonlocal_video.data import loader as loader_module
from nonlocal_video.data.dataset import Started, TestingVideos
from nonlocal_video.data.decode import DecodeError
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.loader import Loader, Videos, shard_plan, step_plan, testing_loader
from nonlocal_video.tasks import single_label
from nonlocal_video.types import ClipBatch, Entry, Failure
from tests.data.test_dataset import broken, testing, training, validation


@pytest.fixture(autouse=True)
def deaths_are_noticed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch looks whether its workers live each time that no batch has come for five seconds."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))


@pytest.fixture
def entries(miniature: Path) -> list[Entry]:
    return read_list(str(miniature / "relation_train.txt"), root=str(miniature), num_classes=2)


def plan(first_step: int, last_step: int) -> list[range]:
    return step_plan(first_step=first_step, last_step=last_step, clips_per_rank=4, rank=0, world_size=1)


def load(videos: Videos, plan: list[range], *, workers: int) -> list[ClipBatch]:
    return list(Loader(videos, plan, collate=single_label(2).collate, workers=workers, limit_s=60))


# The stream


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_a_step_holds_the_same_samples_for_any_number_of_ranks(world_size: int) -> None:
    plans = [
        step_plan(first_step=3, last_step=5, clips_per_rank=8 // world_size, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    steps = [[number for part in parts for number in part] for parts in zip(*plans, strict=True)]
    assert steps == [list(range(24, 32)), list(range(32, 40))]


@pytest.mark.slow
def test_batches_do_not_depend_on_workers_or_on_where_the_run_began(entries: list[Entry]) -> None:
    def batches(first_step: int, workers: int) -> list[ClipBatch]:
        return load(training(entries), plan(first_step, 4), workers=workers)

    whole = batches(0, 0)
    for workers in (1, 2):
        resumed = batches(2, workers)
        assert len(resumed) == 2
        for own, other in zip(whole[2:], resumed, strict=True):
            assert torch.equal(own.clips, other.clips)
            assert torch.equal(own.labels, other.labels)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_ranks_share_the_videos_without_padding(entries: list[Entry], world_size: int) -> None:
    videos = testing(entries[:4])
    found = [
        item.video
        for rank in range(world_size)
        for item in testing_loader(videos, range(4), rank=rank, world_size=world_size, workers=0, limit_s=60)
    ]
    assert sorted(found) == [entry.video for entry in entries[:4]]


@pytest.mark.parametrize(("world_size", "clips"), [(1, 2), (2, 3), (3, 1), (6, 4)])
def test_validation_batches_hold_each_video_once_on_one_rank(
    entries: list[Entry], tmp_path: Path, world_size: int, clips: int
) -> None:
    listed = [*entries[:2], broken(tmp_path), *entries[2:4]]
    batches = [
        batch
        for rank in range(world_size)
        for batch in load(validation(listed), shard_plan(5, clips=clips, rank=rank, world_size=world_size), workers=0)
    ]
    assert sorted(video for batch in batches for video in batch.names) == sorted(e.video for e in entries[:4])
    assert [failure.video for batch in batches for failure in batch.failures] == ["broken.mp4"]
    assert all(len(batch.clips) == len(batch.labels) == len(batch.names) for batch in batches)
    assert max(len(batch.names) for batch in batches) <= clips
    labels = {video: int(label) for batch in batches for video, label in zip(batch.names, batch.labels, strict=True)}
    assert labels == {entry.video: entry.label for entry in entries[:4]}


def test_a_training_batch_names_its_videos(entries: list[Entry], tmp_path: Path) -> None:
    videos = training([*entries[:3], broken(tmp_path)])
    (batch,) = load(videos, plan(0, 1), workers=0)
    (failure,) = batch.failures
    assert failure.video == "broken.mp4"
    drawn = [videos.name(i, 0) for i in range(4)]
    replaced = drawn.index("broken.mp4")
    drawn[replaced] = videos.name(replaced, 1)
    assert list(batch.names) == drawn


@pytest.mark.slow
def test_validation_in_workers_is_the_same(entries: list[Entry], tmp_path: Path) -> None:
    listed = [broken(tmp_path), *entries[:4]]

    def batches(workers: int) -> list[ClipBatch]:
        shard = shard_plan(len(listed), clips=1, rank=0, world_size=1)
        return load(validation(listed), shard, workers=workers)

    for own, other in zip(batches(0), batches(2), strict=True):
        assert torch.equal(own.clips, other.clips)
        assert own[2:] == other[2:]


# Workers that die


class Dangerous:
    """Items that are their own number and its failures; some of them are dangerous the first time."""

    def __init__(self, danger: dict[int, str], *, attempts: int = 1) -> None:
        self.danger, self.attempts = danger, attempts

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> tuple[int, list[Failure]]:
        attempt = 0
        while attempt in lost:
            attempt += 1
        started(attempt)
        danger = self.danger.get(index) if attempt < self.attempts else None
        if danger == "hang":  # In C code that holds the interpreter: no signal handler and no thread runs.
            torch.ones(1).numpy().tobytes()
            _hang()
        elif danger == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif danger == "exit":
            os._exit(3)
        elif danger == "error":
            raise DecodeError("ten videos in a row")
        return index, list(lost.values())

    def name(self, index: int, attempt: int) -> str:
        return f"{index}-{attempt}.mp4"


def _hang() -> None:
    """A regular expression that backtracks for years, in one call of the interpreter."""
    import re

    re.match(r"(a+)+$", "a" * 60 + "b")


def numbers(videos: Dangerous, **options: Any) -> list[tuple[int, list[Failure]]]:
    items = Loader(videos, [range(i, i + 2) for i in range(0, 12, 2)], collate=list, **options)
    return [item for batch in items for item in batch]


@pytest.mark.slow
@pytest.mark.parametrize("danger", ["hang", "crash", "exit"])
def test_a_lost_worker_costs_its_video_and_nothing_else(danger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "GRACE_S", 0.5)
    found = numbers(Dangerous({5: danger}), workers=2, limit_s=1.0)
    assert [number for number, _ in found] == list(range(12))
    failures = {number: failures for number, failures in found if failures}
    assert failures.keys() == {5}
    (failure,) = failures[5]
    assert failure.video == "5-0.mp4"
    assert failure.transient
    assert ("was ended after 1.0 s" in failure.cause) == (danger == "hang")


@pytest.mark.slow
def test_replacements_may_be_lost_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "GRACE_S", 0.5)
    found = numbers(Dangerous({3: "exit", 8: "exit"}, attempts=2), workers=2, limit_s=5.0)
    assert [number for number, _ in found] == list(range(12))
    assert {number: [f.video for f in failures] for number, failures in found if failures} == {
        3: ["3-0.mp4", "3-1.mp4"],
        8: ["8-0.mp4", "8-1.mp4"],
    }


@pytest.mark.slow
def test_an_error_in_a_worker_is_that_error() -> None:
    for workers in (0, 2):
        with pytest.raises(DecodeError, match=r"^ten videos in a row$"):
            numbers(Dangerous({5: "error"}), workers=workers, limit_s=5.0)


@pytest.mark.slow
def test_a_hanging_file_is_a_failure_in_testing_and_the_rest_is_tested(
    entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_module, "GRACE_S", 0.5)
    items = list(testing_loader(Stuck(testing(entries[:5])), range(5), rank=0, world_size=1, workers=2, limit_s=3.0))
    assert [item.video for item in items] == [entry.video for entry in entries[:5]]
    assert [isinstance(item.views, Failure) for item in items] == [False, False, True, False, False]


class Stuck(TestingVideos):
    """The third video hangs in native code."""

    def __init__(self, videos: TestingVideos) -> None:
        self.__dict__ = dict(videos.__dict__)
        self.decode = partial(_stuck_at, self.entries[2].path)


def _stuck_at(stuck: str, path: str, *arguments: Any) -> Any:
    from nonlocal_video.data.decode import decode

    if path == stuck:
        _hang()
    return decode(path, *arguments)


SCRIPT = """
import sys, time
from tests.data.test_loader import Dangerous
from nonlocal_video.data.loader import Loader
if __name__ == "__main__":
    for batch in Loader(Dangerous({}), [range(i, i + 1) for i in range(10**6)], collate=list, workers=2, limit_s=5):
        print("batch", flush=True)
        time.sleep(0.2)
"""


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root), "NONLOCAL_TEST": str(tmp_path)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    before = _descendants(tmp_path)
    assert len(before) >= 4  # The parent, the server that forks, two workers.
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while _descendants(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _descendants(tmp_path)


def _descendants(mark: Path) -> list[int]:
    """The processes with our mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, state = (
                (process / "environ").read_bytes(),
                (process / "stat").read_text().rsplit(")")[1].split()[0],
            )
        except OSError:
            continue
        if str(mark).encode() in environment and state != "Z":
            found.append(int(process.name))
    return found
