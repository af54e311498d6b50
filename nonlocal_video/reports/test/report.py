"""The report of one test: its contents, the files it is written to, and the page and the lines that people read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

import torch

from nonlocal_video.data.census.usable import format_census
from nonlocal_video.reports.test import accuracy, average_precision
from nonlocal_video.reports.test.predictions import REPORT, write_predictions
from nonlocal_video.reports.texts import table, write_text
from nonlocal_video.reports.versions import versions
from nonlocal_video.types import Evaluation, Failure, Prediction

UNLABELLED = "the list has no labels: predictions only, no accuracies"
SHOWN = 20
"""Failures on the page; report.json has all."""
SOURCES = {
    "run": "run", "seed": "seed", "weights_hash": "hash of the weights", "config_hash": "hash of the settings",
    "recipe_hash": "hash of the recipe", "batch_norm": "batch normalisation", "precision": "precision",
    "processes": "processes", "chunk": "views at a time",
}  # fmt: skip
"""Facts that the page shows as they are, with their names there."""


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
    known: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Everything that a number needs beside it to be believed.

    Of one class a video, `top1` and `top5` are the video accuracies in percent over the decoded videos; `*_of_listed`
    counts missing and broken videos as wrong; `clip_*` is the accuracy of single clips, `first_clip_*` that of the
    first one, `after_clips` of the first 1, 2, ... together; with five classes or fewer there is no `top5`. Of several
    classes a video (`multi_label`) there are those of `average_precision.facts` instead; without labels there are none.

    Args:
        facts: where the number comes from; with the `step` of the weights, or None.
        metrics: the log of the training of these weights, if it is known.
        resumed: videos that an earlier job had scored, which took none of the `seconds`.
        known: of several classes a video, those of all listed videos, missing ones too.

    Raises:
        ValueError: no video was scored; scores, labels or ranks that cannot be.
    """
    predictions, failures = evaluation.predictions, [*missing, *evaluation.failures]
    if classes is not None and len(classes) != num_classes:
        raise ValueError(f"got names of {len(classes)} classes, expected {num_classes}, as many as there are scores")
    _check(predictions, failures, num_classes=num_classes)
    decoded, failed = len(predictions), len(evaluation.failures)
    listed, labels = decoded + len(failures), predictions[0].label is not None
    several = isinstance(predictions[0].label, tuple) or facts.get("task") == "multi_label"
    told, results = [failure._asdict() for failure in failures], dict[str, Any]()
    if labels and several:
        told = [{**failure, "labels": list(known[failure["video"]])} for failure in told]
        lost = [known[failure.video] for failure in failures]
        results = average_precision.facts(predictions, lost, names=classes)
    elif labels:
        results = accuracy.facts(predictions, listed=listed, num_classes=num_classes, names=classes)
    videos_per_s = round((decoded + failed - resumed) / seconds, 2)
    return {
        **facts,
        "num_classes": num_classes,
        "labels": labels,
        "multi_label": several,
        **results,
        "train_top1": _train_top1(metrics, step=facts["step"]),
        "videos": {"listed": listed, "missing": len(missing), "failed": failed, "decoded": decoded},
        "failures": told,
        "versions": versions(),
        "time": {"seconds": round(seconds, 2), "videos_per_s": videos_per_s, "resumed_videos": resumed},
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
    if len({type(prediction.label) for prediction in predictions}) > 1:
        raise ValueError("some videos have one label, others several; expected one kind")
    for prediction in predictions:
        fault = _fault(prediction, num_classes=num_classes, num_clips=len(predictions[0].clip_ranks))
        if fault:
            raise ValueError(f"{prediction.video}: {fault}")


def _fault(prediction: Prediction, *, num_classes: int, num_clips: int) -> str | None:
    """Why a prediction cannot be right."""
    scores, label = prediction.scores, prediction.label
    if scores.shape != (num_classes,):
        return f"got {scores.numel()} scores, expected {num_classes}, one for each class"
    if not torch.isfinite(scores).all():
        return "a score is not finite: the weights are broken, or the precision is too low"
    for k in label if isinstance(label, tuple) else () if label is None else (label,):
        if not 0 <= k < num_classes:
            return f"label {k} is not one of {num_classes} classes (0 to {num_classes - 1})"
    if not len(prediction.clip_ranks) == len(prediction.running_ranks) == num_clips:
        return f"ranks of {len(prediction.clip_ranks)} clips, expected {num_clips}, as others have"
    return None


def _train_top1(metrics: Sequence[dict[str, float]], *, step: int | None) -> float | None:
    """Mean top-1 (%) of the training clips over the last tenth of the steps up to `step`, as logged while training."""
    last = [record["top1"] for record in metrics if step is not None and 0.9 * step < record["step"] <= step]
    return fmean(last) if last else None


def write_report(
    folder: Path, report: dict[str, Any], evaluation: Evaluation, *, classes: Sequence[str] | None
) -> None:
    """Writes predictions, scores, classes.csv (submission.txt), the pictures, report.md, and at last report.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (REPORT, *accuracy.PICTURES, *average_precision.PICTURES):
        (folder / name).unlink(missing_ok=True)  # Those of an earlier test.
    write_predictions(folder, evaluation.predictions, classes=classes)
    kind = average_precision if report["multi_label"] else accuracy
    kind.write_files(folder, report, evaluation.predictions, classes=classes)
    write_text(folder / "report.md", format_page(report))
    write_text(folder / REPORT, json.dumps(report, indent=2) + "\n")


def format_report(report: Mapping[str, Any]) -> str:
    """The report in a few lines."""
    videos = report["videos"]
    counts = ", ".join(f"{videos[key]} {key}" for key in ("listed", "missing", "failed", "decoded"))
    lines = [title(report), *tested(report), f"videos: {counts}"]
    if "census" in report:
        lines.append(format_census(report["census"]))
    if not report["labels"]:
        lines.append(UNLABELLED)
    else:
        lines += (average_precision if report["multi_label"] else accuracy).console_lines(report)
    if "cost" in report:
        speed, wait = f"{report['time']['videos_per_s']:g} videos/s", f"{report['cost']['data_wait']:g}%"
        lines.append(f"time: {report['time']['seconds']:.0f} s, {speed}, {wait} of it waiting for videos")
    lines += [f"  {failure['cause']}" for failure in report["failures"][:5]]
    if len(report["failures"]) > 5:
        lines.append(f"  ... and {len(report['failures']) - 5} more in report.json")
    return "\n".join(lines)


def title(report: Mapping[str, Any]) -> str:
    """The network and the data."""
    if "ensemble" in report:
        network = f" of {report['network']}" if "network" in report else ""
        return f"ensemble of {len(report['ensemble'])} tests{network} on {report['data']}"
    return f"{report['network']} on {report['data']}"


def tested(report: Mapping[str, Any]) -> list[str]:
    """The weights, and how videos were tested."""
    if "ensemble" in report:
        lines = []
        for member in report["ensemble"]:
            reached = [f", {key} {member[key]:.2f}" for key in ("top1", "map") if member.get(key) is not None]
            lines.append("".join([f"weight {member['weight']:.3g}: {member['folder']}", *reached]))
    else:
        trained = "" if report["step"] is None else f", step {report['step']} of {report['steps']}"
        lines = [f"weights: {report['weights']}{trained}"]
    if "protocol" in report and "clips" in report:
        lines.append(f"protocol: {protocol_words(report)}")
    return lines


def protocol_words(report: Mapping[str, Any]) -> str:
    """`10x3: 10 clips of 8x8 (released) x 3 squares, short side 256; mean over the views`."""
    protocol, clips = report["protocol"], report["clips"]
    num_clips = protocol["num_clips"]
    crops = {"full": "the whole frame", "1": "1 square"}.get(protocol["crops"], f"{protocol['crops']} squares")
    mirrored = " and mirrored" if protocol["flips"] else ""
    rate = f", videos resampled to {protocol['fps']:g} frames/s" if protocol["fps"] else ""
    return (
        f"{protocol['name']}: {num_clips} clip{'s' if num_clips > 1 else ''} of {clips['length']}x{clips['stride']} "
        f"({protocol['placement']}) x {crops}{mirrored}, short side {protocol['short_side']}{rate}; "
        f"{protocol['combine']} over the views"
    )


def format_page(report: Mapping[str, Any]) -> str:
    """The whole page, in Markdown; its pictures lie beside it."""
    parts = [f"# {title(report)}", "\n".join(f"- {line}" for line in tested(report))]
    if not report["labels"]:
        parts.append(f"{UNLABELLED.capitalize()}.")
    else:
        parts += (average_precision if report.get("multi_label") else accuracy).page_parts(report)
    failures = report["failures"]
    if failures:
        shown = [f"    {' '.join(failure['cause'].split())}" for failure in failures[:SHOWN]]
        more = [f"    ... and {len(failures) - SHOWN} more in report.json"] if len(failures) > SHOWN else []
        parts += [f"## Videos without a prediction: {len(failures)}", "\n".join(shown + more)]
    parts += ["## Origin", table(["what", "which"], _origin(report), texts=(0, 1))]
    return "\n\n".join(parts) + "\n"


def _origin(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The origin of the number, as far as there is one: an ensemble has only what its members share."""
    videos, time = report["videos"], report["time"]
    rows = [("videos", ", ".join(f"{videos[key]} {key}" for key in ("listed", "missing", "failed", "decoded")))]
    rows += [(words, str(report[key])) for key, words in SOURCES.items() if report.get(key) is not None]
    for key, words in (("census", "census"), ("train_census", "census of training")):
        if report.get(key) is not None:
            rows.append((words, format_census(report[key]).removeprefix("census ")))
    if "cost" in report:
        cost = report["cost"]
        if cost["pixels_per_video"] is not None:
            pixels, usual = (cost[key] / 1e6 for key in ("pixels_per_video", "pixels_per_video_10x3"))
            rows.append(("pixels of a video", f"{pixels:.1f} million; 10x3 needs {usual:.1f}"))
        rows.append(("waited for videos", f"{cost['data_wait']:g}% of the time"))
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in report["versions"].items())))
    before = f"; {time['resumed_videos']} videos were scored before" if time["resumed_videos"] else ""
    rows.append(("time", f"{time['seconds']:.1f} s, {time['videos_per_s']:g} videos/s{before}"))
    return rows
