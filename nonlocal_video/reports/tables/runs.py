"""Tested runs as tables over many of them need them, and where they lie."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nonlocal_video.reports.tables.measures import NUMBER, OBJECTS, main_metrics, measure_of_report
from nonlocal_video.reports.tables.unfinished import SETTINGS, unfinished_runs
from nonlocal_video.reports.test.predictions import REPORT, label_ranks_of, read_predictions, scores_and_targets
from nonlocal_video.system.plain import check_folder, json_lines, read_json, read_yaml


class Scored(NamedTuple):
    """How a test's videos did, of one class each without their scores: 60 tests of Kinetics would fill the memory."""

    videos: tuple[str, ...]
    classes: tuple[str, ...] | None
    labels: Tensor
    """(N,) of one class a video; (N, K) bool of several."""
    ranks: Tensor = torch.empty(0)
    """(N,) how many classes a video's scores put above its label; of one class a video."""
    clip_ranks: Tensor = torch.empty(0)
    """(N, V') the ranks of its single clips."""
    scores: Tensor = torch.empty(0)
    """(N, K) of several classes a video."""

    def right(self, metric: str) -> Tensor:
        """How far each video is right by a metric that is a mean over videos, (N,) in [0, 1]."""
        kind, _, k = metric.rpartition("top")
        ranks = {"": self.ranks[:, None], "clip_": self.clip_ranks, "first_clip_": self.clip_ranks[:, :1]}[kind]
        return (ranks < int(k)).double().mean(dim=1)


class Listed(NamedTuple):
    """The videos or images of a list."""

    number: int
    names: frozenset[str] | str
    """Of images a hash of them."""


@dataclass(frozen=True)
class Run:
    """A trained network and one test of it."""

    folder: Path
    test: Path
    """The test's folder, below the run's."""
    report: dict[str, Any]
    settings: dict[str, Any]
    """All settings, by their dotted names."""
    identity: Mapping[str, Any]
    """The settings that make it what it is, which must not differ unnoticed within a table."""

    @property
    def seed(self) -> int:
        return int(self.settings["seed"])

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The identity of the run, and that of its test: `protocol.*`, and the data as `test.data`."""
        protocol = {f"protocol.{key}": value for key, value in self.report["protocol"].items()}
        return {**self.identity, "test.data": self.report["data"], **protocol}

    @cached_property
    def scored(self) -> Scored:
        """The test's videos, read when they are needed. Raises ValueError where its files do not fit each other."""
        test = read_predictions(self.test)
        predictions, classes = test.predictions, tuple(test.classes) if test.classes else None
        videos = tuple(prediction.video for prediction in predictions)
        if self.report.get("multi_label"):
            scores, targets = scores_and_targets(predictions)
            return Scored(videos, classes, targets, scores=scores)
        labels = torch.tensor([prediction.label for prediction in predictions])
        clip_ranks = torch.tensor([prediction.clip_ranks for prediction in predictions])
        return Scored(videos, classes, labels, label_ranks_of(predictions), clip_ranks)

    @cached_property
    def listed(self) -> Listed:
        """What the test's list has, whether it could be tested or not."""
        if measure_of_report(self.report) is OBJECTS:
            return Listed(self.report["images"]["listed"], self.report["listed_images"])
        names = frozenset(self.scored.videos) | {failure["video"] for failure in self.report["failures"]}
        return Listed(len(names), names)

    def records(self, name: str) -> list[dict[str, float]]:
        """The records of metrics.jsonl or validation.jsonl, up to what a killed run left half written."""
        return list(json_lines(self.folder / name, dict))

    def value(self, metric: str) -> float | None:
        """A metric of the report in percent; of all listed videos where the report has it so. None if it is not known.

        Raises ValueError where the report has no such metric, and lists those that it has.
        """
        metrics = filter(NUMBER.search, self.report)
        known = [name for name in metrics if isinstance(self.report[name], float | int | None)]
        if metric not in known:
            raise ValueError(f"{self.test / REPORT}: has no {metric}; expected one of {', '.join(known)}")
        return self.report.get(f"{metric}_of_listed", self.report[metric])


class FoundTests(NamedTuple):
    """The tests that lie below some folders."""

    tests: list[Path]
    """Folders of tests that a table can hold."""
    left_out: dict[str, list[Path]]
    """Folders that it cannot hold, by the reason."""


def find_tests(folders: Sequence[Path]) -> FoundTests:
    """The tests of runs in these folders or below, each once. Raises ValueError where there is none."""
    tests, others = list[Path](), dict[str, list[Path]]()
    reports = {path.resolve(): path for folder in folders for path in sorted(folder.rglob(REPORT))}
    for path in reports.values():
        if path.is_file():  # Not a pipe, which would be waited for.
            why = _why_not(path)
            (others.setdefault(why, []) if why else tests).append(path.parent)
    others = {**unfinished_runs(folders, tested={test.parent.parent.resolve() for test in tests}), **others}
    if not tests:
        reasons = "".join(f"; {line}" for line in left_out(others))
        raise ValueError(f"{', '.join(map(str, folders))}: no {REPORT} of a tested run here or below{reasons}")
    return FoundTests(tests, others)


def left_out(others: Mapping[str, Sequence[Path]]) -> list[str]:
    """How many folders are left out, why, and which."""
    lines = []
    for why, paths in others.items():
        if paths:
            alike = len({path.is_absolute() for path in paths}) == 1
            common = os.path.commonpath([path.parent for path in paths]) if alike else ""
            names = ", ".join(os.path.relpath(path, common) for path in paths)
            lines.append(f"{len(paths)} {why}, in {common or '.'}: {names}")
    return lines


def _why_not(path: Path) -> str | None:
    """Why a table over runs cannot hold a report."""
    report, settings = read_json(path), path.parent.parent.parent / SETTINGS
    reasons = {
        "of ensembles, not of runs": "ensemble" in report,
        "of files of results, not of runs": "detections" in report,
        "of an older version (test those runs again)": not {"videos", "listed_images"} & report.keys()
        or "protocol" not in report,
        "of objects in images, of which there is none": "measured" in report and main_metrics(report)[0] not in report,
        "without accuracies, since their lists have no labels": "measured" not in report and not report.get("labels"),
        f"of weights without a run (no {SETTINGS} above them)": not settings.is_file(),
    }
    why = next((why for why, holds in reasons.items() if holds), None)
    steps = report.get("steps")
    if why is None and steps is not None and _steps_of(settings) not in (None, steps):
        return "of runs that were trained further since (test those runs again)"
    return why


def _steps_of(settings: Path) -> int | None:
    """The steps of a run by its settings; None if they do not say so, which is told where they are read as a whole."""
    try:
        check_folder(settings.parent)
        steps = read_yaml(settings)["optim"]["steps"]
    except (KeyError, TypeError, ValueError):
        return None
    return steps if isinstance(steps, int) else None
