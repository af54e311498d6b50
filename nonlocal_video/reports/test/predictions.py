"""The files of a test that other programs read: a line a video, a line a class; and reading them again."""

import csv
import io
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
from nonlocal_video.system.files import whole_file
from nonlocal_video.system.plain import check_folder, json_lines, read_json
from nonlocal_video.types import Prediction

REPORT = "report.json"
"""Written last: where it is, the others are whole."""
PREDICTIONS = "predictions.jsonl"
CLASSES = "classes.csv"
HEADER = ["class", "name", "videos", "top1", "confused_with", "confused_with_name", "share"]


class Tested(NamedTuple):
    """A test, as its folder tells."""

    folder: Path
    report: dict[str, Any]
    predictions: list[Prediction]
    """In the order of the videos' names."""
    classes: list[str] | None
    """Names."""

    @property
    def num_classes(self) -> int:
        return int(self.report["num_classes"])


def write_predictions(folder: Path, predictions: Sequence[Prediction], *, classes: Sequence[str] | None) -> None:
    """A line for each video: its scores exactly, and its best class, by name if `classes` gives one."""
    with whole_file(folder / PREDICTIONS) as file:
        for prediction in predictions:
            best = int(prediction.scores.argmax())
            line = {**prediction.to_json(), "predicted": classes[best] if classes else best}
            file.write((json.dumps(line) + "\n").encode())


def write_classes(folder: Path, results: Sequence[ClassResult], *, classes: Sequence[str] | None) -> None:
    """A line for each class, with or without videos."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for result in results:
        other = result.confused_with
        names = [classes[result.label], classes[other] if other is not None else ""] if classes else ["", ""]
        top1, share = ("" if value is None else f"{value:.2f}" for value in (result.top1, result.share))
        writer.writerow([result.label, names[0], result.videos, top1, "" if other is None else other, names[1], share])
    with whole_file(folder / CLASSES) as file:
        file.write(text.getvalue().encode())


def read_predictions(folder: Path) -> Tested:
    """What a finished test left in its folder.

    Raises:
        ValueError: a file is missing, cut off, or does not fit the others.
    """
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
    return _checked(Tested(folder, report, predictions, _read_names(folder / CLASSES, num_classes)))


def _checked_line(prediction: Prediction, *, num_classes: int, where: str) -> Prediction:
    scores = prediction.scores
    if scores.shape != (num_classes,) or not torch.isfinite(scores).all():
        raise ValueError(f"{where}: expected {num_classes} finite scores, got {scores.numel()}, or some not finite")
    label = prediction.label
    for one in label if isinstance(label, tuple) else () if label is None else (label,):
        if one not in range(num_classes):
            raise ValueError(f"{where}: label {one} is not one of {num_classes} classes")
    return prediction


def _read_names(path: Path, num_classes: int) -> list[str] | None:
    with path.open(newline="", encoding="utf-8") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    if len(names) != num_classes:
        raise ValueError(f"{path}: has {len(names)} classes, expected {num_classes}, as {REPORT} says")
    return names if any(names) else None


def _checked(tested: Tested) -> Tested:
    """The same; raises ValueError where the predictions are not those of the report."""
    path, report, predictions = tested.folder / PREDICTIONS, tested.report, tested.predictions
    expected = report["videos"]["decoded"]
    if len(predictions) != expected:
        raise ValueError(f"{path}: has {len(predictions)} videos, expected {expected}, as {REPORT} says")
    ((name, count),) = Counter(prediction.video for prediction in predictions).most_common(1)
    if count > 1:
        raise ValueError(f"{path}: has {name} {count} times")
    without = [prediction.video for prediction in predictions if prediction.label is None]
    if not report["labels"]:
        return tested
    if without:
        raise ValueError(f"{path}: {without[0]} has no label, {REPORT} says that all have")
    key = "map" if report.get("multi_label") else "top1"
    value = mean_ap(*scores_and_targets(predictions)).mean if key == "map" else _top1(predictions)
    if abs(value - report[key]) > 1e-9:
        raise ValueError(f"{path}: its scores give {key} {value:.4f}, {REPORT} says {report[key]:.4f}")
    return tested


def _top1(predictions: Sequence[Prediction]) -> float:
    return 100 * int((label_ranks_of(predictions) < 1).sum()) / len(predictions)


def label_ranks_of(predictions: Sequence[Prediction]) -> Tensor:
    """How many classes each video's scores put above its label, (N,). All must have labels."""
    labels = [prediction.label for prediction in predictions]
    return ranks_of(torch.stack([prediction.scores for prediction in predictions]), torch.tensor(labels))


def scores_and_targets(predictions: Sequence[Prediction]) -> tuple[Tensor, Tensor]:
    """(N, K) float64 and (N, K) bool."""
    scores = torch.stack([prediction.scores for prediction in predictions])
    return scores, multi_hot([_classes(prediction) for prediction in predictions], scores.shape[1])


def _classes(prediction: Prediction) -> tuple[int, ...]:
    assert isinstance(prediction.label, tuple), "reports are of one kind of labels"
    return prediction.label
