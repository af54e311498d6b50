import json
from pathlib import Path

import pytest

from nonlocal_video.reports.tables.runs import find_tests, left_out
from tests.reports.made_runs import made_detector, made_run


def test_tests_are_found_once_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    tests = [made_run(tmp_path / name, [0]).test for name in ("a", "b", "weights")]
    changes = {
        "ensemble": {"ensemble": [{}, {}]},
        "unlabelled": {"labels": False},
        "old": {"protocol": None},
        "no_objects": {"box_AP": None},
        "old_detector": {"listed_images": None},
        "results": {"detections": "results.json"},
    }
    settings = {"data.name": "coco", "seed": 0, "optim.steps": 9}
    for name, change in changes.items():
        if name in ("no_objects", "old_detector", "results"):
            run = made_detector(tmp_path / "a", {"box_AP": 50.0}, settings=settings, name=name)
        else:
            run = made_run(tmp_path / "a", [0], name=name)
        report = {key: value for key, value in {**run.report, **change}.items() if value is not None}
        (run.test / "report.json").write_text(json.dumps(report))
    found = find_tests([tmp_path, tmp_path / "a"])
    assert found.tests == tests[:2]
    assert left_out(found.left_out) == [
        f"1 not trained to the end (the same command goes on), in {tmp_path}: c",
        f"1 of ensembles, not of runs, in {tmp_path}/a/test: ensemble",
        f"1 of objects in images, of which there is none, in {tmp_path}/a/test: no_objects",
        f"2 of an older version (test those runs again), in {tmp_path}/a/test: old, old_detector",
        f"1 of files of results, not of runs, in {tmp_path}/a/test: results",
        f"1 without accuracies, since their lists have no labels, in {tmp_path}/a/test: unlabelled",
        f"1 of weights without a run (no config.yaml above them), in {tmp_path}/weights/test: full_10",
    ]
    run = made_run(tmp_path / "a", [0], name="further")
    (run.test / "report.json").write_text(json.dumps({**run.report, "steps": 40, "step": 40}))
    (tmp_path / "a/config.yaml").write_text("optim: {steps: 44}\n")
    (further,) = [line for line in left_out(find_tests([tmp_path]).left_out) if "trained further" in line]
    assert further.startswith("2 of runs that were trained further since (test those runs again)")
    (tmp_path / "a/config.yaml").write_text("optim: {steps: 40}\n")
    assert run.test in find_tests([tmp_path]).tests
    with pytest.raises(ValueError, match=r"no report\.json of a tested run here or below; 1 not trained to the end"):
        find_tests([tmp_path / "c"])
