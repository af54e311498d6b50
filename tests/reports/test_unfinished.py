from pathlib import Path

import pytest

from nonlocal_video.reports.tables.runs import find_tests, left_out
from nonlocal_video.reports.tables.unfinished import FAILED, unfinished_runs, write_failure
from nonlocal_video.system.files import LOCK, held_by, locked
from tests.reports.made_runs import made_run


def run_folder(folder: Path, *files: str) -> Path:
    folder.mkdir()
    for name in files:
        (folder / name).touch()
    return folder


def test_runs_without_a_test_are_named_with_their_reasons_and_failed_ones_first(tmp_path: Path) -> None:
    run_folder(tmp_path / "done", "config.yaml", "model.safetensors", LOCK)
    test = made_run(tmp_path / "done", [0]).test
    (test / LOCK).touch()  # A test's lock is no run's.
    run_folder(tmp_path / "untested", "config.yaml", "model.safetensors", LOCK)
    run_folder(tmp_path / "killed", "config.yaml", LOCK)
    run_folder(tmp_path / "lock_only", LOCK)
    write_failure(run_folder(tmp_path / "later", "config.yaml", LOCK), ValueError("nonlocal_blocks:\n got 5"))
    write_failure(run_folder(tmp_path / "first", LOCK), ValueError("nonlocal_blocks: got 5"))
    write_failure(tmp_path / "no_folder", RuntimeError("x" * 300))
    with locked(run_folder(tmp_path / "busy", "config.yaml", FAILED)):
        found = find_tests([tmp_path, tmp_path / "killed"])
        lines = left_out(found.left_out)
    assert found.tests == [test]
    assert lines == [
        f"2 failed (nonlocal_blocks: got 5), in {tmp_path}: first, later",
        f"1 failed or killed before the first step (nothing but the file lock is there), in {tmp_path}: lock_only",
        f"1 failed ({'x' * 200}...), in {tmp_path}: no_folder",
        f"1 at work now, in {tmp_path}: busy",
        f"1 not trained to the end (the same command goes on), in {tmp_path}: killed",
        f"1 trained, but not tested yet (tools/test.py), in {tmp_path}: untested",
    ]
    with pytest.raises(ValueError, match=r"no report\.json of a tested run here or below; 1 failed \(nonlocal_blocks"):
        find_tests([tmp_path / "first"])
    assert unfinished_runs([tmp_path / "done"], tested={(tmp_path / "done").resolve()}) == {}


def test_a_lock_is_held_only_while_somebody_holds_it(tmp_path: Path) -> None:
    assert held_by(tmp_path) is None
    with locked(tmp_path):
        assert "process" in str(held_by(tmp_path))
    assert held_by(tmp_path) is None
    with locked(tmp_path):  # Asking took nothing.
        pass
