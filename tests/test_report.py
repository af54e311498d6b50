"""tools/report.py, run as a user runs it, on runs with the settings of a table's rows."""

import csv
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from nonlocal_video.cli.tables import read_table, row_config
from nonlocal_video.reports.tables.unfinished import write_failure
from nonlocal_video.runs.folder import write_run
from nonlocal_video.settings.identity import flat
from tests.reports.made_runs import PROTOCOL, add_records, made_run
from tests.test_compare import tool

TABLE = "miniature/table2a"


def trained(folder: Path, row: str, ranks: Sequence[int], *overrides: str, **facts: object) -> None:
    """A tested run of a row of the table, as tools/train.py and tools/test.py leave it."""
    table = read_table(TABLE)
    config = row_config(table, table.job(row), overrides)
    write_run(config, folder)
    made_run(folder, ranks, settings=flat(asdict(config)), **facts)
    add_records(folder, steps=[10, 20, 30], top1=[50, 60, 70])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of the baseline and of the embedded Gaussian; one marked run, one of no row, and one not tested."""
    folder = tmp_path_factory.mktemp("runs")
    trained(folder / "c0", "c2d", [0, 1, 1, 1, 1, 1, 1, 1])
    trained(folder / "c1", "c2d", [0, 0, 0, 1, 1, 1, 1, 1], "seed=1")
    trained(folder / "e0", "embedded_gaussian", [0, 0, 0, 0, 1, 1, 1, 1])
    trained(folder / "e1", "embedded_gaussian", [0, 0, 0, 0, 0, 0, 6, 6], "seed=1")
    trained(folder / "g0", "gaussian", [0] * 8, protocol={**PROTOCOL, "name": "10x3"})
    trained(folder / "x0", "c2d", [0] * 8, "optim.lr=1.0")
    write_run(row_config(read_table(TABLE), read_table(TABLE).job("dot_product")), folder / "d0")
    return folder


def test_a_table_of_the_paper_is_filled_with_runs(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool("report.py", TABLE, runs, "--out", tmp_path)
    out = capsys.readouterr().out
    with (tmp_path / "miniature_table2a.csv").open() as file:
        lines = {(row["row"], row["marks"]): row for row in csv.DictReader(file)}
    assert list(lines) == [
        ("c2d", ""), ("gaussian", ""), ("gaussian", "protocol 10x3"), ("embedded_gaussian", ""), ("dot_product", ""),
        ("concatenation", ""),
    ]  # fmt: skip
    ours = lines["embedded_gaussian", ""]
    assert (float(ours["top1"]), float(ours["top1_paper"]), ours["seeds"]) == (62.5, 72.7, "0, 1")
    assert float(ours["top1_deviation"]) == pytest.approx(17.678, abs=1e-3)
    assert (float(ours["top5"]), float(ours["top5_gain"])) == (87.5, -12.5)
    assert (float(ours["top1_gain"]), float(ours["top1_paper_gain"])) == pytest.approx((37.5, 0.9))
    assert lines["gaussian", ""]["top1"] == lines["dot_product", ""]["top1"] == ""
    assert float(lines["gaussian", "protocol 10x3"]["top1"]) == 100
    # The block has 2 x C x C/2 weights more for theta and phi than the Gaussian's.
    weights = {name: int(lines[name, ""]["weights"]) for name in ("c2d", "gaussian", "embedded_gaussian")}
    assert weights["gaussian"] - weights["c2d"] == weights["embedded_gaussian"] - weights["gaussian"] > 0
    assert "| dot_product | not run | 72.9 |" in re.sub(" +", " ", out)
    assert f"1 not trained to the end (the same command goes on), in {runs}: d0" in out
    assert f"1 of no row, in {runs}/x0/test: full_10" in out
    page = (tmp_path / "miniature_table2a.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page


def test_tests_with_one_protocol_fill_a_table_and_others_are_left_out(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool("report.py", TABLE, runs, "--out", tmp_path, "--protocol", "10x3")
    with (tmp_path / "miniature_table2a.csv").open() as file:
        reached = {(row["row"], row["marks"]): row["top1"] for row in csv.DictReader(file)}
    assert reached == {(row.name, ""): "100.0" * (row.name == "gaussian") for row in read_table(TABLE).rows.values()}
    assert "5 with another protocol" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        tool("report.py", TABLE, runs, "--protocol", "1x1")
    assert "--protocol: got 1x1, expected one of 10x3, " in capsys.readouterr().err


def test_several_tables_are_made_in_one_call(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of Kinetics need no videos and no weights to be read; table 3 has rows that are cited only."""
    tool("report.py", TABLE, "kinetics/table3", runs, "--out", tmp_path, "--metric", "top1")
    out = capsys.readouterr().out
    assert "| nl_i3d_r50 | not run | 76.5 |" in re.sub(" +", " ", out)
    assert "| cited |" in re.sub(" +", " ", out)
    assert (tmp_path / "kinetics_table3.tex").exists()
    assert "5" not in [
        line["top5"] for line in csv.DictReader((tmp_path / "kinetics_table3.csv").open()) if "top5" in line
    ]


def test_any_sweep_is_a_table_and_goes_into_a_file(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- mine -->\n<!-- /mine -->\nafter\n")
    arguments = (
        *(runs / name for name in ("c0", "c1", "e0", "e1")), "--rows", "model.nonlocal_blocks", "--baseline", "0",
        "--into", readme, "--block", "mine",
    )  # fmt: skip
    tool("report.py", *arguments)
    capsys.readouterr()
    text = re.sub(" +", " ", readme.read_text())
    assert "| 0 | 25.0 ± 17.7 |" in text
    assert "| 1 | 62.5 ± 17.7 |" in text
    assert "| 1 | +37.5 ± 0.0 |" in text
    assert text.endswith("<!-- /mine -->\nafter\n")
    assert list(tmp_path.iterdir()) == [readme]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "model.pairwise"], "\n  protocol.name: 10x3, full_10\n"),
        (
            ["--rows", "model.pairwise", "--where", "protocol.name=10x3", "--metric", "top9"],
            "has no top9; expected one of",
        ),
        (["miniature/table9"], "miniature/table9: neither a folder, nor a table"),
        ([TABLE, "--rows", "seed"], "expected either a table"),
        ([TABLE, "--cols", "seed"], "go with --rows"),
        (["--out", "tables"], "go with a table or with --rows"),
        (["--rows", "seed", "--where", "seed"], "expected KEY=VALUE"),
    ],
)
def test_what_cannot_be_a_table_is_answered(
    runs: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        tool("report.py", *arguments, runs)
    assert exit_.value.code in (1, 2)
    assert message in capsys.readouterr().err


def test_folders_alone_list_what_differs_and_what_is_not_there(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_failure(tmp_path / "gone", ValueError("nonlocal_blocks: got 5, expected 0 or 1"))
    tool("report.py", runs, tmp_path)
    out = re.sub(" +", " ", capsys.readouterr().out)
    assert out.startswith("# What differs between 6 tested runs\n")
    assert "| model.nonlocal_blocks | 0 (3), 1 (3) |" in out
    assert "| optim.lr | 0.05 (5), 1.0 (1) |" in out
    assert "| protocol.name | 10x3 (1), full_10 (5) |" in out
    assert "| seed | 0 (4), 1 (2) |" in out
    assert (
        "python tools/report.py --rows model.nonlocal_blocks --cols model.pairwise --where optim.lr=0.05 "
        f"--where protocol.name=full_10 {runs} {tmp_path}\n"
    ) in out
    assert f"- 1 failed (nonlocal_blocks: got 5, expected 0 or 1), in {tmp_path}: gone\n" in out
    assert "the same command goes on" in out


def test_two_tests_of_one_row_and_seed_are_named(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path / "again", "c2d", [0] * 8)
    with pytest.raises(SystemExit):
        tool("report.py", TABLE, runs / "c0", tmp_path)
    assert f"row c2d, seed 0: has two tests, {runs}/c0/test/full_10 and {tmp_path}/again" in capsys.readouterr().err
