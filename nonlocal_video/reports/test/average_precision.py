"""What a report says of videos with several classes each: average precisions, and the files that hold them."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from nonlocal_video.metrics.average_precision import MeanAp, map_interval, mean_ap, multi_hot
from nonlocal_video.reports.test.pictures import draw_precisions
from nonlocal_video.reports.test.predictions import CLASSES, scores_and_targets
from nonlocal_video.reports.texts import class_name, interval, number, table
from nonlocal_video.system.files import whole_file
from nonlocal_video.types import Prediction

PICTURE, SUBMISSION = PICTURES = ("average_precision.png", "submission.txt")
HEADER = ["class", "name", "videos", "ap"]
SHOWN = 10
"""Classes that the report names; classes.csv has all."""


def precision_facts(
    predictions: Sequence[Prediction], lost: Iterable[tuple[int, ...]], *, names: Sequence[str] | None
) -> dict[str, Any]:
    """What report.json has: `map` and `weighted_map` of the decoded videos, `*_of_listed` with the lost ones.

    Args:
        lost: the classes of each video without a prediction, which are never found.
        names: of the classes.
    """
    scores, targets = scores_and_targets(predictions)
    found = mean_ap(scores, targets)
    listed = mean_ap(scores, targets, lost=multi_hot(list(lost), scores.shape[1]).sum(dim=0))
    ranked = found.ranked

    def told(labels: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {"class": label, "name": names[label] if names else None, "videos": int(found.positives[label]),
             "ap": float(found.classes[label])}
            for label in labels
        ]  # fmt: skip

    return {
        "map": found.mean,
        "map_interval": list(map_interval(scores, targets)),
        "map_of_listed": listed.mean,
        "weighted_map": found.weighted,
        "weighted_map_of_listed": listed.weighted,
        "classes_with_videos": len(ranked),
        "videos_without_labels": int((~targets.any(dim=1)).sum()),
        "best_classes": told(ranked[:SHOWN]),
        "worst_classes": told(ranked[::-1][:SHOWN]),
    }


def write_precision_files(
    folder: Path, report: Mapping[str, Any], predictions: Sequence[Prediction], *, classes: Sequence[str] | None
) -> None:
    """classes.csv, the picture and submission.txt.

    Args:
        classes: their names.
    """
    num_classes = report["num_classes"]
    found = MeanAp(torch.full((num_classes,), torch.nan), torch.zeros(num_classes, dtype=torch.int64))
    if report["labels"]:
        found = mean_ap(*scores_and_targets(predictions))
        draw_precisions(folder / PICTURE, found, classes=classes)
    write_class_precisions(folder / CLASSES, found, classes=classes)
    write_submission(folder / SUBMISSION, predictions)


def write_class_precisions(path: Path, found: MeanAp, *, classes: Sequence[str] | None) -> None:
    """A line for each class, with or without videos."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for label, (precision, videos) in enumerate(zip(found.classes.tolist(), found.positives.tolist(), strict=True)):
        name = classes[label] if classes else ""
        writer.writerow([label, name, videos, f"{precision:.2f}" if videos else ""])
    with whole_file(path) as file:
        file.write(text.getvalue().encode())


def write_submission(path: Path, predictions: Sequence[Prediction]) -> None:
    """A line `ID s_0 ... s_156` for each video, as the official evaluation of Charades reads."""
    with whole_file(path) as file:
        for prediction in predictions:
            scores = " ".join(f"{score:.9g}" for score in prediction.scores.tolist())
            file.write(f"{prediction.video} {scores}\n".encode("utf-8", "surrogateescape"))


def format_precisions(report: Mapping[str, Any]) -> list[str]:
    """In a few lines."""
    low, high = report["map_interval"]
    return [
        f"mAP: {report['map']:.2f} (95%: {low:.2f} to {high:.2f}) of the decoded videos, "
        f"{report['map_of_listed']:.2f} of the listed; weighted by the classes' videos: {report['weighted_map']:.2f}",
        f"classes that a video shows: {report['classes_with_videos']} of {report['num_classes']}; "
        f"videos without a label, which are left out: {report['videos_without_labels']}",
    ]


def precision_page(report: Mapping[str, Any]) -> list[str]:
    """The same in Markdown, with the classes."""
    videos = report["videos"]
    lost = videos["missing"] + videos["failed"]
    rows = [
        [f"of the {videos['decoded']} decoded videos", number(report["map"]), interval(report["map_interval"]),
         number(report["weighted_map"])]
    ]  # fmt: skip
    if lost:
        words = f"of all {videos['listed']} listed: the {lost} lost ones are never found"
        rows.append([words, number(report["map_of_listed"]), "", number(report["weighted_map_of_listed"])])
    note = (
        f"Mean over the {report['classes_with_videos']} of {report['num_classes']} classes that a video shows; "
        f"{report['videos_without_labels']} videos without a label are left out. Weighted: with the number of each "
        "class's videos. The interval (bootstrap) is for the choice of these videos; another seed of training is "
        "another matter."
    )
    if report["train_top1"] is not None:
        hit = number(report["train_top1"])
        note += f" In training, the best-scored class was one of the clip's in {hit}% (last tenth of the steps)."
    parts = ["## Average precision", table(["%", "mAP", "95% interval", "weighted mAP"], rows), note]
    parts += [
        "## Classes",
        "All of them: [classes.csv](classes.csv). The best:",
        _classes_table(report["best_classes"]),
    ]
    parts += ["The worst:", _classes_table(report["worst_classes"])]
    return [*parts, f"![the average precision of every class]({PICTURE})"]


def _classes_table(classes: Sequence[Mapping[str, Any]]) -> str:
    rows = [[class_name(one["class"], one["name"]), str(one["videos"]), number(one["ap"])] for one in classes]
    return table(["class", "videos", "average precision"], rows)
