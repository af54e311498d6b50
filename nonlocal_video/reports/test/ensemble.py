"""The mean of several tests' scores."""

from collections.abc import Sequence
from typing import Any

import torch

from nonlocal_video.reports.test.compare import FACTS, share
from nonlocal_video.reports.test.predictions import Tested
from nonlocal_video.types import Evaluation, Failure, Prediction


def average(tests: Sequence[Tested], *, weights: Sequence[float], common: bool) -> Evaluation:
    """Averages the scores of each video, in float64. There are no clips: their scores were not kept.

    Args:
        weights: one for each test, which add up to 1.
        common: a video that some test lacks is left out, and told as a failure; else it is a ValueError, as in `share`.
    """
    shared = share(tests)
    for test, only in zip(tests, shared.only, strict=True):
        if only and not common:
            raise ValueError(
                f"{test.folder}: has {len(only)} videos that not all others have, such as {only[0]}; test the same "
                "videos, or take --common to average those that all have"
            )
    predictions = []
    for members in zip(*shared.predictions, strict=True):
        parts = (weight * member.scores for weight, member in zip(weights, members, strict=True))
        scores = sum(parts, torch.zeros_like(members[0].scores))
        predictions.append(Prediction(members[0].video, members[0].label, scores))
    return Evaluation(predictions, _failures(tests, {prediction.video for prediction in predictions}))


def _failures(tests: Sequence[Tested], scored: set[str]) -> list[Failure]:
    """Every video that some test was given and not all have scored."""
    causes: dict[str, str] = {}
    for test in tests:
        for failure in test.report["failures"]:
            causes.setdefault(failure["video"], failure["cause"])
    listed = {prediction.video for test in tests for prediction in test.predictions} | causes.keys()
    return [Failure(video, causes.get(video, f"{video}: not in all tests")) for video in sorted(listed - scored)]


def lost_labels(tests: Sequence[Tested]) -> dict[str, tuple[int, ...]]:
    """The classes of every video that some test knows, where videos have several."""
    labels: dict[str, tuple[int, ...]] = {}
    for test in tests:
        labels |= {lost["video"]: tuple(lost["labels"]) for lost in test.report["failures"] if "labels" in lost}
        labels |= {scored.video: scored.label for scored in test.predictions if isinstance(scored.label, tuple)}
    return labels


def shared_facts(tests: Sequence[Tested], *, weights: Sequence[float]) -> dict[str, Any]:
    """The facts of an ensemble's report: those that all members share, and those that tell each member apart."""
    reports = [test.report for test in tests]
    known = [key for key in FACTS if key != "versions" and all(key in report for report in reports)]
    shared = {key: reports[0][key] for key in known if all(report[key] == reports[0][key] for report in reports)}
    data = ", ".join(dict.fromkeys(report["data"] for report in reports))
    members = [
        {"folder": str(test.folder), "weight": weight}
        | {key: test.report[key] for key in ("top1", "map") if key in test.report}
        | {key: test.report[key] for key in known if key not in shared}
        for test, weight in zip(tests, weights, strict=True)
    ]
    task = "multi_label" if any(report.get("multi_label") for report in reports) else "single_label"
    return {**shared, "data": data, "task": task, "step": shared.get("step"), "ensemble": members}
