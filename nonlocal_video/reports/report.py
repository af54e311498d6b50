"""The report of one test: what it holds, and the files it is written to."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from nonlocal_video.data.census.usable import format_census
from nonlocal_video.files import whole_file
from nonlocal_video.metrics import classes as by_class
from nonlocal_video.metrics.intervals import wilson_interval
from nonlocal_video.reports import page
from nonlocal_video.reports.pictures import draw_clips, draw_confusions
from nonlocal_video.reports.predictions import REPORT, label_ranks_of, write_classes, write_predictions
from nonlocal_video.reports.versions import versions
from nonlocal_video.types import Evaluation, Failure, Prediction

SHOWN = 10
"""Classes and pairs of classes that the report names; classes.csv has all."""


def build_report(
    evaluation: Evaluation,
    missing: Sequence[Failure],
    *,
    facts: dict[str, Any],
    metrics: Sequence[dict[str, float]],
    seconds: float,
    resumed: int = 0,
    num_classes: int,
    classes: Sequence[str] | None,
) -> dict[str, Any]:
    """Everything that a number needs beside it to be believed.

    `top1` and `top5` are the video accuracies in percent over the decoded videos; `*_of_listed` counts missing and
    broken videos as wrong; `clip_*` is the accuracy of single clips, `first_clip_*` that of the first one,
    `after_clips` of the first 1, 2, ... together. Without labels there are none of these, with five
    classes or fewer no `top5`.

    Args:
        missing: listed videos whose file does not exist.
        facts: where the number comes from; with the `step` of the weights, or None.
        metrics: what was logged while these weights were trained, if it is known.
        seconds: how long the test took.
        resumed: videos that an earlier job had scored, which took none of them.
        classes: their names.

    Raises:
        ValueError: no video was scored; scores, labels or ranks that cannot be.
    """
    failures = [*missing, *evaluation.failures]
    if classes is not None and len(classes) != num_classes:
        raise ValueError(f"got names of {len(classes)} classes, expected {num_classes}, as many as there are scores")
    _check(evaluation.predictions, failures, num_classes=num_classes)
    decoded, failed = len(evaluation.predictions), len(evaluation.failures)
    listed = decoded + len(failures)
    labels = evaluation.predictions[0].label is not None
    return {
        **facts,
        "num_classes": num_classes,
        "labels": labels,
        **(
            _accuracies(evaluation.predictions, listed=listed, num_classes=num_classes, names=classes) if labels else {}
        ),
        "train_top1": train_accuracy(metrics, step=facts["step"]),
        "videos": {"listed": listed, "missing": len(missing), "failed": failed, "decoded": decoded},
        "failures": [failure._asdict() for failure in failures],
        "versions": versions(),
        "time": {
            "seconds": round(seconds, 2),
            "videos_per_s": round((decoded + failed - resumed) / seconds, 2),
            "resumed_videos": resumed,
        },
    }


def _check(predictions: Sequence[Prediction], failures: Sequence[Failure], *, num_classes: int) -> None:
    if not predictions:
        causes = "; ".join(failure.cause for failure in failures[:3])
        raise ValueError(f"none of {len(failures)} videos could be tested: {causes or 'the list is empty'}")
    unlabelled = [prediction.video for prediction in predictions if prediction.label is None]
    if unlabelled and len(unlabelled) < len(predictions):
        raise ValueError(
            f"{len(unlabelled)} of {len(predictions)} videos have no label, such as {unlabelled[0]}; expected labels "
            "for all videos or for none"
        )
    num_clips = len(predictions[0].clip_ranks)
    for prediction in predictions:
        video, scores, label = prediction.video, prediction.scores, prediction.label
        if scores.shape != (num_classes,):
            raise ValueError(f"{video}: got {scores.numel()} scores, expected {num_classes}, one for each class")
        if not torch.isfinite(scores).all():
            raise ValueError(f"{video}: a score is not finite: the weights are broken, or the precision is too low")
        if label is not None and not 0 <= label < num_classes:
            raise ValueError(f"{video}: label {label} is not one of {num_classes} classes (0 to {num_classes - 1})")
        if not len(prediction.clip_ranks) == len(prediction.running_ranks) == num_clips:
            raise ValueError(
                f"{video}: ranks of {len(prediction.clip_ranks)} clips, expected {num_clips}, as others have"
            )


def _accuracies(
    predictions: Sequence[Prediction], *, listed: int, num_classes: int, names: Sequence[str] | None
) -> dict[str, Any]:
    ranks, ks = label_ranks_of(predictions), (1, 5) if num_classes > 5 else (1,)
    accuracies: dict[str, Any] = {}
    for k in ks:
        correct = int((ranks < k).sum())
        for key, total in ((f"top{k}", len(predictions)), (f"top{k}_of_listed", listed)):
            accuracies[key] = 100 * correct / total
            accuracies[f"{key}_interval"] = list(wilson_interval(correct, total))
    if predictions[0].clip_ranks:  # An ensemble has no clips of its own.
        clips = torch.tensor([prediction.clip_ranks for prediction in predictions])  # (N, V')
        running = torch.tensor([prediction.running_ranks for prediction in predictions])
        accuracies |= {f"clip_top{k}": _percent(clips, k) for k in ks}
        accuracies |= {f"first_clip_top{k}": _percent(clips[:, 0], k) for k in ks}
        accuracies["after_clips"] = [
            {"clips": number, **{f"top{k}": _percent(column, k) for k in ks}}
            for number, column in enumerate(running.unbind(1), start=1)
        ]
    return {**accuracies, **_class_accuracies(count_confusions(predictions, num_classes), names)}


def _percent(ranks: Tensor, k: int) -> float:
    return 100 * int((ranks < k).sum()) / ranks.numel()


def count_confusions(predictions: Sequence[Prediction], num_classes: int) -> Tensor:
    """How many videos of each class (row) are taken for each (column), (K, K); zeros without labels."""
    labelled = [prediction for prediction in predictions if prediction.label is not None]
    labels = torch.tensor([prediction.label for prediction in labelled], dtype=torch.int64)
    best = torch.tensor([int(prediction.scores.argmax()) for prediction in labelled], dtype=torch.int64)
    return by_class.count_confusions(labels, best, num_classes)


def _class_accuracies(confusions: Tensor, names: Sequence[str] | None) -> dict[str, Any]:
    def name(label: int) -> str | None:
        return names[label] if names else None

    results = by_class.class_results(confusions)
    return {
        "mean_class_top1": fmean(result.top1 for result in results if result.top1 is not None),
        "worst_classes": [
            {"class": one.label, "name": name(one.label), "videos": one.videos, "top1": one.top1}
            for one in by_class.worst_classes(results, SHOWN)
        ],
        "most_confused": [
            {"class": pair.label, "predicted": pair.predicted, "names": [name(pair.label), name(pair.predicted)],
             "videos": pair.videos, "share": pair.share}
            for pair in by_class.most_confused(confusions, SHOWN)
        ],
    }  # fmt: skip


def train_accuracy(metrics: Sequence[dict[str, float]], *, step: int | None) -> float | None:
    """Mean top-1 (%) of the training clips over the last tenth of the steps up to `step`, as logged while training."""
    if step is None:
        return None
    last = [record["top1"] for record in metrics if 0.9 * step < record["step"] <= step]
    return fmean(last) if last else None


def write_report(
    folder: Path, report: dict[str, Any], evaluation: Evaluation, *, classes: Sequence[str] | None
) -> None:
    """Writes predictions.jsonl, classes.csv, the pictures, report.md, and at last report.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (REPORT, *page.PICTURES):
        (folder / name).unlink(missing_ok=True)  # Those of an earlier test.
    write_predictions(folder, evaluation.predictions, classes=classes)
    confusions = count_confusions(evaluation.predictions, report["num_classes"])
    write_classes(folder, by_class.class_results(confusions), classes=classes)
    if report["labels"]:
        draw_confusions(folder / page.CONFUSIONS, confusions, classes=classes)
    if len(report.get("after_clips", ())) > 1:
        draw_clips(folder / page.CLIPS, report["after_clips"], num_videos=report["videos"]["decoded"])
    for name, text in (("report.md", page.format_page(report)), (REPORT, json.dumps(report, indent=2) + "\n")):
        with whole_file(folder / name) as file:
            file.write(text.encode("utf-8", "surrogateescape"))


def format_report(report: Mapping[str, Any]) -> str:
    """The report in a few lines."""
    videos = report["videos"]
    lines = [
        page.title(report),
        *page.tested(report),
        f"videos: {videos['listed']} listed, {videos['missing']} missing, {videos['failed']} failed, "
        f"{videos['decoded']} decoded",
    ]
    if "census" in report:
        lines.append(format_census(report["census"]))
    if not report["labels"]:
        lines.append(page.UNLABELLED)
    for key in ("top1", "top5"):
        if key in report:
            low, high = report[f"{key}_interval"]
            lines.append(
                f"{key}: {report[key]:.2f} (95%: {low:.2f} to {high:.2f}) of the decoded videos, "
                f"{report[f'{key}_of_listed']:.2f} of the listed"
            )
        if f"clip_{key}" in report:
            lines[-1] += (
                f"; {report[f'clip_{key}']:.2f} of single clips, {report[f'first_clip_{key}']:.2f} of first ones"
            )
    if "mean_class_top1" in report:
        lines.append(f"mean of the classes: {report['mean_class_top1']:.2f}")
    lines += page.published(report)
    if "cost" in report:
        time = report["time"]
        lines.append(
            f"time: {time['seconds']:.0f} s, {time['videos_per_s']:g} videos/s, "
            f"{report['cost']['data_wait']:g}% of it waiting for videos"
        )
    lines += [f"  {failure['cause']}" for failure in report["failures"][:5]]
    if len(report["failures"]) > 5:
        lines.append(f"  ... and {len(report['failures']) - 5} more in report.json")
    return "\n".join(lines)
