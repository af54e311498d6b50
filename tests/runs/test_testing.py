"""tools/test.py as a user runs it: resumed, unlabelled, under other protocols."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from nonlocal_video.engine.evaluate import journals
from nonlocal_video.models.weights.file import load_model, save_model
from nonlocal_video.models.zoo import build_network
from tests.runs.test_main_job import THREE, error_of, evaluate, tool, train
from tests.small_runs import started, tested, wait_until

ALL = [f"videos/val_{number:04d}.mp4" for number in range(9)]


@pytest.fixture(scope="module")
def run(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained NL-C2D."""
    runs = tmp_path_factory.mktemp("runs")
    train(miniature, runs, "experiment=miniature/nl_c2d", "name=run")
    return runs / "run"


@pytest.fixture(scope="module")
def whole(run: Path) -> dict[str, Any]:
    """The report of the run's test in one go, in test/whole."""
    return evaluate(run, "name=whole")


def scores(folder: Path) -> dict[str, list[float]]:
    return {line["video"]: line["scores"] for line in tested(folder)}


def command(run: Path, *arguments: str) -> list[str]:
    return [sys.executable, "tools/test.py", f"run={run}", THREE, "runtime.threads=1", *arguments]


def kill_after(num_videos: int, folder: Path, command: list[str], log: Path) -> None:
    """Starts a test and kills it as soon as each of its journals has a header and they have so many videos in all."""

    def scored() -> int:
        return sum(path.read_bytes().count(b"\n") - 1 for path in journals(folder))

    with started(command, log) as process:
        wait_until(lambda: scored() >= num_videos or process.poll() is not None, limit_s=120, every_s=0.005)
        assert process.poll() is None, log.read_text()[-3000:]


def test_a_killed_test_goes_on_where_it_was(
    run: Path, whole: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run / "test/killed"
    kill_after(2, folder, command(run, "name=killed", "runtime.workers=0"), tmp_path / "log")
    (journal,) = journals(folder)
    kept = journal.read_text().count("\n") - 1
    assert 2 <= kept < 9
    assert not (folder / "report.json").exists()
    capsys.readouterr()
    report = evaluate(run, "name=killed", "runtime.devices=1")
    assert f"goes on: {kept} videos were tested before" in capsys.readouterr().out
    assert scores(folder) == scores(run / "test/whole")
    assert {key: report[key] for key in ("top1", "clip_top1", "after_clips", "videos")} == {
        key: whole[key] for key in ("top1", "clip_top1", "after_clips", "videos")
    }
    assert report["time"]["resumed_videos"] == kept
    assert not journals(folder)


def test_what_was_left_of_another_test_is_said_and_not_gone_on_with(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run / "test/changed"
    folder.mkdir(parents=True)
    header = {"test": {"weights": "of before"}}
    (folder / "unfinished.rank0.jsonl").write_text(json.dumps(header) + "\n")
    capsys.readouterr()
    report = evaluate(run, "name=changed")
    out = capsys.readouterr().out
    assert "begins anew: " in out
    assert "weights: was of before, now" in out
    assert report["time"]["resumed_videos"] == 0
    assert not journals(folder)


def without_costs(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key not in ("time", "processes", "cost")}


@pytest.mark.slow
def test_reports_are_the_same_on_1_2_and_3_processes_and_when_killed_between(
    run: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    """Bit for bit, with and without loader processes: one, two, and two that were killed, finished by three."""
    two = evaluate(run, "name=two", "runtime.devices=2", "runtime.workers=1")
    on_two = command(run, "name=many", "runtime.workers=0", "runtime.devices=2")
    kill_after(2, run / "test/many", on_two, tmp_path / "log")
    many = evaluate(run, "name=many", "runtime.devices=3")
    assert 2 <= many["time"]["resumed_videos"] < 9
    assert without_costs(whole) == without_costs(two) == without_costs(many)
    kept = [tested(run / "test" / name) for name in ("whole", "two", "many")]
    assert kept[0] == kept[1] == kept[2]
    assert sorted(scores(run / "test/many")) == ALL


@pytest.mark.usefixtures("whole")
def test_a_list_without_labels_gives_predictions_only(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unlabelled.txt").write_text("\n".join(ALL[:4]))
    capsys.readouterr()
    report = evaluate(run, "name=unlabelled", f"data.val={tmp_path}/unlabelled.txt")
    assert "predictions only" in capsys.readouterr().out
    assert report["labels"] is False
    assert not {key for key in report if "top1" in key} - {"train_top1"}
    assert [(line["video"], line["label"]) for line in tested(run / "test/unlabelled")] == [
        (name, None) for name in ALL[:4]
    ]
    labelled = scores(run / "test/whole")
    assert scores(run / "test/unlabelled") == {name: labelled[name] for name in ALL[:4]}


def test_the_newest_whole_checkpoint_of_an_unfinished_run_is_tested_and_named(
    run: Path, miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(miniature, tmp_path, "experiment=miniature/nl_c2d", "name=cut", "runtime.checkpoint_every=1", "optim.steps=3")
    (config := tmp_path / "cut/config.yaml").write_text(config.read_text().replace("steps: 3", "steps: 9"))
    newest = tmp_path / "cut/checkpoints/step_00000003.pt"
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    capsys.readouterr()
    report = evaluate(tmp_path / "cut")
    out = capsys.readouterr().out
    assert "step 2 of 9" in out
    assert "this run is not finished: its newest whole checkpoint is of step 2 of 9" in out
    assert f"passed over: {newest}" in out
    assert report["weights"].endswith("step_00000002.pt")


def is_square(path: Path) -> bool:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.height == stream.width


def test_square_videos_have_the_same_scores_under_full_frame_and_crops(run: Path, miniature: Path) -> None:
    """To float32's rounding; other videos have other ones."""
    reports = {name: evaluate(run, f"name={name}", f"protocol={name}") for name in ("full_10", "10x3", "10x1")}
    full = scores(run / "test/full_10")
    for name, report in reports.items():
        assert report["protocol"]["name"] == name
        for video, values in scores(run / "test" / name).items():
            agrees = values == pytest.approx(full[video], abs=1e-6)
            assert agrees == (name == "full_10" or is_square(miniature / video)), video
    assert reports["10x3"]["cost"]["pixels_per_video"] == 3 * reports["10x1"]["cost"]["pixels_per_video"]
    assert reports["10x1"]["cost"]["pixels_per_video"] < reports["full_10"]["cost"]["pixels_per_video"]


def test_the_default_protocol_has_ten_clips_of_the_whole_frame_and_names_the_folder(run: Path) -> None:
    tool("test.py", f"run={run}", "runtime.workers=0", "protocol.flips=true")
    report = json.loads((run / "test/full_10-flips_true/report.json").read_text())
    assert report["protocol"] == {
        "name": "full_10", "num_clips": 10, "placement": "released", "crops": "full", "short_side": 55, "flips": True,
        "combine": "mean", "fps": None,
    }  # fmt: skip
    assert [row["clips"] for row in report["after_clips"]] == list(range(1, 11))


def test_views_are_kept_where_asked_and_half_precision_is_near(run: Path) -> None:
    """Weights of four steps: bfloat16 moves scores by less than 0.02."""
    evaluate(run, "name=views", "save_views=true")
    evaluate(run, "name=half", "runtime.precision=bf16")
    half = scores(run / "test/half")
    for line in tested(run / "test/views"):
        views = torch.tensor(line["views"], dtype=torch.float64)
        assert views.shape == (3, 2)
        assert views.mean(0).tolist() == pytest.approx(line["scores"], abs=1e-7)
        assert half[line["video"]] == pytest.approx(line["scores"], abs=0.02)
        assert half[line["video"]] != line["scores"]


def test_a_file_of_weights_of_another_network_than_the_run_s_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would fit: 8x2 and 8x4 networks have the same tensors."""
    model = load_model(run / "model.safetensors")
    for stride in (2, 4):
        options = dataclasses.replace(model.options, clip_stride=stride, name=f"nl_c2d_small_8x{stride}")
        other = build_network(options)
        other.load_state_dict(model.state_dict())
        save_model(tmp_path / f"stride{stride}.safetensors", other, origin="a test")
    assert evaluate(run, "name=own", f"weights={tmp_path}/stride2.safetensors")["videos"]["decoded"] == 9
    message = error_of(capsys, "test.py", f"run={run}", f"weights={tmp_path}/stride4.safetensors")
    assert "weights of another network than that of the run: clip_stride: got 4, expected 2" in message
