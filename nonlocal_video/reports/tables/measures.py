"""Measures of tests: which numbers of a report a table can have, and the words for what they are of."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

NUMBER = re.compile("top[0-9]|map|_A[PR]")
"""A pattern for the names of measured numbers in report.json: top1, clip_map, box_AP50."""


class Measure(NamedTuple):
    """The words of tables and plots for one kind of tests."""

    title: str
    things: str
    """The plural of the tested items, videos or images."""
    seen: str
    """The input of one pass through a network, whose cost is counted, with its article."""
    note: str
    size: str
    """The field of `Cost` that is shown as parameters."""
    counts: tuple[str, str]
    """Formats of the counts of a report (items listed for testing) and of a census (items listed for training)."""
    counts_note: str
    validated: Mapping[str, str]
    """Keys of validation.jsonl, with words for their values."""
    logged: Mapping[str, str]
    """Keys of metrics.jsonl, with words for their values."""
    of_class: str
    """The unit of a gain of one class."""


LABEL = Measure(
    title="Accuracy", things="videos", seen="a clip", size="weights",
    note="Percent of all listed videos, a missing or broken one counts as not recognised; mean ± standard deviation "
    "over the seeds. Parameters are weights of convolutions and fc, FLOPs multiply-adds of a clip, as in the paper",
    counts=("{listed} / {missing} / {failed}", "{listed} / {missing} / {broken}"),
    counts_note="Videos: listed / missing / broken.",
    validated={"clip_top1": "single-clip top-1 (%)"},
    logged={"top1": "training top-1 (%)", "loss": "training loss"},
    of_class="top-1 (percent of the class's videos)",
)  # fmt: skip
LABELS = LABEL._replace(
    validated={"clip_map": "single-clip mAP (%)"},
    logged={"top1": "training hit@1 (%)", "loss": "training loss"},
    of_class="average precision (%)",
)
OBJECTS = Measure(
    title="Average precision", things="images", seen="an image", size="parameters",
    note="Percent over all listed images, a missing or broken one counts as nothing found; mean ± standard deviation "
    "over the seeds. FLOPs are multiply-adds of an image of the largest size, with all proposals and detections",
    counts=("{listed} / {failed}", "{listed} / {missing} / {without_objects}"),
    counts_note="Images to test on: listed / missing or broken; to train on: listed / missing / without objects.",
    validated={f"{of}_AP": f"{of} AP (%)" for of in ("box", "mask", "keypoint")},
    logged={"loss": "training loss"},
    of_class="AP (%), of masks or keypoints where these are measured",
)  # fmt: skip


def measure_of_report(report: Mapping[str, Any]) -> Measure:
    """The measure of a test."""
    if "measured" in report:
        return OBJECTS
    return LABELS if report.get("multi_label") else LABEL


def measure_of(metric: str) -> Measure:
    """The measure of a number, as far as tables need it: they do not tell one label from several."""
    return OBJECTS if re.search("_A[PR]", metric) else LABEL


def main_metrics(report: Mapping[str, Any]) -> list[str]:
    """The numbers of a test that a table has unless others are asked for; the first one is the most important."""
    if "measured" in report:
        return [f"{of}_AP" for of in reversed(report["measured"])]
    return ["map" if report.get("multi_label") else "top1"]


def title_of(metric: str, *, column: str = "") -> str:
    """first_clip_top1 -> first clip top-1, weighted_map -> weighted mAP, box_AP50 -> box AP50; after a column."""
    before = f"{column}: " if column else ""
    if measure_of(metric) is OBJECTS:
        return f"{before}{metric.replace('_', ' ')}"
    if metric.endswith("map"):
        return f"{before}{metric.removesuffix('map').replace('_', ' ')}mAP"
    kind, _, k = metric.rpartition("top")
    words = {"train_": "training ", "mean_class_": "mean of classes "}.get(kind, kind.replace("_", " "))
    return f"{before}{words}top-{k.replace('_', ' ')}"
