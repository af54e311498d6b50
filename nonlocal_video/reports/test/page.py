"""The report of a test as a page that people read, and the sentences that it shares with the console."""

from collections.abc import Mapping
from typing import Any

from nonlocal_video.data.census.usable import format_census
from nonlocal_video.reports.test import accuracy, average_precision
from nonlocal_video.reports.texts import table

UNLABELLED = "the list has no labels: predictions only, no accuracies"
SHOWN = 20
"""Failures on the page; report.json has all."""

SOURCES = {
    "run": "run",
    "seed": "seed",
    "weights_hash": "hash of the weights",
    "config_hash": "hash of the settings",
    "recipe_hash": "hash of the recipe",
    "batch_norm": "batch normalisation",
    "precision": "precision",
    "processes": "processes",
    "chunk": "views at a time",
}
"""Facts that the page shows as they are, with their names there."""


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
    """Where the number comes from: what there is of it, since an ensemble has only what its members share."""
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
