"""What tests measure: which numbers of a report a table can have, and the words for what they are of."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

NUMBER = re.compile("top[0-9]|map|_A[PR]")
"""What the names of these numbers have in report.json: top1, clip_map, box_AP50."""


class Measure(NamedTuple):
    """The words of tables and plots for one kind of tests."""

    title: str
    things: str
    """What is tested."""
    seen: str
    """What a network sees at once, whose cost is counted, with its article."""
    validation: str
    """What validations while training are."""
    note: str
    size: str
    """The field of `Cost` that is shown as parameters."""
    counts: tuple[str, str]
    """What is said of the things listed for testing (a report's counts), and of those for training (a census)."""
    counts_note: str
    validated: Mapping[str, str]
    """Keys of validation.jsonl, with words for their values."""
    logged: Mapping[str, str]
    """The same of metrics.jsonl."""
    of_class: str
    """What a gain of one class is in."""


LABEL = Measure(
    title="Accuracy", things="videos", seen="a clip", size="weights",
    note="Percent of all listed videos, a missing or broken one counts as not recognised; mean ± standard deviation "
    "over the seeds. Parameters are weights of convolutions and fc, FLOPs multiply-adds of a clip, as in the paper",
    counts=("{listed} / {missing} / {failed}", "{listed} / {missing} / {broken}"),
    counts_note="Videos: listed / missing / broken.",
    validation="Single-clip validation over the steps", validated={"clip_top1": "single-clip top-1 (%)"},
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
    note="Percent, over all listed images, in a missing or broken one nothing is found; mean ± standard deviation over "
    "the seeds. FLOPs are multiply-adds of an image of the largest size, with all proposals and detections",
    counts=("{listed} / {failed}", "{listed} / {missing} / {without_objects}"),
    counts_note="Images to test on: listed / missing or broken; to train on: listed / missing / without objects.",
    validation="Validation over the steps",
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


def shared_metrics(reports: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those that all of these tests have, or else those of the first one."""
    first, *others = map(main_metrics, reports)
    return [metric for metric in first if all(metric in other for other in others)] or first


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
