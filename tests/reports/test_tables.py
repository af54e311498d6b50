import json
from pathlib import Path
from typing import Any

import pytest

from nonlocal_video.reports.report import build_report, format_report, write_report
from nonlocal_video.reports.tables import accuracy_table, find_reports, replace_block
from nonlocal_video.types import Evaluation, Failure, Prediction


def report(network: str, data: str, seed: int, top1: float, **changes: Any) -> dict[str, Any]:
    return {
        "run": f"{network}{seed}",
        "network": network,
        "data": data,
        "seed": seed,
        "recipe_hash": network,
        "step": 400,
        "steps": 400,
        "clips": {"num_clips": 10},
        "views": {"num_crops": 1},
        "top1_of_listed": top1,
        "train_top1": 99.0,
        **changes,
    }


def test_table_averages_over_seeds_and_shows_what_was_not_run() -> None:
    table = accuracy_table(
        [report("nl_c2d", "relation", 0, 98), report("nl_c2d", "relation", 1, 100), report("c2d", "relation", 0, 50),
         report("c2d", "motion", 0, 51)]
    )  # fmt: skip
    assert table.splitlines() == [
        "| network | motion: top-1 | motion: training top-1 | relation: top-1 | relation: training top-1 | seeds |",
        "| --- | --- | --- | --- | --- | --- |",
        "| c2d | 51.0 | 99.0 | 50.0 | 99.0 | 0 |",
        "| nl_c2d | not run | not run | 99.0 ± 1.4 | 99.0 ± 0.0 | none / 0, 1 |",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": {"num_crops": 3}}, "different clips and views"),
        ({"step": 200}, "step 200 of 400; finish it first"),
        ({"recipe_hash": "other"}, "differs from other runs of c2d in more than seed and data"),
        ({"seed": 0}, "several reports for one network"),
    ],
)
def test_reports_that_cannot_be_compared_are_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        accuracy_table([report("c2d", "relation", 0, 50), {**report("c2d", "relation", 1, 50), **changes}])


def test_report_counts_missing_and_broken_videos_both_ways(tmp_path: Path) -> None:
    metrics = [{"step": step, "top1": float(step)} for step in (50, 95, 100)]
    evaluation = Evaluation(
        {"top1": 75.0},
        {"top1": 60.0},
        [Prediction(f"{i}.mp4", 0, [0.9, 0.1]) for i in range(4)],
        [Failure("b.mp4", "b.mp4: broken")],
    )
    facts = {
        "network": "c2d", "data": "relation", "step": 100, "steps": 100,
        "clips": {"num_clips": 10}, "views": {"num_crops": 1},
    }  # fmt: skip
    missing = [Failure("m.mp4", "m.mp4: no such file")]
    result = build_report(evaluation, missing, facts=facts, metrics=metrics, seconds=2.0)
    assert result["videos"] == {"listed": 6, "missing": 1, "failed": 1, "decoded": 4}
    assert (result["top1"], result["top1_of_listed"], result["clip_top1"]) == (75.0, 50.0, 60.0)
    assert result["train_top1"] == 97.5
    assert [failure["video"] for failure in result["failures"]] == ["m.mp4", "b.mp4"]
    assert "75.00 of the decoded videos, 50.00 of the listed" in format_report(result)
    write_report(tmp_path / "test", result, evaluation, classes=["yes", "no"])
    assert find_reports([tmp_path]) == [result]
    lines = (tmp_path / "test/predictions.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["predicted"] == "yes"
    assert [json.loads(line)["video"] for line in lines] == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]


def test_a_folder_without_reports_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no report\.json"):
        find_reports([tmp_path])


def test_block_of_a_file_is_replaced_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("a\n<!-- table -->\nold\n<!-- /table -->\nb\n")
    replace_block(path, name="table", text="new")
    replace_block(path, name="table", text="new")
    assert path.read_text() == "a\n<!-- table -->\nnew\n<!-- /table -->\nb\n"
    with pytest.raises(ValueError, match="expected the lines <!-- other -->"):
        replace_block(path, name="other", text="new")
