"""The part of a report on videos with one class each: accuracies, and the files that hold them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from nonlocal_video.metrics import classes as by_class
from nonlocal_video.metrics.intervals import wilson_interval
from nonlocal_video.reports.test.predictions import label_ranks_of, write_classes
from nonlocal_video.reports.test.published import compare_published
from nonlocal_video.reports.texts import class_name, classes_table, interval, number, table
from nonlocal_video.types import Prediction

CONFUSIONS, CLIPS = PICTURES = ("confusion.png", "clips.png")
SHOWN = 10
"""Classes and pairs of classes that the report names; classes.csv has all."""


def facts(
    predictions: Sequence[Prediction], *, listed: int, num_classes: int, names: Sequence[str] | None
) -> dict[str, Any]:
    """The entries of report.json: `top1`, `clip_top1` and their like, in percent, as `build_report` says.

    Videos that could not be scored are `listed`, too; `names` are those of the classes.
    """
    ranks, ks = label_ranks_of(predictions), (1, 5) if num_classes > 5 else (1,)
    found: dict[str, Any] = {}
    for k in ks:
        correct = int((ranks < k).sum())
        for key, total in ((f"top{k}", len(predictions)), (f"top{k}_of_listed", listed)):
            found |= {key: 100 * correct / total, f"{key}_interval": list(wilson_interval(correct, total))}
    if predictions[0].clip_ranks:  # An ensemble has no clips of its own.
        clips = torch.tensor([prediction.clip_ranks for prediction in predictions])  # (N, V')
        running = torch.tensor([prediction.running_ranks for prediction in predictions])
        found |= _percents("clip_top{}", clips, ks) | _percents("first_clip_top{}", clips[:, 0], ks)
        found["after_clips"] = [
            {"clips": count, **_percents("top{}", column, ks)} for count, column in enumerate(running.unbind(1), 1)
        ]
    confusions = confusions_of(predictions, num_classes)
    return {**found, "only_class": _only_class(confusions, names), **_class_facts(confusions, names)}


def _percents(pattern: str, ranks: Tensor, ks: Sequence[int]) -> dict[str, float]:
    return {pattern.format(k): 100 * int((ranks < k).sum()) / ranks.numel() for k in ks}


def _only_class(confusions: Tensor, names: Sequence[str] | None) -> dict[str, Any] | None:
    """The class that all videos of several classes (rows of (K, K) counts) are taken for; None if there are more."""
    taken = confusions.sum(dim=0).nonzero()[:, 0].tolist()
    if len(taken) != 1 or int((confusions.sum(dim=1) > 0).sum()) < 2:
        return None
    return {"class": taken[0], "name": names[taken[0]] if names else None}


def confusions_of(predictions: Sequence[Prediction], num_classes: int) -> Tensor:
    """How many videos of each class (row) are taken for each (column), (K, K); zeros without labels."""
    labelled = [prediction for prediction in predictions if prediction.label is not None]
    labels = torch.tensor([prediction.label for prediction in labelled], dtype=torch.int64)
    best = torch.tensor([int(prediction.scores.argmax()) for prediction in labelled], dtype=torch.int64)
    return by_class.count_confusions(labels, best, num_classes)


def _class_facts(confusions: Tensor, names: Sequence[str] | None) -> dict[str, Any]:
    named: Sequence[str | None] = names or [None] * len(confusions)
    results = by_class.class_results(confusions)
    return {
        "mean_class_top1": fmean(result.top1 for result in results if result.top1 is not None),
        "worst_classes": [
            {"class": label, "name": named[label], "videos": videos, "top1": top1}
            for label, videos, top1, *_ in by_class.worst_classes(results, SHOWN)
        ],
        "most_confused": [
            {"class": label, "predicted": other, "names": [named[label], named[other]], "videos": videos,
             "share": share}
            for label, other, videos, share in by_class.most_confused(confusions, SHOWN)
        ],
    }  # fmt: skip


def write_files(
    folder: Path, report: Mapping[str, Any], predictions: Sequence[Prediction], *, classes: Sequence[str] | None
) -> None:
    """Writes classes.csv and the pictures."""
    from nonlocal_video.reports.test.pictures import clips_figure, confusions_figure, save  # noqa: PLC0415  # Drawing takes a second to import.

    confusions = confusions_of(predictions, report["num_classes"])
    write_classes(folder, by_class.class_results(confusions), classes=classes)
    if report["labels"]:
        save(folder / CONFUSIONS, confusions_figure(confusions, classes=classes))
    if len(report.get("after_clips", ())) > 1:
        save(folder / CLIPS, clips_figure(report["after_clips"], num_videos=report["videos"]["decoded"]))


def console_lines(report: Mapping[str, Any]) -> list[str]:
    """The accuracies in a few lines."""
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
    return [*lines, *one_class_words(report), *compare_published(report)]


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


def page_parts(report: Mapping[str, Any]) -> list[str]:
    """The accuracies in Markdown, with the clips and the classes."""
    only = [f"**{words[0].upper()}{words[1:]}.**" for words in one_class_words(report)]
    note = "The intervals (Wilson's) are for the choice of these videos; another seed of training is another matter."
    parts = ["## Accuracy", *only, *compare_published(report), _accuracies(report), note]
    rows = report.get("after_clips", ())
    if len(rows) > 1:
        header = ["clips", *(str(row["clips"]) for row in rows)]
        keys = [key for key in ("top1", "top5") if key in rows[0]]
        reached = [[f"top-{key[-1]}", *(number(row[key]) for row in rows)] for key in keys]
        parts += ["## After the first clips", table(header, reached), f"![accuracy after the first clips]({CLIPS})"]
    parts += ["## Classes", "All of them: [classes.csv](classes.csv). The worst:"]
    parts.append(classes_table(report["worst_classes"], key="top1", words="top-1"))
    confused = []
    for pair in report["most_confused"]:
        names = map(class_name, (pair["class"], pair["predicted"]), pair["names"])
        confused.append([*names, str(pair["videos"]), number(pair["share"])])
    if confused:
        header = ["class", "taken for", "videos", "% of the class"]
        parts += ["Most often taken for another:", table(header, confused)]
    return [*parts, f"![which classes are taken for which]({CONFUSIONS})"]


def _accuracies(report: Mapping[str, Any]) -> str:
    """Video, clip and first-clip accuracy side by side, and the missing counted both ways."""
    videos, keys = report["videos"], [key for key in ("top1", "top5") if key in report]
    lost = videos["missing"] + videos["failed"]
    kinds = [
        ("{}", f"video, of the {videos['decoded']} decoded"),
        ("{}_of_listed", f"video, of all {videos['listed']} listed: the {lost} lost ones are wrong" if lost else ""),
        ("first_clip_{}", "the first clip alone"),
        ("clip_{}", "single clips"),
        ("mean_class_{}", "mean of classes"),
        ("train_{}", "training clips, last tenth of the steps"),
    ]
    rows = []
    for pattern, words in kinds:
        cells = [words]
        for key in (pattern.format(key) for key in keys):
            cells += [number(report.get(key)), interval(report.get(f"{key}_interval"))]
        if words and any(cells[1:]):
            rows.append(cells)
    return table(["%", *(cell for key in keys for cell in (f"top-{key[-1]}", "95% interval"))], rows)
