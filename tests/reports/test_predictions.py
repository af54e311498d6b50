import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nonlocal_video.reports.test.predictions import read_predictions
from tests.reports.tested import predictions, write

NAMES = [f"class {letter}" for letter in "abcdefgh"]


def test_predictions_come_back_bit_for_bit(tmp_path: Path) -> None:
    scored = predictions(20)
    report = write(tmp_path, scored, classes=NAMES)
    tested = read_predictions(tmp_path)
    assert tested.report == report
    assert tested.classes == NAMES
    for one, other in zip(tested.predictions, scored, strict=True):
        assert torch.equal(one.scores, other.scores)
        assert one._replace(scores=other.scores) == other


def test_classes_without_names_have_none(tmp_path: Path) -> None:
    write(tmp_path, predictions(8))
    assert read_predictions(tmp_path).classes is None


def edit(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(change((folder / name).read_text())) and None


def edit_line(change: Callable[[dict], dict]) -> Callable[[Path], None]:
    def second_changed(text: str) -> str:
        lines = text.splitlines()
        lines[1] = json.dumps(change(json.loads(lines[1])))
        return "\n".join(lines) + "\n"

    return edit("predictions.jsonl", second_changed)


def edit_scores(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def change_scores(folder: Path) -> None:
        arrays = dict(np.load(folder / "scores.npz"))
        np.savez(folder / "scores.npz", **{**arrays, "scores": change(arrays["scores"])})

    return change_scores


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test of 20 videos, of which the second has its class found."""
    folder = tmp_path_factory.mktemp("undamaged")
    scored = predictions(20)
    best = int(scored[1].scores.argmax())
    write(folder, [scored[0], scored[1]._replace(label=best), *scored[2:]])
    return folder


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "report.json").unlink(), r"no report\.json; expected the folder of a finished test"),
        (lambda folder: (folder / "predictions.jsonl").unlink(), r"no predictions\.jsonl"),
        (lambda folder: (folder / "classes.csv").unlink(), r"no classes\.csv"),
        (edit("report.json", lambda text: text[:200]), r"report\.json: expected JSON"),
        (edit("report.json", lambda text: text.replace("num_classes", "classes")), "older version; test again"),
        (edit("predictions.jsonl", lambda text: text[:-40]), "line 20: expected a prediction, got a line that is cut"),
        (edit("predictions.jsonl", lambda text: text.split("\n", 1)[1]), "has 19 videos, expected 20"),
        (edit("classes.csv", lambda text: text[: text.index("\n7,") + 1]), "has 7 classes, expected 8"),
        (edit_line(lambda line: {**line, "video": "0000.mp4"}), r"has 0000\.mp4 2 times"),
        (lambda folder: (folder / "scores.npz").unlink(), r"no scores\.npz"),
        (lambda folder: (folder / "scores.npz").write_bytes(b"PK"), r"scores\.npz: cannot be read as the scores"),
        (edit_scores(lambda scores: scores[:, 1:]), r"expected 8 finite scores of each .*got float64 of shape \(20, 7"),
        (edit_scores(lambda scores: scores[1:]), r"expected 8 finite scores of each of 20 videos"),
        (edit_scores(lambda scores: scores * np.nan), "expected 8 finite scores"),
        (edit_scores(lambda scores: scores.astype(object)), "cannot be read as the scores of a test: Object arrays"),
        (edit_scores(lambda scores: -scores), "its scores give top1"),
        (edit_line(lambda line: {**line, "video": "z.mp4"}), r"scores\.npz: its videos are not those of predictions"),
        (edit_line(lambda line: {**line, "label": 8}), "line 2: label 8 is not one of 8 classes"),
        (edit_line(lambda line: {**line, "label": None}), r"0001\.mp4 has no label, report\.json says that all have"),
        (edit_line(lambda line: {key: line[key] for key in ("video", "label")}), "line 2: expected a prediction"),
    ],
)  # fmt: skip
def test_files_that_are_damaged_or_do_not_fit_are_named(
    undamaged: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    shutil.copytree(undamaged, tmp_path, dirs_exist_ok=True)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_predictions(tmp_path)
