import io
import json
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nonlocal_video.engine.log import RunLog
from nonlocal_video.system.plain import json_lines
from nonlocal_video.types import Failure


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_metrics(folder: Path) -> list[dict]:
    return list(json_lines(folder / "metrics.jsonl", dict))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard would show: steps and values by name."""
    events = read_events(folder)
    return {tag: [(one.step, round(one.value, 4)) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def read_events(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


@contextmanager
def full_disk(bytes_left: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes, whatever is written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Records


def test_a_resumed_log_holds_each_step_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path, source="videos", step=0)
    for number in (10, 20, 30):
        log.write({"step": number, "loss": 1.0}, [Failure("a.mp4", "broken")])
        log.write({"step": number, "clip_loss": 1.0}, group="validation")
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 35, "lo')  # Killed while writing.
    log = RunLog(tmp_path, source="videos", step=20)
    log.write({"step": 30, "loss": 2.0}, [])
    log.write({"step": 30, "clip_loss": 2.0}, group="validation")
    log.close()
    expected = [(10, 1.0), (20, 1.0), (30, 2.0)]
    assert [(record["step"], record["loss"]) for record in read_metrics(tmp_path)] == expected
    validation = lines_of(tmp_path / "validation.jsonl")
    assert [(record["step"], record["clip_loss"]) for record in validation] == expected
    assert [record["step"] for record in lines_of(tmp_path / "failed_videos.jsonl")] == [10, 20]
    assert scalars(tmp_path) == {"train/loss": expected, "validation/clip_loss": expected}


@pytest.mark.parametrize("rest", [b'{"step": 20, "lo', b"\0" * 4096, b"\0" * 100 + b"\n" + b"\0" * 100])
def test_what_a_killed_process_or_a_loss_of_power_left_is_dropped(tmp_path: Path, rest: bytes) -> None:
    log = RunLog(tmp_path, source="videos", step=0)
    log.write({"step": 10, "loss": 1.0}, [])
    log.close()
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(rest)
    assert read_metrics(tmp_path) == [{"step": 10, "loss": 1.0}]
    log = RunLog(tmp_path, source="videos", step=10)
    log.write({"step": 20, "loss": 2.0}, [])
    log.close()
    assert lines_of(tmp_path / "metrics.jsonl") == [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 2.0}]


def test_lines_have_the_time_and_are_never_dropped(tmp_path: Path) -> None:
    for step, message in ((0, "step 10/20"), (0, "again")):
        log = RunLog(tmp_path, source="videos", step=step)
        log.line(message)
        log.close()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  "
    assert re.fullmatch(rf"{stamp}step 10/20\n{stamp}again\n", (tmp_path / "train.log").read_text())


def test_files_of_records_are_there_from_the_start(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    RunLog(tmp_path, source="videos", step=0).close()
    assert [(tmp_path / f"{name}.jsonl").read_text() for name in ("metrics", "validation", "failed_videos")] == [""] * 3


# TensorBoard


def test_tensorboard_shows_training_blocks_and_validation_apart(tmp_path: Path) -> None:
    log = RunLog(tmp_path, source="videos", step=0)
    log.write({"step": 10, "loss": 0.5, "lr": 0.01, "nonlocal/res3.1": 0.25}, [])
    log.write({"step": 10, "clip_loss": 1.5, "clip_top1": 40.0, "videos": 9, "failed": 1}, group="validation")
    shown = scalars(tmp_path)  # Before the log is closed: a run can be watched, and a killed one loses nothing.
    log.close()
    assert shown == {
        "train/loss": [(10, 0.5)],
        "train/lr": [(10, 0.01)],
        "nonlocal/res3.1": [(10, 0.25)],
        "validation/clip_loss": [(10, 1.5)],
        "validation/clip_top1": [(10, 40.0)],
        "validation/videos": [(10, 9.0)],
        "validation/failed": [(10, 1.0)],
    }


def test_tensorboard_shows_the_settings_and_clips_of_a_run_also_of_one_that_began_again(tmp_path: Path) -> None:
    for _ in range(2):
        log = RunLog(tmp_path, source="videos", step=0)
        log.introduce("seed: 3\nclip:\n  length: 8", {"clips": torch.zeros(3, 20, 40, dtype=torch.uint8)})
        log.close()
    events = read_events(tmp_path)
    text = events.Tensors("config/text_summary")[-1].tensor_proto.string_val[0]
    assert b"seed: 3\nclip:\n  length: 8\n" in text
    (picture,) = events.Images("clips")
    assert (picture.height, picture.width) == (20, 40)


# A full disk


def test_a_full_disk_is_told_once_and_nothing_is_lost_when_it_has_room_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = RunLog(tmp_path, source="videos", step=0)
    log.write({"step": 1, "loss": 1.0}, [])
    with full_disk(600):
        for step in range(2, 50):
            log.write({"step": step, "loss": 1.0}, [Failure(f"{step}.mp4", "broken")])
            log.line(f"step {step}")
        said = capsys.readouterr().err
        assert said.count("warning: the log cannot be written") == 1
        assert "File too large" in said
        for name in ("metrics.jsonl", "failed_videos.jsonl", "train.log"):
            text = (tmp_path / name).read_text()
            assert 500 < len(text) <= 600, "as much as there is room for"
            assert text.endswith("\n"), "whole lines"
    log.write({"step": 50, "loss": 1.0}, [])
    assert capsys.readouterr().err.count("the log is written again") == 1
    log.close()
    assert capsys.readouterr().err == ""
    assert [record["step"] for record in read_metrics(tmp_path)] == list(range(1, 51))
    assert len(lines_of(tmp_path / "failed_videos.jsonl")) == 48
    assert len((tmp_path / "train.log").read_text().splitlines()) == 48
    assert scalars(tmp_path)["train/loss"] == [(step, 1.0) for step in range(1, 51)]


def test_a_log_that_stays_without_room_says_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with full_disk(0):
        log = RunLog(tmp_path / "run", source="videos", step=0)
        log.write({"step": 1, "loss": 1.0}, [])
        log.close()
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: the log cannot be written")
    assert "metrics.jsonl" in last
    assert "events.out" in last
    assert "are lost" in last
    assert "train.log" not in last


def test_a_run_resumes_on_a_full_disk(tmp_path: Path) -> None:
    log = RunLog(tmp_path, source="videos", step=0)
    for step in range(1, 50):
        log.write({"step": step, "loss": 1.0}, [])
    log.close()
    with full_disk(0):
        RunLog(tmp_path, source="videos", step=20)
    assert [record["step"] for record in read_metrics(tmp_path)] == list(range(1, 21))


class Full(io.StringIO):
    """A stream to a file on a full disk."""

    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_stderr_that_is_full_too_does_not_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    with full_disk(0):
        RunLog(tmp_path, source="videos", step=0).close()
