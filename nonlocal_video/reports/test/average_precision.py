"""The part of a report on videos with several classes each: average precisions, and the files that hold them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from nonlocal_video.metrics.average_precision import MeanAp, map_interval, mean_ap, multi_hot
from nonlocal_video.reports.test.predictions import CLASSES, scores_and_targets
from nonlocal_video.reports.texts import classes_table, csv_text, interval, number, table, write_text
from nonlocal_video.types import Prediction

PICTURE, SUBMISSION = PICTURES = ("average_precision.png", "submission.txt")
HEADER = ["class", "name", "videos", "ap"]
SHOWN = 10
"""Classes that the report names; classes.csv has all."""


def facts(
    predictions: Sequence[Prediction], lost: Iterable[tuple[int, ...]], *, names: Sequence[str] | None
) -> dict[str, Any]:
    """The entries of report.json: `map` and `weighted_map` of the decoded videos, `*_of_listed` with the lost ones.

    The classes of each `lost` video, which has no prediction, are never found; `names` are those of the classes.
    """
    scores, targets = scores_and_targets(predictions)
    found = mean_ap(scores, targets)
    listed = mean_ap(scores, targets, lost=multi_hot(list(lost), scores.shape[1]).sum(dim=0))
    told = [
        {"class": label, "name": names[label] if names else None, "videos": int(found.positives[label]),
         "ap": float(found.classes[label])}
        for label in found.ranked
    ]  # fmt: skip
    return {
        "map": found.mean,
        "map_interval": list(map_interval(scores, targets)),
        "map_of_listed": listed.mean,
        "weighted_map": found.weighted,
        "weighted_map_of_listed": listed.weighted,
        "classes_with_videos": len(told),
        "videos_without_labels": int((~targets.any(dim=1)).sum()),
        "best_classes": told[:SHOWN],
        "worst_classes": told[::-1][:SHOWN],
    }


def write_files(
    folder: Path, report: Mapping[str, Any], predictions: Sequence[Prediction], *, classes: Sequence[str] | None
) -> None:
    """Writes classes.csv, the picture, and submission.txt as the official evaluation of Charades reads it."""
    from nonlocal_video.reports.test.pictures import precisions_figure, save  # noqa: PLC0415  # Drawing takes a second to import.

    num_classes = report["num_classes"]
    found = MeanAp(torch.full((num_classes,), torch.nan), torch.zeros(num_classes, dtype=torch.int64))
    if report["labels"]:
        found = mean_ap(*scores_and_targets(predictions))
        save(folder / PICTURE, precisions_figure(found, classes=classes))
    names, counts = classes or [""] * num_classes, found.positives.tolist()
    precisions = [number(ap) if count else "" for ap, count in zip(found.classes.tolist(), counts, strict=True)]
    rows = zip(range(num_classes), names, counts, precisions, strict=True)
    write_text(folder / CLASSES, csv_text(HEADER, rows))
    lines = (
        " ".join([prediction.video, *(f"{score:.9g}" for score in prediction.scores.tolist())])
        for prediction in predictions
    )
    write_text(folder / SUBMISSION, "".join(f"{line}\n" for line in lines))


def console_lines(report: Mapping[str, Any]) -> list[str]:
    """The average precisions in a few lines."""
    low, high = report["map_interval"]
    return [
        f"mAP: {report['map']:.2f} (95%: {low:.2f} to {high:.2f}) of the decoded videos, "
        f"{report['map_of_listed']:.2f} of the listed; weighted by the classes' videos: {report['weighted_map']:.2f}",
        f"classes that a video shows: {report['classes_with_videos']} of {report['num_classes']}; "
        f"videos without a label, which are left out: {report['videos_without_labels']}",
    ]


def page_parts(report: Mapping[str, Any]) -> list[str]:
    """The average precisions in Markdown, with the classes."""
    parts = ["## Average precision", _precisions(report), _note(report), "## Classes"]
    for words, key in (("All of them: [classes.csv](classes.csv). The best:", "best"), ("The worst:", "worst")):
        parts += [words, classes_table(report[f"{key}_classes"], key="ap", words="average precision")]
    return [*parts, f"![the average precision of every class]({PICTURE})"]


def _precisions(report: Mapping[str, Any]) -> str:
    videos = report["videos"]
    lost = videos["missing"] + videos["failed"]
    kinds = [("", f"of the {videos['decoded']} decoded videos")]
    if lost:
        kinds.append(("_of_listed", f"of all {videos['listed']} listed: the {lost} lost ones are never found"))
    rows = []
    for kind, words in kinds:
        ends = interval(report.get(f"map{kind}_interval"))
        rows.append([words, number(report[f"map{kind}"]), ends, number(report[f"weighted_map{kind}"])])
    return table(["%", "mAP", "95% interval", "weighted mAP"], rows)


def _note(report: Mapping[str, Any]) -> str:
    note = (
        f"Mean over the {report['classes_with_videos']} of {report['num_classes']} classes that a video shows; "
        f"{report['videos_without_labels']} videos without a label are left out. Weighted: with the number of each "
        "class's videos. The interval (bootstrap) is for the choice of these videos; another seed of training is "
        "another matter."
    )
    if report["train_top1"] is not None:
        hit = number(report["train_top1"])
        note += f" In training, the best-scored class was one of the clip's in {hit}% (last tenth of the steps)."
    return note
