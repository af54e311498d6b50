"""A dry run checks what a start checks, tells what it tells, and takes half a minute at most."""

from pathlib import Path

import pytest
import torch

from nonlocal_video.models.weights.file import save_model
from nonlocal_video.models.zoo import build_model
from nonlocal_video.runs import dry_run
from nonlocal_video.runs.dry_run import StepTimes, time_steps
from tests.runs.test_main_job import error_of, tool, train_arguments


def dry(miniature: Path, runs: Path, *overrides: str) -> list[str]:
    return [*train_arguments(miniature, runs, "experiment=miniature/nl_c2d", "name=run", *overrides), "dry_run=true"]


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "MEASURED_STEPS", 1)


# What it says


def test_dry_run_prints_the_start_for_the_devices_asked_for_and_writes_nothing(
    miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "start.safetensors", build_model("nl_c2d_small_8x2", num_classes=5), origin="a test")
    weights = f"init.weights={tmp_path}/start.safetensors"
    tool("train.py", *dry(miniature, tmp_path / "runs", "runtime.devices=8", weights))
    said = capsys.readouterr().out
    in_order = [
        f"run: {tmp_path}/runs/run (NOT TRAINED)",
        "run run on 8 x cpu, fp32",
        "data relation: 24 videos listed, 0 missing, 2 classes of ",
        "batch 4 clips x 1 passes x 8 processes = 32",
        "learning rate 0.05 x 32 / 4 = 0.4 (linear rule)",
        "expected of experiment=miniature/nl_c2d as it stands: README's table of the miniature",
        f"started from {tmp_path}/start.safetensors, a network of this project (a test)",
        "fresh classifier: 2 classes",
        "timing a step of 4 clips of 48x48",
        "s a step (median of 1 on noise, without loading and communication) x 4 steps x 8 processes = ",
    ]
    places = [said.index(line) for line in in_order]
    assert places == sorted(places)
    assert not (tmp_path / "runs").exists()


def test_dry_run_without_videos_and_weights_says_that_they_were_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dry_run, "_step_seconds", lambda *_, clips, side: clips * side**2 / 50_000)
    kinetics = ["experiment=kinetics/nl_c2d_r50_8x8", "runtime.devices=8", f"runtime.runs={tmp_path}", "dry_run=true"]
    tool("train.py", *kinetics)
    said = capsys.readouterr().out
    assert "note: data.root is not given: no list of videos was looked at" in said
    assert "note: init.weights is not given: the weights to start from were not looked at" in said
    assert "batch 8 clips x 1 passes x 8 processes = 64" in said
    assert "expected of experiment=kinetics/nl_c2d_r50_8x8 as it stands: top-1, top-5: 74.4, 91.4 (released" in said
    assert "cost: 8.03 s a step (median of " in said


# What it refuses, as the start does


REFUSED = {
    "no list": (["data.train=/gone/list.txt"], "data.train: /gone/list.txt: no such list of videos; data.train=FILE"),
    "no list to test on": (["test=1x1", "data.val=/gone/val.txt"], "data.val: /gone/val.txt: no such list of videos"),
    "no classes": (["data.classes=/gone/classes.txt"], "data.classes: /gone/classes.txt: "),
    "no weights": (["init.weights=/gone/x.pt"], "init.weights: /gone/x.pt: no such file; give another one with"),
    "junk": (["init.weights={tmp}/junk.pth"], "junk.pth: cannot be read as"),
    "another network": (["init.weights={tmp}/other.safetensors"], "other.safetensors: backbone.conv1.weight has shape"),
}


STARTED = [("no list", "false"), ("no list to test on", "false"), ("junk", "false")]


@pytest.mark.parametrize(("case", "dry_run"), [*((case, "true") for case in REFUSED), *STARTED])
def test_dry_run_and_start_refuse_the_same(
    case: str, dry_run: str, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "junk.pth").write_text("junk")
    save_model(tmp_path / "other.safetensors", build_model("i3d_small_8x2", num_classes=2), origin="a test")
    overrides, message = REFUSED[case]
    words = [word.format(tmp=tmp_path) for word in overrides]
    arguments = [*dry(miniature, tmp_path / "runs", "runtime.validate_every=0", *words)[:-1], f"dry_run={dry_run}"]
    assert message in error_of(capsys, "train.py", *arguments)


def test_dry_run_for_more_gpus_than_are_here_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    tool("train.py", *dry(miniature, tmp_path, "runtime.devices=8"))
    assert "run run on 8 x " in capsys.readouterr().out
    words = dry(miniature, tmp_path, "runtime.devices=8")[:-1]
    assert "runtime.devices: got 8, expected at most 1" in error_of(capsys, "train.py", *words)


# How long it takes


SIZES = [(1, 112), (1, 224), (8, 224)]


@pytest.mark.parametrize(
    ("a_clip_s", "largest"),
    [(0.01, (8, 224)), (2.0, (8, 224)), (3.6, (1, 224)), (10.0, (1, 224)), (60.0, (1, 112)), (200.0, (1, 112))],
)
def test_timing_stops_at_the_limit_and_goes_as_far_as_it_can(a_clip_s: float, largest: tuple[int, int]) -> None:
    """A step takes time in proportion to its pixels; only one that alone takes more passes the limit."""
    spent = []

    def take(clips: int, side: int) -> float:
        spent.append(a_clip_s * clips * (side / 224) ** 2)
        return spent[-1]

    timed = time_steps(take, SIZES, limit_s=30.0)
    assert (timed.clips, timed.side) == largest
    assert sum(spent) <= max(30.0, spent[0])
    assert timed.seconds * timed.work_of(8, 224) == pytest.approx(8 * a_clip_s)


def test_timing_leaves_out_the_steps_that_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "MEASURED_STEPS", 3)
    seconds = iter([5.0, 4.0, 1.0, 2.0, 1.5])
    assert time_steps(lambda *_: next(seconds), [(2, 48)], limit_s=30.0) == StepTimes(2, 48, 1.5, 3)
