import json
from pathlib import Path
from typing import Any

import pytest

from nonlocal_video.reports.tables import accuracy_table, find_reports, replace_block
from tests.reports.tested import predictions, write


def report(network: str, data: str, seed: int, top1: float, **changes: Any) -> dict[str, Any]:
    return {
        "run": f"{network}{seed}",
        "network": network,
        "data": data,
        "seed": seed,
        "recipe_hash": network,
        "step": 400,
        "steps": 400,
        "clips": {"length": 8},
        "protocol": {"crops": "1"},
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
        ({"protocol": {"crops": "3"}}, "different clips and protocols"),
        ({"clips": {"length": 32}}, "different clips and protocols"),
        ({"step": 200}, "step 200 of 400; finish it first"),
        ({"recipe_hash": "other"}, "differs from other runs of c2d in more than seed and data"),
        ({"seed": 0}, "several reports for one network"),
    ],
)
def test_reports_that_cannot_be_compared_are_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        accuracy_table([report("c2d", "relation", 0, 50), {**report("c2d", "relation", 1, 50), **changes}])


def test_reports_are_found_below_folders(tmp_path: Path) -> None:
    reports = [write(tmp_path / name, predictions(8)) for name in ("a/test/10x3", "b/test/10x3")]
    assert find_reports([tmp_path]) == reports
    assert find_reports([tmp_path / "b"]) == reports[1:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ensemble": [{}, {}]}, "is of an ensemble of 2 tests, not of a run"),
        ({"labels": False}, "has no accuracies, its list has no labels"),
        ({"protocol": None}, "older version; test that run again"),
    ],
)
def test_reports_that_are_not_of_runs_with_accuracies_are_rejected(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    content = {**write(tmp_path, predictions(8)), **change}
    kept = {key: value for key, value in content.items() if value is not None or key != "protocol"}
    (tmp_path / "report.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=message):
        find_reports([tmp_path])


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
