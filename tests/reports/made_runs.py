"""Runs that were never trained: what is right of which video is given, and everything else looks like a run's."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nonlocal_video.metrics.classes import class_results
from nonlocal_video.models.complexity import Cost
from nonlocal_video.reports.tables.paper import Expected, PaperRow
from nonlocal_video.reports.tables.runs import Run
from nonlocal_video.reports.test.accuracy import confusions_of
from nonlocal_video.reports.test.predictions import write_classes, write_predictions
from nonlocal_video.reports.test.report import build_report
from nonlocal_video.types import Evaluation, Failure, Prediction
from tests.reports.tested import FACTS

NAMES = [f"class {letter}" for letter in "abcdefgh"]
PROTOCOL = {**FACTS["protocol"], "name": "full_10"}
CENSUS = {"hash": "0e", "listed": 100, "missing": 2, "broken": 1, "checked": "presence"}
SETTINGS = {
    "seed": 0, "data.name": "made", "data.subset": None, "optim.steps": 400, "optim.milestones": [300],
    "choices.model": "c2d", "model.pairwise": "gaussian",
}  # fmt: skip
EXPECTED = Expected(
    steps=400, milestones=(300,), data="made", subset=None, num_classes=8, protocol="full_10",
    cost=Cost(weights=24_270_000, parameters=24_330_000, macs=20_230_000_000, executed_macs=0),
)  # fmt: skip


def certain(ranks: Sequence[int], *, first: int = 0) -> list[Prediction]:
    """Videos of 8 classes in turn; so many classes are put above the label of each, by both of its clips."""
    found = []
    for video, rank in enumerate(ranks, start=first):
        label = video % 8
        scores = torch.arange(8, 0, -1, dtype=torch.float64)  # The best, the second best, ...
        order = [other for other in range(8) if other != label]
        order.insert(rank, label)
        scores[order] = scores.clone() / 36
        found.append(Prediction(f"{video:03d}.mp4", label, scores, (rank, 0), (rank, rank)))
    return found


def made_run(
    folder: Path,
    ranks: Sequence[int],
    *,
    settings: dict[str, Any] | None = None,
    name: str = "full_10",
    first: int = 0,
    missing: Sequence[str] = (),
    **facts: Any,
) -> Run:
    """A tested run.

    Args:
        ranks: how many classes each video's scores put above its label: 0 is right.
        settings: those that are not as in `SETTINGS`.
        name: of the test.
        first: the number of the first video.
        missing: videos that are listed and not there.
        facts: of the report.
    """
    used = {**SETTINGS, **(settings or {})}
    said = {
        "data": used["data.name"], "seed": used["seed"], "protocol": PROTOCOL, "step": used["optim.steps"],
        "steps": used["optim.steps"], "train_census": CENSUS, "commit": {"training": "c0ffee", "testing": "c0ffee"},
        **facts,
    }  # fmt: skip
    test = folder / "test" / name
    lost = [Failure(video, "no such file") for video in missing]
    predictions = certain(ranks, first=first)
    evaluation, facts = Evaluation(predictions, []), {**FACTS, **said}
    report = build_report(evaluation, lost, facts=facts, metrics=[], seconds=1.0, num_classes=8, classes=NAMES)
    test.mkdir(parents=True)
    write_predictions(test, predictions, classes=NAMES)
    write_classes(test, class_results(confusions_of(predictions, 8)), classes=NAMES)
    (test / "report.json").write_text(json.dumps(report))
    identity = {key: value for key, value in used.items() if not key.startswith("choices")}
    return Run(folder, test, report, used, identity)


def made_detector(
    folder: Path,
    measured: dict[str, float],
    *,
    settings: dict[str, Any],
    categories: Sequence[float | None] = (),
    name: str = "coco",
    **facts: Any,
) -> Run:
    """A tested detector.

    Args:
        measured: its numbers in percent, by their names: box_AP, mask_AP75, ...
        categories: the most important AP of each category.
        name: of the test.
        facts: of the report.
    """
    of = [name for name in ("box", "mask", "keypoint") if f"{name}_AP" in measured]
    report = {
        "run": str(folder), "network": "made", "data": settings["data.name"], "seed": settings["seed"],
        "step": settings["optim.steps"], "steps": settings["optim.steps"], "protocol": {"name": "coco"}, **measured,
        "measured": of, "images": {"listed": 5, "failed": 1, "tested": 4, "detections": 9}, "listed_images": "0f",
        "classes": [{"category_id": number, "name": NAMES[number], f"{of[-1]}_AP": value}
                    for number, value in enumerate(categories)],
        "train_census": {"hash": "0e", "listed": 7, "missing": 1, "without_objects": 2}, "failures": [],
        "commit": {"training": "c0ffee", "testing": "c0ffee"}, **facts,
    }  # fmt: skip
    test = folder / "test" / name
    test.mkdir(parents=True)
    (test / "report.json").write_text(json.dumps(report))
    return Run(folder, test, report, settings, settings)


def add_records(folder: Path, *, steps: Sequence[int], top1: Sequence[float]) -> None:
    """The curves of a run."""
    for name, key in (("metrics.jsonl", "top1"), ("validation.jsonl", "clip_top1")):
        records = [{"step": step, key: value, "loss": 1 / step} for step, value in zip(steps, top1, strict=True)]
        (folder / name).write_text("".join(f"{json.dumps(record)}\n" for record in records))


def paper_row(name: str, *, baseline: str | None = "c2d", paper: tuple[float, float] | None = (72.0, 90.0)) -> PaperRow:
    numbers = {} if paper is None else {"top1": paper[0], "top5": paper[1]}
    return PaperRow(name, f"{name} (label)", numbers, None if baseline == name else baseline, EXPECTED)
