"""The report of a detector's test: its numbers, the results in COCO's format, and the page that people read."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from nonlocal_video.data.coco.annotations import Picture
from nonlocal_video.metrics.detection import STATS, Precision, check_results, coco_precision
from nonlocal_video.reports.test.pictures import save
from nonlocal_video.reports.test.predictions import REPORT
from nonlocal_video.reports.test.worst import draw_worst, page_parts
from nonlocal_video.reports.texts import number, table, write_text
from nonlocal_video.reports.versions import versions
from nonlocal_video.types import Failure

RESULTS = "results.json"
CURVES = "precision_recall.png"
SHOWN = 20
"""Failures on the page; report.json has all."""


def write_report(
    folder: Path,
    annotations: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    pictures: Iterable[Picture],
    categories: Mapping[int, str],
    measured: Sequence[str],
    failures: Sequence[Failure],
    facts: Mapping[str, Any],
    tested: int,
) -> str:
    """Evaluates results in COCO's format; writes them, the pictures, report.md, and at last report.json.

    The numbers are percents of all listed images: one that failed has no detections. Returns the report in a few lines.

    Args:
        annotations: the content of the file of annotations.
        pictures: the images, of which the worst are drawn if they can be read.
        categories: names by ids.
        measured: box, mask or keypoint.
        facts: where the results come from.
        tested: images that were tested.

    Raises:
        ValueError: results of other images or categories, or that are not finite.
    """
    image_ids = [image["id"] for image in annotations["images"]]
    check_results(results, annotations, measured=measured)
    precisions = {of: coco_precision(annotations, results, of=of) for of in measured}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT).unlink(missing_ok=True)  # That of an earlier test.
    write_text(folder / RESULTS, json.dumps(list(results)) + "\n")
    save(folder / CURVES, _curves(precisions))
    counts = {"listed": len(image_ids), "failed": len(failures), "tested": tested, "detections": len(results)}
    worst = draw_worst(
        folder, precisions[measured[0]].images, pictures, objects=annotations["annotations"], results=results,
        names=categories, measured=measured,
    )  # fmt: skip
    report = {
        **facts,
        **_numbers(precisions, categories),
        "measured": list(measured),
        "images": counts,
        "failures": [failure._asdict() for failure in failures],
        "versions": versions(),
        "worst": worst,
    }
    write_text(folder / "report.md", format_page(report))
    write_text(folder / REPORT, json.dumps(report, indent=2) + "\n")
    return f"{format_report(report)}\nreport: {folder}/report.md, report.json, {RESULTS}"


def _numbers(precisions: Mapping[str, Precision], categories: Mapping[int, str]) -> dict[str, Any]:
    """`box_AP` and its like of all classes, and `classes` with those of each."""
    of_all = {f"{of}_{name}": value for of, found in precisions.items() for name, value in found.numbers.items()}
    classes = [
        {"category_id": number, "name": name, **{f"{of}_AP": one.classes.get(number) for of, one in precisions.items()}}
        for number, name in categories.items()
    ]
    return {**of_all, "classes": classes}


def format_report(report: Mapping[str, Any]) -> str:
    """The report in a few lines."""
    images = report["images"]
    counts = ", ".join(f"{images[key]} {key}" for key in ("listed", "failed", "tested"))
    lines = [f"{report['network']} on {report['data']}", f"images: {counts}, {images['detections']} detections"]
    lines += [_line(report, of) for of in report["measured"]]
    lines += [f"  {failure['cause']}" for failure in report["failures"][:5]]
    if len(report["failures"]) > 5:
        lines.append(f"  ... and {len(report['failures']) - 5} more in report.json")
    return "\n".join(lines)


def _line(report: Mapping[str, Any], of: str) -> str:
    known = [name for name in STATS[of] if f"{of}_{name}" in report]
    return f"{of}: " + ", ".join(f"{name} {report[f'{of}_{name}']:.1f}" for name in known)


def format_page(report: Mapping[str, Any]) -> str:
    """The whole page, in Markdown; its picture lies beside it."""
    measured = report["measured"]
    names = list(dict.fromkeys(name for of in measured for name in STATS[of]))
    rows = [[of, *(number(report.get(f"{of}_{name}")) for name in names)] for of in measured]
    classes = [[one["name"], *(number(one[f"{of}_AP"]) for of in measured)] for one in report["classes"]]
    parts = [
        f"# {report['network']} on {report['data']}",
        f"{format_report(report).splitlines()[1]}; weights: {report.get('weights', 'those of the results file')}",
        table(["", *names], rows),
        f"![Precision and recall at an overlap of 0.5]({CURVES})",
        "## Each category",
        table(["category", *(f"{of} AP" for of in measured)], classes),
    ]
    parts += page_parts(report["worst"], of=measured[0])
    if report["failures"]:
        told = [f"- {failure['cause']}" for failure in report["failures"][:SHOWN]]
        parts += ["## Images that could not be tested", "\n".join(told)]
    return "\n\n".join(parts) + "\n"


def _curves(precisions: Mapping[str, Precision]) -> Figure:
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot()
    for of, found in precisions.items():
        axes.plot(range(101), found.curve, label=f"{of}: AP50 {found.numbers.get('AP50', 0.0):.1f}")
    axes.set(xlabel="recall (%)", ylabel="precision (%)", xlim=(0, 100), ylim=(0, 105))
    axes.set_title("Mean over the categories, at an overlap of 0.5")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
