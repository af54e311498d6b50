"""The files of a test that other programs read: a line a video, a line a class; and reading them again."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nonlocal_video.metrics.average_precision import mean_ap, multi_hot
from nonlocal_video.metrics.classes import ClassResult
from nonlocal_video.metrics.topk import ranks_of
from nonlocal_video.reports.texts import csv_text, number, write_text
from nonlocal_video.system.files import whole_file
from nonlocal_video.system.plain import check_folder, json_lines, read_json
from nonlocal_video.types import Prediction

REPORT = "report.json"
"""Written last: where it is, the others are whole."""
PREDICTIONS = "predictions.jsonl"
CLASSES = "classes.csv"
HEADER = ["class", "name", "videos", "top1", "confused_with", "confused_with_name", "share"]


class Tested(NamedTuple):
    """The contents of a test's folder; `classes` are their names."""

    folder: Path
    report: dict[str, Any]
    predictions: list[Prediction]
    """In the order of the videos' names."""
    classes: list[str] | None

    @property
    def num_classes(self) -> int:
        return int(self.report["num_classes"])

    def name_of(self, label: int) -> str:
        return self.classes[label] if self.classes else f"class {label}"


def write_predictions(folder: Path, predictions: Sequence[Prediction], *, classes: Sequence[str] | None) -> None:
    """Writes a line for each video: its scores exactly, and its best class, by name if `classes` gives one."""
    with whole_file(folder / PREDICTIONS) as file:
        for prediction in predictions:
            best = int(prediction.scores.argmax())
            line = {**prediction.to_json(), "predicted": classes[best] if classes else best}
            file.write((json.dumps(line) + "\n").encode())


def write_classes(folder: Path, results: Sequence[ClassResult], *, classes: Sequence[str] | None) -> None:
    """Writes a line for each class, with or without videos."""
    rows = []
    for label, videos, top1, other, share in results:
        name, confused = (classes[which] if classes and which is not None else "" for which in (label, other))
        rows.append((label, name, videos, number(top1), other, confused, number(share)))
    write_text(folder / CLASSES, csv_text(HEADER, rows))


def read_predictions(folder: Path) -> Tested:
    """The files of a finished test. Raises ValueError where one is missing, cut off, or does not fit the others."""
    for name in (REPORT, PREDICTIONS, CLASSES):
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: no {name}; expected the folder of a finished test (tools/test.py)")
    check_folder(folder)
    report = read_json(folder / REPORT)
    if "num_classes" not in report:
        raise ValueError(f"{folder / REPORT}: is of an older version; test again")
    num_classes = report["num_classes"]
    refusal = "{path}, line {number}: expected a prediction, got a line that is cut off or damaged: {error}"
    lines = json_lines(folder / PREDICTIONS, Prediction.from_json, refusal=refusal)
    predictions = [
        _checked_line(prediction, num_classes=num_classes, where=f"{folder / PREDICTIONS}, line {number}")
        for number, prediction in enumerate(lines, start=1)
    ]
    _check(predictions, report, where=folder / PREDICTIONS)
    return Tested(folder, report, predictions, _read_names(folder / CLASSES, num_classes))


def _checked_line(prediction: Prediction, *, num_classes: int, where: str) -> Prediction:
    scores = prediction.scores
    if scores.shape != (num_classes,) or not torch.isfinite(scores).all():
        raise ValueError(f"{where}: expected {num_classes} finite scores, got {scores.numel()}, or some not finite")
    label = prediction.label
    for k in label if isinstance(label, tuple) else () if label is None else (label,):
        if k not in range(num_classes):
            raise ValueError(f"{where}: label {k} is not one of {num_classes} classes")
    return prediction


def _read_names(path: Path, num_classes: int) -> list[str] | None:
    with path.open(newline="", encoding="utf-8") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    if len(names) != num_classes:
        raise ValueError(f"{path}: has {len(names)} classes, expected {num_classes}, as {REPORT} says")
    return names if any(names) else None


def _check(predictions: Sequence[Prediction], report: dict[str, Any], *, where: Path) -> None:
    """Raises ValueError where the predictions are not those of the report."""
    expected = report["videos"]["decoded"]
    if len(predictions) != expected:
        raise ValueError(f"{where}: has {len(predictions)} videos, expected {expected}, as {REPORT} says")
    ((name, count),) = Counter(prediction.video for prediction in predictions).most_common(1)
    if count > 1:
        raise ValueError(f"{where}: has {name} {count} times")
    if not report["labels"]:
        return
    without = [prediction.video for prediction in predictions if prediction.label is None]
    if without:
        raise ValueError(f"{where}: {without[0]} has no label, {REPORT} says that all have")
    key = "map" if report.get("multi_label") else "top1"
    if key == "map":
        value = mean_ap(*scores_and_targets(predictions)).mean
    else:
        value = 100 * int((label_ranks_of(predictions) < 1).sum()) / expected
    if abs(value - report[key]) > 1e-9:
        raise ValueError(f"{where}: its scores give {key} {value:.4f}, {REPORT} says {report[key]:.4f}")


def label_ranks_of(predictions: Sequence[Prediction]) -> Tensor:
    """How many classes each video's scores put above its label, (N,). All must have labels."""
    return ranks_of(stacked_scores(predictions), torch.tensor([prediction.label for prediction in predictions]))


def scores_and_targets(predictions: Sequence[Prediction]) -> tuple[Tensor, Tensor]:
    """The scores (N, K) float64 and the classes (N, K) bool of videos with several each."""
    scores, labels = stacked_scores(predictions), [prediction.label for prediction in predictions]
    assert all(isinstance(label, tuple) for label in labels), "reports are of one kind of labels"
    return scores, multi_hot([label for label in labels if isinstance(label, tuple)], scores.shape[1])


def stacked_scores(predictions: Sequence[Prediction]) -> Tensor:
    """All scores, (N, K)."""
    return torch.stack([prediction.scores for prediction in predictions])
