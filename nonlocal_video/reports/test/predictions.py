"""The files of a test for other programs: a line a video, all scores, a line a class; and reading them again."""

import csv
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
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
SCORES = "scores.npz"
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
    """Writes a line for each video, with its best class, by name if `classes` gives one, and the scores beside them.

    `scores.npz` has the arrays videos (N,), scores (N, K) float64 and, if they were kept, views (N, V, K) float32.
    """
    views = [prediction.views for prediction in predictions if prediction.views is not None]
    kept = {"views": torch.stack(views).numpy()} if views else {}
    names = np.array([prediction.video for prediction in predictions])
    with whole_file(folder / SCORES) as file:
        np.savez(file, allow_pickle=False, videos=names, scores=stacked_scores(predictions).numpy(), **kept)
    with whole_file(folder / PREDICTIONS) as file:
        for video, label, scores, clip_ranks, running_ranks, _ in predictions:
            score, best = (value.item() for value in scores.max(dim=0))
            told = {"video": video, "label": label, "predicted": classes[int(best)] if classes else int(best)}
            line = {**told, "score": score, "clip_ranks": clip_ranks, "running_ranks": running_ranks}
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
    for name in (REPORT, PREDICTIONS, SCORES, CLASSES):
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: no {name}; expected the folder of a finished test (tools/test.py)")
    check_folder(folder)
    report = read_json(folder / REPORT)
    if "num_classes" not in report:
        raise ValueError(f"{folder / REPORT}: is of an older version; test again")
    path, num_classes, videos = folder / PREDICTIONS, report["num_classes"], report["videos"]["decoded"]
    refusal = "{path}, line {number}: expected a prediction, got a line that is cut off or damaged: {error}"
    lines = list(json_lines(path, lambda line: Prediction.from_json({**line, "scores": ()}), refusal=refusal))
    if len(lines) != videos:
        raise ValueError(f"{path}: has {len(lines)} videos, expected {videos}, as {REPORT} says")
    ((name, count),) = Counter(line.video for line in lines).most_common(1)
    if count > 1:
        raise ValueError(f"{path}: has {name} {count} times")
    _check_labels(lines, num_classes, where=path)
    arrays = _read_scores(folder / SCORES, [line.video for line in lines], num_classes)
    predictions = [
        line._replace(scores=scores, views=views) for line, scores, views in zip(lines, *arrays, strict=True)
    ]
    if report["labels"]:
        _check_accuracy(predictions, report, where=path)
    return Tested(folder, report, predictions, _read_names(folder / CLASSES, num_classes))


def _check_labels(lines: Sequence[Prediction], num_classes: int, *, where: Path) -> None:
    """Raises ValueError for a label that no class has."""
    for row, line in enumerate(lines, start=1):
        for label in line.label if isinstance(line.label, tuple) else () if line.label is None else (line.label,):
            if label not in range(num_classes):
                raise ValueError(f"{where}, line {row}: label {label} is not one of {num_classes} classes")


def _read_scores(
    path: Path, videos: Sequence[str], num_classes: int
) -> tuple[Sequence[Tensor], Sequence[Tensor | None]]:
    """The scores (K,) of each video, and those (V, K) of its views, if they were kept; no code in the file is run."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names, scores, views = file["videos"].tolist(), file["scores"], file.get("views")
    except (ValueError, KeyError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read as the scores of a test: {error}") from error
    if scores.shape != (len(videos), num_classes) or scores.dtype != np.float64 or not np.isfinite(scores).all():
        expected = f"expected {num_classes} finite scores of each of {len(videos)} videos"
        raise ValueError(f"{path}: {expected}, got {scores.dtype} of shape {scores.shape}, or some not finite")
    if names != videos:
        raise ValueError(f"{path}: its videos are not those of {PREDICTIONS}")
    return [*torch.from_numpy(scores)], [None] * len(videos) if views is None else [*torch.from_numpy(views)]


def _read_names(path: Path, num_classes: int) -> list[str] | None:
    with path.open(newline="", encoding="utf-8") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    if len(names) != num_classes:
        raise ValueError(f"{path}: has {len(names)} classes, expected {num_classes}, as {REPORT} says")
    return names if any(names) else None


def _check_accuracy(predictions: Sequence[Prediction], report: dict[str, Any], *, where: Path) -> None:
    """Raises ValueError where the accuracy of the predictions is not that of the report."""
    without = [prediction.video for prediction in predictions if prediction.label is None]
    if without:
        raise ValueError(f"{where}: {without[0]} has no label, {REPORT} says that all have")
    key = "map" if report.get("multi_label") else "top1"
    if key == "map":
        value = mean_ap(*scores_and_targets(predictions)).mean
    else:
        value = 100 * int((label_ranks_of(predictions) < 1).sum()) / len(predictions)
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
