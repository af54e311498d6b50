from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nonlocal_video.reports.tables.cells import origin_sheet
from nonlocal_video.reports.tables.paper import PaperRow, row_lines, table_records, table_sheets
from tests.reports.made_runs import CENSUS, EXPECTED, PROTOCOL, made_run, paper_row

ROWS = [paper_row("c2d", paper=(70.0, 89.0)), paper_row("nl"), paper_row("control", paper=None)]


def test_a_table_shows_ours_the_papers_and_what_was_not_run(tmp_path: Path) -> None:
    """Of 8 videos c2d has 4 and 6 right, nl 6 and 8."""
    runs = {
        "c2d": [
            made_run(tmp_path / "c0", [0, 0, 0, 0, 1, 1, 1, 1]),
            made_run(tmp_path / "c1", [0, 0, 0, 0, 0, 0, 1, 1], settings={"seed": 1}),
        ],
        "nl": [
            made_run(tmp_path / "n1", [0] * 8, settings={"seed": 1}),
            made_run(tmp_path / "n0", [0, 0, 0, 0, 0, 0, 1, 1], commit={"training": "0dd", "testing": None}),
        ],
    }
    cited = PaperRow("others", "I3D, Inception", {"top1": 72.1, "top5": 90.3}, None, None)
    lines = row_lines([*ROWS, cited], runs)
    accuracies, gains = table_sheets(lines, metrics=["top1"])
    cost = ["24.27", "20.23"]
    assert [list(row) for row in accuracies.rows] == [
        ["c2d (label)", "62.5 ± 17.7", "70.0", *cost, "2"],
        ["nl (label)", "87.5 ± 17.7", "72.0", *cost, "2"],
        ["control (label)", "not run", "", *cost, "0"],
        ["I3D, Inception", "", "72.1", "", "", "cited"],
    ]
    assert list(accuracies.header) == ["row", "top-1", "paper", "parameters (M)", "GFLOPs", "seeds"]
    assert "compare the gains" in accuracies.note
    # Two videos are gained with the one seed, two with the other: four gains of 1/2, with one more of +-1 and one of 0.
    half = 1.959964 * (4 / 4 + 1 - 2**2 / 10) ** 0.5 / 10
    interval = f"{20 - 100 * half:+.1f} to {20 + 100 * half:+.1f}"
    assert [list(row) for row in gains.rows] == [
        ["nl (label)", "c2d (label)", "+25.0 ± 0.0", interval, "+2.0", "2", "8"],
        ["control (label)", "c2d (label)", "not run", "", "", "", ""],
    ]
    assert [list(row) for row in origin_sheet(one.line for one in lines).rows] == [
        ["c2d (label)", "0, 1", "c0ffee", "8 / 0 / 0", "100 / 2 / 1", "full_10"],
        ["nl (label)", "0, 1", "0dd, tested unknown; c0ffee", "8 / 0 / 0", "100 / 2 / 1", "full_10"],
    ]
    record = table_records(lines, metrics=["top1"])[1]
    assert (record["row"], record["top1"], record["top1_paper"], record["top1_gain"]) == ("nl", 87.5, 72.0, 25.0)
    assert (record["top1_paper_gain"], record["macs"], record["seeds"]) == (2.0, 20_230_000_000, "0, 1")


def test_differences_to_the_paper_are_shown_for_its_data_only(tmp_path: Path) -> None:
    row = replace(ROWS[0], expected=replace(EXPECTED, data="kinetics400"))
    run = made_run(tmp_path, [0, 0, 0, 1], settings={"data.name": "kinetics400"})
    (accuracies,) = table_sheets(row_lines([row], {"c2d": [run]}), metrics=["top1", "top5"])
    assert list(accuracies.rows[0])[1:7] == ["75.0", "70.0", "+5.0", "100.0", "89.0", "+11.0"]
    assert "Kinetics" not in accuracies.note


QUARTER = {"optim.steps": 100, "optim.milestones": [75]}


@pytest.mark.parametrize(
    ("settings", "facts", "mark"),
    [
        (QUARTER, {}, "quarter schedule: 100 of 400 steps"),
        ({"optim.steps": 300}, {}, "another schedule: 300 of 400 steps"),
        ({"optim.milestones": [200]}, {}, "another schedule: milestones 200 instead of 300"),
        ({}, {"step": 200}, "unfinished: step 200 of 400"),
        ({"data.name": "other"}, {}, "trained on other"),
        ({}, {"data": "other"}, "tested on other"),
        ({"data.subset": "lists/half.txt"}, {}, "classes of half.txt only"),
        ({}, {"protocol": {**PROTOCOL, "name": "10x3"}}, "protocol 10x3"),
        ({}, {"protocol": {**PROTOCOL, "num_clips": 1}}, "protocol full_10 with num_clips 1"),
        ({}, {"train_census": {**CENSUS, "listed": 90}}, "other training videos: 90 listed, usually 100"),
        ({}, {"first": 1}, "other test videos: 4 listed, usually 4"),
        ({}, {"missing": ["y.mp4"]}, "other test videos: 5 listed, usually 4"),
    ],
)
def test_runs_that_are_not_what_the_row_asks_for_stand_in_a_line_of_their_own(
    tmp_path: Path, settings: dict[str, Any], facts: dict[str, Any], mark: str
) -> None:
    usual = [made_run(tmp_path / str(seed), [0, 0, 1, 1], settings={"seed": seed}) for seed in (0, 1)]
    strange = made_run(tmp_path / "strange", [0, 0, 0, 0], settings=settings, **facts)
    plain, marked, *rest = row_lines([ROWS[0]], {"c2d": [strange, *usual]})
    assert not rest
    assert (plain.marks, plain.line.runs) == ((), tuple(usual))
    assert (marked.marks, marked.line.runs) == ((mark,), (strange,))
    (accuracies,) = table_sheets([plain, marked], metrics=["top1"])
    assert [row[:3] for row in accuracies.rows] == [
        ["c2d (label)", "50.0 ± 0.0", "70.0"],
        [f"c2d (label): {mark}", "100.0" if "missing" not in facts else "80.0", ""],
    ]


def test_missing_videos_do_not_make_another_list(tmp_path: Path) -> None:
    """The same videos are listed; one run could not read the last one."""
    runs = [
        made_run(tmp_path / "a", [0, 0, 0, 0]),
        made_run(tmp_path / "b", [0, 0, 0], settings={"seed": 1}, missing=["003.mp4"]),
    ]
    (line,) = row_lines([ROWS[0]], {"c2d": runs})
    assert line.marks == ()


def test_marked_runs_are_compared_with_marked_baselines(tmp_path: Path) -> None:
    runs = {
        "c2d": [made_run(tmp_path / "full", [0, 0, 0, 0]), made_run(tmp_path / "c", [1, 1, 1, 0], settings=QUARTER)],
        "nl": [made_run(tmp_path / "n", [0, 0, 1, 0], settings=QUARTER)],
    }
    sheets = table_sheets(row_lines(ROWS[:2], runs), metrics=["top1"])
    assert [row[:3] for row in sheets[1].rows] == [
        ["nl (label)", "c2d (label)", "not run"],
        ["nl (label): quarter schedule: 100 of 400 steps", "c2d (label)", "+50.0"],
    ]
    alone = table_sheets(row_lines(ROWS[:2], {"nl": runs["nl"]}), metrics=["top1"])
    assert alone[1].rows[1][2] == "no baseline"


def test_a_row_with_two_tests_of_one_seed_is_an_error(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / name, [0], settings=QUARTER) for name in ("one", "two")]
    with pytest.raises(ValueError, match=r"row c2d, seed 0: has two tests, .*one.* and .*two"):
        row_lines([ROWS[0]], {"c2d": runs})
