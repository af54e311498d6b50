"""What a report says of videos with one class each: accuracies, and the files that hold them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from nonlocal_video.metrics import classes as by_class
from nonlocal_video.metrics.intervals import wilson_interval
from nonlocal_video.reports.test.pictures import draw_clips, draw_confusions
from nonlocal_video.reports.test.predictions import label_ranks_of, write_classes
from nonlocal_video.reports.test.published import compare_published
from nonlocal_video.reports.texts import class_name, interval, number, table
from nonlocal_video.types import Prediction

CONFUSIONS, CLIPS = PICTURES = ("confusion.png", "clips.png")
SHOWN = 10
"""Classes and pairs of classes that the report names; classes.csv has all."""


def accuracy_facts(
    predictions: Sequence[Prediction], *, listed: int, num_classes: int, names: Sequence[str] | None
) -> dict[str, Any]:
    """What report.json has: `top1`, `clip_top1` and their like, in percent, as `build_report` says.

    Args:
        listed: videos, those that could not be scored too.
        names: of the classes.
    """
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
    confusions = count_confusions(predictions, num_classes)
    return {**accuracies, "only_class": only_class(confusions, names), **_class_accuracies(confusions, names)}


def only_class(confusions: Tensor, names: Sequence[str] | None) -> dict[str, Any] | None:
    """The class that all videos of several classes (rows of (K, K) counts) are taken for; None if there are more."""
    taken = confusions.sum(dim=0).nonzero()[:, 0].tolist()
    if len(taken) != 1 or int((confusions.sum(dim=1) > 0).sum()) < 2:
        return None
    return {"class": taken[0], "name": names[taken[0]] if names else None}


def one_class_words(report: Mapping[str, Any]) -> list[str]:
    """A sentence if all videos were taken for one class, which a number such as 50% does not tell."""
    only = report.get("only_class")
    if only is None:
        return []
    videos, name = report["videos"]["decoded"], class_name(only["class"], only["name"])
    return [
        f'every one of the {videos} videos is taken for the class "{name}": the network does not tell them apart, and '
        "the accuracy is this class's share of the videos"
    ]


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


def write_accuracy_files(
    folder: Path, report: Mapping[str, Any], predictions: Sequence[Prediction], *, classes: Sequence[str] | None
) -> None:
    """classes.csv and the pictures.

    Args:
        classes: their names.
    """
    confusions = count_confusions(predictions, report["num_classes"])
    write_classes(folder, by_class.class_results(confusions), classes=classes)
    if report["labels"]:
        draw_confusions(folder / CONFUSIONS, confusions, classes=classes)
    if len(report.get("after_clips", ())) > 1:
        draw_clips(folder / CLIPS, report["after_clips"], num_videos=report["videos"]["decoded"])


def format_accuracies(report: Mapping[str, Any]) -> list[str]:
    """In a few lines."""
    lines = []
    for key in (key for key in ("top1", "top5") if key in report):
        low, high = report[f"{key}_interval"]
        line = (
            f"{key}: {report[key]:.2f} (95%: {low:.2f} to {high:.2f}) of the decoded videos, "
            f"{report[f'{key}_of_listed']:.2f} of the listed"
        )
        if f"clip_{key}" in report:
            clips, first = report[f"clip_{key}"], report[f"first_clip_{key}"]
            line += f"; {clips:.2f} of single clips, {first:.2f} of first ones"
        lines.append(line)
    lines.append(f"mean of the classes: {report['mean_class_top1']:.2f}")
    return [*lines, *one_class_words(report), *compare_published(dict(report))]


def accuracy_page(report: Mapping[str, Any]) -> list[str]:
    """The same in Markdown, with the clips and the classes."""
    clips = _clips(report) if len(report.get("after_clips", ())) > 1 else []
    return [*_accuracies(report), *clips, *_classes(report)]


def _accuracies(report: Mapping[str, Any]) -> list[str]:
    """Video, clip and first-clip accuracy side by side, and the missing counted both ways."""
    videos, keys = report["videos"], [key for key in ("top1", "top5") if key in report]
    lost = videos["missing"] + videos["failed"]
    kinds = [("{}", f"video, of the {videos['decoded']} decoded")]
    if lost:
        kinds.append(("{}_of_listed", f"video, of all {videos['listed']} listed: the {lost} lost ones are wrong"))
    kinds += [
        ("first_clip_{}", "the first clip alone"),
        ("clip_{}", "single clips"),
        ("mean_class_{}", "mean of classes"),
    ]
    rows = []
    for pattern, words in kinds:
        cells = [words]
        for key in (pattern.format(key) for key in keys):
            cells += [number(report.get(key)), interval(report.get(f"{key}_interval"))]
        if any(cells[1:]):
            rows.append(cells)
    if report["train_top1"] is not None:
        rows.append(
            ["training clips, last tenth of the steps", number(report["train_top1"]), *[""] * (2 * len(keys) - 1)]
        )
    header = ["%", *(cell for key in keys for cell in (f"top-{key[-1]}", "95% interval"))]
    note = "The intervals (Wilson's) are for the choice of these videos; another seed of training is another matter."
    only = [f"**{words[0].upper()}{words[1:]}.**" for words in one_class_words(report)]
    return ["## Accuracy", *only, *compare_published(dict(report)), table(header, rows), note]


def _clips(report: Mapping[str, Any]) -> list[str]:
    rows = report["after_clips"]
    keys = [key for key in ("top1", "top5") if key in rows[0]]
    header = ["clips", *(str(row["clips"]) for row in rows)]
    reached = table(header, [[f"top-{key[-1]}", *(number(row[key]) for row in rows)] for key in keys])
    return ["## After the first clips", reached, f"![accuracy after the first clips]({CLIPS})"]


def _classes(report: Mapping[str, Any]) -> list[str]:
    worst = [
        [class_name(one["class"], one["name"]), str(one["videos"]), number(one["top1"])]
        for one in report["worst_classes"]
    ]
    confused = [
        [class_name(pair["class"], pair["names"][0]), class_name(pair["predicted"], pair["names"][1]),
         str(pair["videos"]), number(pair["share"])]
        for pair in report["most_confused"]
    ]  # fmt: skip
    parts = ["## Classes", "All of them: [classes.csv](classes.csv). The worst:"]
    parts.append(table(["class", "videos", "top-1"], worst))
    if confused:
        header = ["class", "taken for", "videos", "% of the class"]
        parts += ["Most often taken for another:", table(header, confused)]
    return [*parts, f"![which classes are taken for which]({CONFUSIONS})"]
