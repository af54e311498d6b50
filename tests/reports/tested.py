"""Tests that never ran: random scores of many videos, and a report over them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nonlocal_video.reports.test.report import build_report, write_report
from nonlocal_video.tasks.views import combine_views, label_ranks
from nonlocal_video.types import Evaluation, Failure, Prediction

FACTS: dict[str, Any] = {
    "run": "runs/nl", "network": "nl_c2d", "data": "made", "seed": 0, "weights": "w.pt", "weights_hash": "0a",
    "step": 100, "steps": 100, "clips": {"length": 8, "stride": 8}, "precision": "fp32", "published": None,
    "protocol": {"name": "10x3", "num_clips": 10, "placement": "released", "crops": "3", "short_side": 256,
                 "flips": False, "combine": "mean", "fps": None},
    "census": {"hash": "0b", "listed": 6, "missing": 1, "broken": 0, "checked": "presence"}, "train_census": None,
    "batch_norm": "running averages", "chunk": 10, "processes": 1, "config_hash": "0c", "recipe_hash": "0d",
    "cost": {"pixels_per_video": 2e6, "pixels_per_video_10x3": 1e6, "data_wait": 2.5},
}  # fmt: skip


def predictions(
    num_videos: int, *, num_classes: int = 8, num_clips: int = 4, seed: int = 0, labelled: bool = True
) -> list[Prediction]:
    """Video i has label i mod K, and views that lean towards it."""
    random = torch.Generator().manual_seed(seed)
    found = []
    for video in range(num_videos):
        label = video % num_classes
        views = torch.randn(num_clips * 3, num_classes, generator=random)
        views[:, label] += 0.7
        views = views.softmax(1)
        ranks = label_ranks(views, label, num_clips=num_clips, how="mean") if labelled else ((), ())
        scores = combine_views(views, "mean")
        found.append(Prediction(f"{video:04d}.mp4", label if labelled else None, scores, *ranks))
    return found


def write(
    folder: Path,
    scored: list[Prediction],
    *,
    failures: Sequence[Failure] = (),
    missing: Sequence[Failure] = (),
    classes: Sequence[str] | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Writes a whole report and returns it."""
    evaluation = Evaluation(scored, list(failures))
    report = build_report(
        evaluation,
        missing,
        facts={**FACTS, **facts},
        metrics=[],
        seconds=2.0,
        num_classes=len(scored[0].scores),
        classes=classes,
    )
    write_report(folder, report, evaluation, classes=classes)
    return report
