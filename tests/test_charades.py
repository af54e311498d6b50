"""Charades, from the lists to Table 4: the experiments are the paper's, and the tools run on a miniature of it."""

import csv
import json
import math
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from nonlocal_video.cli import compose as edge
from nonlocal_video.cli.tables import CONFIGS, composed, read_table, row_config
from nonlocal_video.data.prepare.encode import write_video
from nonlocal_video.data.prepare.miniature import make_miniature
from nonlocal_video.data.prepare.miniature_charades import ACTIONS, CLASSES, HEADER
from nonlocal_video.models.weights.file import load_model
from nonlocal_video.runs.network import composed_network
from nonlocal_video.runs.recipe import make_recipe
from tests.conftest import numbered_frames
from tests.metrics.test_average_precision import official
from tests.runs.test_main_job import FAST, error_of, evaluate, tool
from tests.small_runs import tested

# The experiments


class Wanted(NamedTuple):
    """What the paper (Sec. 5.2), or the configs of long-term feature banks, say."""

    model: str
    clip: tuple[int, int, int]
    """Frames, stride and crop."""
    jitter: tuple[int, int]
    clips: int
    """On each of 8 GPUs."""
    lr: float
    steps: int
    drops: tuple[int, ...]
    decay: float
    dropout: float
    block_norm: str
    protocol: str
    short_side: int
    mean_ap: str


PAPER = ((128, 1, 288), (329, 411), 1, 0.00125, 200_000, (75_000, 150_000), 1e-4, 0.5, "none", "charades_full", 320)
BANKS = ((32, 4, 224), (256, 320), 2, 0.02, 24_000, (20_000,), 1.25e-5, 0.3, "affine", "charades_lfb", 256)
WANTED = {
    "i3d_r101_128x1": Wanted("i3d_r101_128x1", *PAPER, "35.5 on the validation videos (paper)"),
    "nl_i3d_r101_128x1": Wanted("nl_i3d_r101_128x1", *PAPER, "37.5 on the validation videos (paper)"),
    "i3d_r101_128x1_trainval": Wanted("i3d_r101_128x1", *PAPER, "37.2 on the hidden test videos"),
    "nl_i3d_r101_128x1_trainval": Wanted("nl_i3d_r101_128x1", *PAPER, "39.5 on the hidden test videos"),
    "nl_i3d_r50_32x4": Wanted("nl_i3d_r50_32x4", *BANKS, "38.3 on the validation videos (published there)"),
    "nl_i3d_r101_32x4": Wanted("nl_i3d_r101_32x4", *BANKS, "40.4 on the validation videos (published there)"),
}


@pytest.mark.parametrize("name", WANTED)
def test_recipe_is_the_paper_s_or_that_of_long_term_feature_banks(name: str) -> None:
    wanted = WANTED[name]
    start = "machine.starts.nl_i3d_r101_32x4=start.pkl"
    cfg, hydra = composed("train", [f"experiment=charades/{name}", "data.root=data", start])
    config = edge.train_config(cfg, hydra)
    with torch.device("meta"):
        model = composed_network(config.model)
    clip, optim, options = config.clip, config.optim, model.options
    recipe = make_recipe(config, processes=8)
    assert (clip.length, clip.stride, clip.crop) == wanted.clip
    assert (tuple(clip.jitter), clip.fps, config.data.frame_rate) == (wanted.jitter, 24, 24)
    assert (optim.clips_per_device, recipe.schedule.base_lr) == (wanted.clips, wanted.lr)
    assert (optim.steps, tuple(optim.milestones), optim.weight_decay) == (wanted.steps, wanted.drops, wanted.decay)
    assert (options.name, options.norm, options.activation) == (wanted.model, "affine", "sigmoid")
    assert (options.nonlocal_norm, options.dropout, options.num_classes) == (wanted.block_norm, wanted.dropout, 157)
    assert config.test == wanted.protocol
    protocol, _ = composed("test", [f"protocol={config.test}", "run=x"])
    assert (protocol.protocol.short_side, protocol.protocol.combine) == (wanted.short_side, "max")
    assert f"# Expected mAP: {wanted.mean_ap}" in (CONFIGS / f"experiment/charades/{name}.yaml").read_text()
    trained_on = "Charades_v1_trainval.csv" if "trainval" in name else "Charades_v1_train.csv"
    assert (config.data.labels, config.data.train) == ("clip", f"data/{trained_on}")
    assert config.init.weights is not None
    first = name.removesuffix("_trainval")
    assert config.init.weights in ("start.pkl", f"runs/kinetics_{first}/model.safetensors")


def test_head_of_an_experiment_gives_a_command_that_composes() -> None:
    for path in sorted((CONFIGS / "experiment/charades").glob("*.yaml")):
        run = re.search(r"# Run: python tools/train\.py (experiment=charades/(\S+).*)", path.read_text())
        assert run is not None
        assert run[2] == path.stem


def test_table_4_is_the_paper_s() -> None:
    table = read_table("charades/table4")
    assert table.metrics == ("map",)
    assert {row.name: row.paper for row in table.rows.values()} == {
        "two_stream": (18.6,), "two_stream_lstm": (17.8,), "asyn_tf": (22.4,), "i3d_carreira": (32.9,),
        "i3d": (35.5,), "nl_i3d": (37.5,),
    }  # fmt: skip
    configs = [row_config(table, table.job(name), ["data.root=data"]) for name in ("i3d", "nl_i3d")]
    assert [config.model.name for config in configs] == ["i3d_r101_128x1", "nl_i3d_r101_128x1"]
    assert [config.test for config in configs] == ["charades_full"] * 2
    assert {config.test for config in configs} == {"charades_full"}


def test_scores_that_are_not_for_the_labels_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(capsys, "train.py", "experiment=miniature/charades_i3d", "model.activation=softmax")
    assert "model.activation: got softmax, expected sigmoid with data.labels=clip" in message
    message = error_of(capsys, "train.py", "experiment=miniature/charades_i3d", "data.labels=some")
    assert "data.labels: got some, expected one, clip or video" in message


# Bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("id,subject", "video,subject"),
            r"Charades_v1_train.csv:1: got the columns video, subject, .*, expected id, ",
        ),
        (("c000 1 2", "c000 2 1"), r"csv:2: got the action 'c000 2 1', expected an end that is not before its start"),
        (("c000 1 2", "c000 1"), r"csv:2: got the action 'c000 1', expected a class and its times"),
        (("c000 1 2", "c007 1 2"), r"csv:2: got label 7, expected 0 to 6"),
        (("AAAAA", "ZZZZZ"), r"1 of 2 listed videos are missing \(.*ZZZZZ\.mp4"),
    ],
    ids=["header", "end before start", "no end", "unknown class", "missing video"],
)
def test_bad_lists_are_refused_before_training(
    change: tuple[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = two_videos(tmp_path)
    path = folder / "Charades_v1_train.csv"
    path.write_text(path.read_text().replace(*change))
    got = error_of(capsys, "train.py", *settings_for(folder))
    assert re.search(message, got), got


def test_actions_behind_the_end_are_used_up_to_it_and_told(tmp_path: Path) -> None:
    folder = two_videos(tmp_path)
    path = folder / "Charades_v1_train.csv"
    path.write_text(path.read_text().replace("AAAAA,,,,,,,,,c000 1 2", "AAAAA,,,,,,,,,c000 1 99"))
    with pytest.warns(
        UserWarning, match=r"1 actions last longer than their video \(the first: AAAAA\); cut at its end"
    ):
        tool("train.py", *settings_for(folder))


def test_a_folder_with_a_gap_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = two_videos(tmp_path)
    for name in ("AAAAA", "BBBBB"):
        (folder / f"videos/{name}.mp4").unlink()
        (folder / "videos" / name).mkdir()
        for number in (1, 2, 4):
            frame = Image.fromarray(np.zeros((64, 64, 3), np.uint8))
            frame.save(folder / f"videos/{name}/{name}-{number:06d}.jpg")
    message = error_of(capsys, "train.py", *settings_for(folder))
    assert re.search(r"(AAAAA|BBBBB): 1 of 4 frames are missing, the first: 3", message), message


def two_videos(tmp_path: Path) -> Path:
    """Two videos of 3 s with an action each, in the form of Charades."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "Charades_v1_classes.txt").write_text("".join(f"c{k:03d} {name}\n" for k, name in enumerate(CLASSES)))
    rows = [f"{name},,,,,,,,,c000 1 2,3.00\n" for name in ("AAAAA", "BBBBB")]
    for which in ("train", "test"):
        (tmp_path / f"Charades_v1_{which}.csv").write_text(",".join(HEADER) + "\n" + "".join(rows))
    for name in ("AAAAA", "BBBBB"):
        write_video(tmp_path / f"videos/{name}.mp4", numbered_frames(72, height=64, width=64), fps=24)
    return tmp_path


def settings_for(folder: Path) -> list[str]:
    place = [f"data.root={folder}/videos", f"runtime.runs={folder}/runs"]
    return [*place, *FAST, "experiment=miniature/charades_i3d", "runtime.validate_every=0", "optim.steps=1"]


# From the lists to the table, on a small miniature


@pytest.fixture(scope="module")
def charades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training and 10 testing videos."""
    folder = tmp_path_factory.mktemp("charades")
    make_miniature(folder, ACTIONS, num_train=12, num_val=10, processes=1)
    return folder


@pytest.fixture(scope="module")
def run(charades: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained NL-I3D."""
    runs = tmp_path_factory.mktemp("runs")
    settings = ["experiment=miniature/charades_i3d", "model=nl_i3d_small", "runtime.validate_every=2", "name=run"]
    tool("train.py", f"data.root={charades}/videos", f"runtime.runs={runs}", *FAST, *settings)
    return runs / "run"


@pytest.fixture(scope="module")
def report(run: Path) -> dict:
    """Of the run's test, in test/three."""
    return evaluate(run)


def labels(charades: Path) -> dict[str, list[int]]:
    """Of the testing videos, read by other means."""
    with (charades / "Charades_v1_test.csv").open() as file:
        rows = {row["id"]: row["actions"].split(";") if row["actions"] else [] for row in csv.DictReader(file)}
    return {video: sorted({int(action[1:4]) for action in actions}) for video, actions in rows.items()}


def test_training_logs_the_mean_average_precision_of_single_clips(run: Path) -> None:
    records = [json.loads(line) for line in (run / "validation.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2, 4]
    assert records[0].keys() == {"step", "clip_loss", "clip_map", "videos", "failed"}
    assert 0 < records[0]["clip_map"] <= 100
    log = (run / "train.log").read_text()
    assert re.search(r"step 4/4  loss [\d.]+  hit@1 [\d.]+%", log)
    assert f"mAP {records[1]['clip_map']:.1f}% of 10 videos, one random clip each" in log


def test_report_has_the_official_mean_average_precision(run: Path, report: dict, charades: Path) -> None:
    assert report["protocol"]["name"] == "full_10_max", "as the experiment says"
    folder = run / "test/three"
    found = tested(folder)
    assert {line["video"]: line["label"] for line in found} == labels(charades)
    targets = [[int(label in line["label"]) for label in range(len(CLASSES))] for line in found]
    mean, weighted, classes = official([line["scores"] for line in found], targets)
    assert report["map"] == pytest.approx(100 * mean)
    assert report["weighted_map"] == pytest.approx(100 * weighted)
    assert report["map_of_listed"] == report["map"]
    assert report["map_interval"][0] < report["map"] < report["map_interval"][1]
    assert "top1" not in report
    with (folder / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(CLASSES)
    assert [row["ap"] for row in rows] == [f"{100 * ap:.2f}" if not math.isnan(ap) else "" for ap in classes]
    assert "## Average precision" in (folder / "report.md").read_text()
    assert (folder / "average_precision.png").is_file()
    assert not (folder / "confusion.png").exists()


@pytest.mark.usefixtures("report")
def test_submission_has_a_line_for_each_video_with_all_scores(run: Path) -> None:
    folder = run / "test/three"
    words = [line.split(" ") for line in (folder / "submission.txt").read_text().splitlines()]
    assert [word[0] for word in words] == [line["video"] for line in tested(folder)]
    for word, line in zip(words, tested(folder), strict=True):
        assert [float(score) for score in word[1:]] == pytest.approx(line["scores"], rel=1e-8)


@pytest.mark.slow
def test_report_is_the_same_on_two_processes(run: Path, report: dict) -> None:
    one, two = report, evaluate(run, "name=two", "runtime.devices=2")
    without = ("time", "processes", "cost")
    assert {k: v for k, v in one.items() if k not in without} == {k: v for k, v in two.items() if k not in without}
    assert (run / "test/three/submission.txt").read_bytes() == (run / "test/two/submission.txt").read_bytes()


def test_hidden_test_videos_get_predictions_and_a_submission(run: Path, charades: Path, tmp_path: Path) -> None:
    rows = "".join(f"{video},S,Kitchen,8\n" for video in labels(charades))
    (tmp_path / "hidden.csv").write_text(f"id,subject,scene,length\n{rows}")
    report = evaluate(run, f"data.val={tmp_path}/hidden.csv", "name=hidden")
    assert (report["labels"], report["multi_label"]) == (False, True)
    assert "map" not in report
    assert len((run / "test/hidden/submission.txt").read_text().splitlines()) == 10
    assert "no labels" in (run / "test/hidden/report.md").read_text()


def test_lost_videos_count_as_never_found(run: Path, charades: Path, tmp_path: Path) -> None:
    """One is missing, one is damaged."""
    shutil.copytree(charades, tmp_path / "less")
    videos = tmp_path / "less/videos"
    (videos / "val_0001.mp4").unlink()
    (videos / "val_0002.mp4").write_bytes(b"nothing")
    report = evaluate(run, f"data.root={videos}", "data.max_missing=0.2", "name=less")
    assert report["videos"] == {"listed": 10, "missing": 1, "failed": 1, "decoded": 8}
    given = labels(charades)
    assert {failure["video"]: failure["labels"] for failure in report["failures"]} == {
        video: given[video] for video in ("val_0001", "val_0002")
    }
    assert report["map_of_listed"] < report["map"]
    assert "the 2 lost ones are never found" in (run / "test/less/report.md").read_text()


def test_weights_alone_know_that_they_are_for_several_labels(
    run: Path, report: dict, charades: Path, tmp_path: Path
) -> None:
    assert load_model(run / "model.safetensors").options.activation == "sigmoid"
    arguments = [f"weights={run}/model.safetensors", "data=miniature_charades", f"data.root={charades}/videos"]
    settings = ["name=alone", "protocol.num_clips=3", "runtime.workers=0", "runtime.threads=1"]
    tool("test.py", *arguments, *settings, "protocol=full_10_max", f"runtime.runs={tmp_path}")
    (alone,) = [json.loads(path.read_text()) for path in tmp_path.rglob("report.json")]
    assert alone["map"] == pytest.approx(report["map"])


def test_comparison_and_ensemble_are_of_mean_average_precision(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = evaluate(run, "name=a"), evaluate(run, "name=b", "protocol.combine=max", "protocol.crops=3")
    folders = [str(run / "test" / name) for name in "ab"]
    capsys.readouterr()
    tool("compare.py", *folders)
    out = capsys.readouterr().out
    assert f"mAP   {a['map']:8.2f}{b['map']:8.2f}" in out
    assert "average precision" in out
    tool("ensemble.py", *folders, "--out", str(tmp_path / "both"))
    report = json.loads((tmp_path / "both/report.json").read_text())
    mean = [
        [(x + y) / 2 for x, y in zip(one["scores"], other["scores"], strict=True)]
        for one, other in zip(*(tested(Path(folder)) for folder in folders), strict=True)
    ]
    targets = [[int(label in line["label"]) for label in range(len(CLASSES))] for line in tested(Path(folders[0]))]
    assert report["map"] == pytest.approx(100 * official(mean, targets)[0])


@pytest.mark.slow
def test_table_4_of_the_miniature_is_one_command(
    charades: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = [one for one in FAST if not one.startswith(("clip.", "optim.reference_batch"))]
    fast += ["optim.steps=2", "optim.milestones=[1]", "optim.clips_per_device=2", "runtime.validate_every=0"]
    settings = ["experiment=miniature/table4", "test=1x1", "seed=0,1"]
    tool("train.py", f"data.root={charades}/videos", f"runtime.runs={tmp_path}/runs", *fast, *settings)
    tool("report.py", "miniature/table4", str(tmp_path / "runs"), "--out", str(tmp_path / "reports"))
    out = capsys.readouterr().out
    schedule = r"another schedule: 2 of 400 steps, protocol 1x1"
    assert re.search(rf"\| I3D: {schedule} +\| +[\d.]+ ± [\d.]+ ", out)
    assert re.search(rf"\| NL I3D: {schedule} +\| +I3D +\| +[+-][\d.]+ ± [\d.]+ +\| +[+-][\d.]+ to [+-][\d.]+ ", out)
    assert re.search(r"\| I3D +\| +not run +\| +35\.5 ", out)
    assert {path.suffix for path in (tmp_path / "reports").iterdir()} >= {".md", ".csv", ".tex", ".html"}


def test_trainval_is_both_lists(charades: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "Charades_v1_trainval.csv"
    sources = [str(charades / f"Charades_v1_{name}.csv") for name in ("train", "test")]
    with pytest.raises(SystemExit) as exit_:
        tool("prepare_data.py", *sources, "--root", str(charades / "videos"), "--out", str(out))
    assert exit_.value.code == 0
    assert "22 videos" in capsys.readouterr().out

    def read(path: Path) -> dict[str, str]:
        with path.open() as file:
            return {row["id"]: row["actions"] for row in csv.DictReader(file)}

    both = {video: text for source in sources for video, text in read(Path(source)).items()}
    numbers = re.compile(r"[\d.]+")
    assert {v: [float(n) for n in numbers.findall(t)] for v, t in read(out).items()} == {
        v: [float(n) for n in numbers.findall(t)] for v, t in both.items()
    }
