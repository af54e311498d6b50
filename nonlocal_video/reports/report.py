"""The report of one test: `report.json` and `predictions.jsonl`."""

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from nonlocal_video.data.census.usable import format_census
from nonlocal_video.files import whole_file
from nonlocal_video.types import Evaluation, Failure

PACKAGES = ("torch", "torchvision", "av", "numpy")


def build_report(
    evaluation: Evaluation,
    missing: Sequence[Failure],
    *,
    facts: dict[str, Any],
    metrics: Sequence[dict[str, float]],
    seconds: float,
) -> dict[str, Any]:
    """Everything that a number needs beside it to be believed.

    `top1` and `top5` are the video accuracies in percent over the decoded videos;
    `*_of_listed` counts missing and broken videos as wrong; `clip_*` is the accuracy of single views.

    Args:
        missing: listed videos whose file does not exist.
        facts: where the number comes from; with the `step` of the weights, or None.
        metrics: what was logged while these weights were trained, if it is known.
        seconds: how long the test took.
    """
    decoded, failed = len(evaluation.predictions), len(evaluation.failures)
    listed = decoded + failed + len(missing)
    of_listed = {f"{k}_of_listed": v * decoded / listed if v is not None else 0.0 for k, v in evaluation.video.items()}
    return {
        **facts,
        **evaluation.video,
        **of_listed,
        **{f"clip_{key}": value for key, value in evaluation.clip.items()},
        "train_top1": train_accuracy(metrics, step=facts["step"]),
        "videos": {"listed": listed, "missing": len(missing), "failed": failed, "decoded": decoded},
        "failures": [failure._asdict() for failure in (*missing, *evaluation.failures)],
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "time": {"seconds": round(seconds, 2), "videos_per_s": round((decoded + failed) / seconds, 2)},
    }


def train_accuracy(metrics: Sequence[dict[str, float]], *, step: int | None) -> float | None:
    """Mean top-1 (%) of the training clips over the last tenth of the steps up to `step`, as logged while training."""
    if step is None:
        return None
    last = [record["top1"] for record in metrics if 0.9 * step < record["step"] <= step]
    return fmean(last) if last else None


def write_report(
    folder: Path, report: dict[str, Any], evaluation: Evaluation, *, classes: Sequence[str] | None
) -> None:
    """Writes `predictions.jsonl`, a line for each decoded video, and then `report.json`.

    A prediction says its best-scored class, by name if `classes` gives one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for prediction in evaluation.predictions:
        best = prediction.scores.index(max(prediction.scores))
        line = {**prediction._asdict(), "predicted": classes[best] if classes else best}
        lines.append(json.dumps(line) + "\n")
    with whole_file(folder / "predictions.jsonl") as file:
        file.write("".join(lines).encode())
    with whole_file(folder / "report.json") as file:
        file.write((json.dumps(report, indent=2) + "\n").encode())


def format_report(report: dict[str, Any]) -> str:
    """The report in a few lines."""
    videos, clips, views = report["videos"], report["clips"], report["views"]
    weights = report["weights"] if report["step"] is None else f"step {report['step']} of {report['steps']}"
    lines = [
        f"{report['network']} on {report['data']}, {weights}, {clips['num_clips']} clips x {views['num_crops']} crops",
        f"videos: {videos['listed']} listed, {videos['missing']} missing, {videos['failed']} failed, "
        f"{videos['decoded']} decoded",
    ]
    if "census" in report:  # Reports of older tests have none.
        lines.append(format_census(report["census"]))
    for key in ("top1", "top5"):
        if report.get(key) is not None:
            lines.append(
                f"{key}: {report[key]:.2f} of the decoded videos, {report[f'{key}_of_listed']:.2f} of the listed; "
                f"{report[f'clip_{key}']:.2f} of single clips"
            )
    lines += [f"  {failure['cause']}" for failure in report["failures"][:5]]
    if len(report["failures"]) > 5:
        lines.append(f"  ... and {len(report['failures']) - 5} more in report.json")
    return "\n".join(lines)
