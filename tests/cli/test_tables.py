"""Tables as sweeps: one command trains and tests every row, and goes on where it was."""

import json
from functools import cache
from pathlib import Path

import pytest

from nonlocal_video.cli.sweep import _state
from nonlocal_video.cli.tables import CONFIGS, read_table, row_config
from nonlocal_video.data.prepare.miniature import make_miniature
from nonlocal_video.data.prepare.miniature_tables import CLASSES, FOUR_QUESTIONS
from nonlocal_video.reports.tables.unfinished import write_failure
from nonlocal_video.runs import dry_run
from nonlocal_video.runs import videos as build
from nonlocal_video.runs.folder import is_trained, read_run, run_folder
from nonlocal_video.settings import DataConfig, TableConfig, TrainConfig, settings_of
from nonlocal_video.settings.identity import row_key
from tests.runs.test_main_job import tool

TABLES = [f"miniature/table2{letter}" for letter in "abcdefg"]


@pytest.fixture(scope="module")
def four_questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training videos and eight for testing."""
    folder = tmp_path_factory.mktemp("four_questions")
    make_miniature(folder, FOUR_QUESTIONS, num_train=8, num_val=8, processes=1)
    return folder


def overrides(data: Path, runs: Path) -> list[str]:
    """Of a sweep of seconds."""
    return [
        f"data.root={data}", f"runtime.runs={runs}", "optim.clips_per_device=2", "optim.reference_batch=2",
        "optim.steps=2", "optim.milestones=[1]", "clip.length=32", "runtime.workers=0", "runtime.threads=1",
        "runtime.validate_every=0", "test=1x1",
    ]  # fmt: skip


def sweep(data: Path, runs: Path, *changes: str, table: str = "miniature/table2g") -> None:
    tool("train.py", f"experiment={table}", *overrides(data, runs), *changes)


def run_of(row: str, data: Path, runs: Path, *, table: str = "miniature/table2g") -> Path:
    """Where the job of a row goes."""
    settings = read_table(table)
    return runs / str(row_config(settings, settings.job(row), overrides(data, runs)).name)


@cache
def configs_of(name: str) -> list[TrainConfig]:
    """The jobs of a table with another seed."""
    table = read_table(name)
    return [row_config(table, row, ["seed=1"]) for row in (*table.parents.values(), *table.rows.values())]


# Reading


@pytest.mark.parametrize("name", TABLES)
def test_rows_of_the_miniature_are_different_networks(name: str) -> None:
    configs = configs_of(name)
    keys = [row_key(config) for config in configs]
    assert len(set(keys)) == len(keys) == len({config.name for config in configs})
    assert all(str(config.name).endswith("seed_1") for config in configs)
    assert f"experiment={name} " in (CONFIGS / f"experiment/{name}.yaml").read_text()


def test_row_of_two_tables_is_one_run() -> None:
    runs = {}
    for name in TABLES:
        for config in configs_of(name):
            assert runs.setdefault(config.name, row_key(config)) == row_key(config)
    assert len(runs) == len(set(runs.values())) == 20


def test_row_is_the_run_that_its_command_line_would_give() -> None:
    table = read_table("miniature/table2a")
    config = row_config(table, table.job("gaussian"), ["experiment=miniature/table2a", "row=gaussian", "seed=3"])
    assert config.name == "miniature_narrow-nonlocal_blocks_1-pairwise_gaussian-seed_3"
    assert (config.seed, config.model.pairwise, config.table, config.row) == (3, "gaussian", None, None)


def test_long_clips_start_from_the_parent_of_the_same_sweep() -> None:
    table = read_table("miniature/table2g")
    overrides = ["seed=2", "schedule=half", "runtime.runs=/r"]
    parent, child = (row_config(table, table.job(name), overrides) for name in ("i3d_32", "i3d"))
    assert child.init.weights == f"/r/{parent.name}/model.safetensors"
    assert (parent.optim.steps, parent.optim.milestones, child.optim.steps) == (400, [300], 400)


def test_key_of_a_row_ignores_seed_data_and_length_only() -> None:
    table = read_table("miniature/table2a")
    row = table.job("gaussian")
    same = [["seed=4"], ["schedule=quarter"], ["data=miniature_relation"], ["init.weights=null"], ["optim.steps=40"]]
    other = [["optim.lr=0.1"], ["model.dropout=0.5"], ["init.weights=a.pt"], ["clip.flip=false"]]
    key = row_key(row_config(table, row))
    assert {row_key(row_config(table, row, change)) for change in same} == {key}
    assert key not in {row_key(row_config(table, row, change)) for change in other}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"rows": {"a": {"run": "x", "start": "b"}}}, "start of a: got 'b', expected one of "),
        ({"rows": {"a": {"run": "x", "baseline": "b"}}}, "baseline of a: got 'b', expected one of a"),
    ],
)
def test_table_with_a_loose_end_is_refused(table: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_of(TableConfig, {"name": "mine", "title": "", **table})


def test_unknown_tables_and_rows_are_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"got the table 2a, expected one of .*miniature/table2a"):
        read_table("2a")
    with pytest.raises(
        ValueError, match="row: got 'nl', expected one of miniature/table2d: c2d, space, time, spacetime"
    ):
        read_table("miniature/table2d").job("nl")


# Running


def test_table_trains_parents_first_tests_every_row_and_does_nothing_twice(
    four_questions: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep(four_questions, tmp_path, "row=c2d_32,c2d")
    parent, child = (run_of(row, four_questions, tmp_path) for row in ("c2d_32", "c2d"))
    assert read_run(child).init.weights == f"{parent}/model.safetensors"
    report = json.loads((child / "test/1x1/report.json").read_text())
    assert (report["step"], report["videos"]["decoded"], report["num_classes"]) == (2, 8, len(CLASSES))
    assert report["commit"].keys() == {"training", "testing"}
    said = capfd.readouterr().out
    assert said.index(f"run {parent.name} ") < said.index(f"run {child.name} ")
    assert said.count(" trained and tested ") == 2
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.name != "multirun.yaml"}
    sweep(four_questions, tmp_path, "row=c2d_32,c2d")
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.name != "multirun.yaml"}
    (child / "test/1x1/report.json").unlink()
    capfd.readouterr()
    sweep(four_questions, tmp_path, "row=c2d")
    said = capfd.readouterr().out
    assert f"run {child.name} " not in said, "it was trained again"
    assert json.loads((child / "test/1x1/report.json").read_text())["top1"] == report["top1"]


def test_failure_of_a_parent_fails_its_descendants_only_and_is_listed(
    four_questions: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parent = run_of("c2d_32", four_questions, tmp_path)
    taken = [f"name={parent.name}", "optim.lr=0.1", "test=null"]
    tool("train.py", "experiment=miniature/narrow", *overrides(four_questions, tmp_path), *taken)
    capfd.readouterr()
    with pytest.raises(SystemExit) as exit_:
        sweep(four_questions, tmp_path, "row=c2d_32,c2d,i3d_32,nl_i3d")
    assert exit_.value.code == 1
    captured = capfd.readouterr()
    assert captured.err.count("failed: row=") == 3
    assert captured.err.count("optim.lr: was 0.1, now 0.05") == 2
    assert f"begins with the weights of nl_i3d_32, which is not trained: {tmp_path}" in captured.err
    summary = captured.out.split("the rows of the table:\n")[1].splitlines()
    assert [(line[2:26].strip(), line[27:47].strip()) for line in summary] == [
        ("c2d_32", "IS ANOTHER RUN"),
        ("c2d", "NOT TRAINED"),
        ("i3d_32", "trained and tested"),
        ("nl_i3d", "NOT TRAINED"),
    ]


def test_a_row_whose_last_job_failed_is_listed_as_failed(tmp_path: Path) -> None:
    table = read_table("miniature/table2g")
    config = row_config(table, table.job("c2d"), overrides(tmp_path, tmp_path))
    assert _state(config) == "NOT TRAINED"
    write_failure(run_folder(config), ValueError("a reason"))
    assert _state(config) == "FAILED"


def test_dry_run_says_changes_folder_and_cost_and_writes_nothing(
    four_questions: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "MEASURED_STEPS", 1)
    sweep(four_questions, tmp_path, "row=c2d,nl_i3d", "dry_run=true")
    said = capfd.readouterr().out
    assert f"nl_i3d: {tmp_path}/miniature_narrow_64x1-" in said
    assert "against i3d: model.name: i3d_r50_narrow_32x1 -> nl_i3d_r50_narrow_32x1" in said
    assert "begins with the weights of nl_i3d_32: " in said
    assert "starts from what nl_i3d_32 leaves, which is not trained yet: " in said
    assert "  in the paper: top1 76.5, top5 92.6" in said
    assert said.count("s a step (median of 1 on noise") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["multirun.yaml"]


# Affordable versions


def test_subset_keeps_the_videos_of_its_classes_and_all_outputs(four_questions: Path, tmp_path: Path) -> None:
    (tmp_path / "subset.txt").write_text("across: same\ndrift: up\n")
    lists = {name: f"{four_questions}/questions_{name}.txt" for name in ("train", "val", "classes")}
    config = DataConfig(
        name="tables", root=str(four_questions), **lists, num_classes=8, max_missing=0.0,
        subset=f"{tmp_path}/subset.txt",
    )  # fmt: skip
    found = build.look_for_videos(config, "val")
    assert [entry.label for entry in found.entries] == [5, 7]
    assert found.census.listed == 2
    (tmp_path / "subset.txt").write_text("across: alike\n")
    with pytest.raises(ValueError, match=r"subset\.txt: got the class 'across: alike', expected names of "):
        build.look_for_videos(config, "val")


def test_trained_means_all_steps_of_these_settings(four_questions: Path, tmp_path: Path) -> None:
    sweep(four_questions, tmp_path, "row=c2d", table="miniature/table2a")
    run = read_run(run_of("c2d", four_questions, tmp_path, table="miniature/table2a"))
    assert is_trained(run)
    run.optim.steps = 3
    assert not is_trained(run)
    run.optim.lr = 1.0
    with pytest.raises(ValueError, match="holds a run with other settings"):
        is_trained(run)
