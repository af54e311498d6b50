"""Published accuracies: the table of all, and the comparison with a measured one."""

from collections.abc import Mapping, Sequence
from typing import Any

from nonlocal_video.models.weights.published import Published
from nonlocal_video.reports.texts import table

LISTED = {"caffe2": 19_761, "mmaction2": 19_796}
"""The validation videos of Kinetics-400 that a format's code base tested on (DATASET.md; configs/recognition/i3d)."""


def published_table(models: Sequence[Published]) -> str:
    """Markdown: a row for each model, then what is to be known of some."""
    rows, notes = [], dict[str, list[str]]()
    for model in models:
        accuracy = " / ".join(accuracies(model.top1, model.top5))
        changes = {key: value for key, value in model.protocol.items() if key != "name"}
        network, protocol = _settings(model.network, model.options), _settings(model.protocol["name"], changes)
        rows.append([f"`{model.name}`", f"[{model.file}]({model.url})", network, protocol, accuracy])
        if model.note:
            notes.setdefault(model.note, []).append(f"`{model.name}`")
    header = ["name", "file", "network", "protocol", "top-1 / top-5"]
    said = [f"- {', '.join(names)}: {note}." for note, names in notes.items()]
    return "\n".join([table(header, rows, texts=range(5)), "", *said])


def compare_published(report: Mapping[str, Any]) -> list[str]:
    """The lines of a test's report that set its accuracy beside the published one; none if nothing is published.

    Accuracies are in percent of the decoded videos. Numbers of another data set or protocol are not compared.
    `published` in the report has the fields of `Published`, its protocol resolved.
    """
    published = report.get("published")
    if not published:
        return []
    theirs = accuracies(published["top1"], published["top5"])
    stated = f"published {' / '.join(theirs)} ({published['protocol']['name']})"
    reasons = _differences(report, published)
    if reasons:
        return [f"{stated} on {published['data']}; not compared: {', '.join(reasons)}"]
    places = len(theirs[0].rpartition(".")[2])
    top1, top5, (low, high) = report["top1"], report["top5"], report["top1_interval"]
    ours = f"{top1:.{places}f} [{low:.{places}f}, {high:.{places}f}] / {top5:.{places}f}"
    gaps = f"{top1 - published['top1']:+.{places}f} / {top5 - published['top5']:+.{places}f}"
    listed, decoded = report["videos"]["listed"], report["videos"]["decoded"]
    lines = [f"{stated}, measured {ours} of the {decoded:,} decoded videos, difference {gaps}"]
    tested_on = LISTED.get(published["format"], listed)
    if listed != tested_on:
        lines.append(f"published on {tested_on:,} videos, this list has {listed:,}")
    return lines + ([f"of the published test: {published['note']}"] if published["note"] else [])


def _differences(report: Mapping[str, Any], published: Mapping[str, Any]) -> list[str]:
    """Why the numbers of a report do not compare with the published ones."""
    if report["top1"] is None:
        return ["nothing was measured"]
    reasons = [] if report["data"] == published["data"] else [f"the data set is {report['data']}"]
    ours, theirs = report["protocol"], published["protocol"]
    if ours["name"] != theirs["name"]:
        return [*reasons, f"the protocol is {ours['name']}"]
    changed = [f"protocol.{key} is {ours[key]}, not {value}" for key, value in theirs.items() if ours[key] != value]
    return reasons + changed


def accuracies(top1: float, top5: float) -> list[str]:
    """Published accuracies in words, with as many decimals as they were published with: one, or two."""
    places = 1 if all(round(value, 1) == value for value in (top1, top5)) else 2
    return [f"{value:.{places}f}" for value in (top1, top5)]


def _settings(name: str, changes: dict[str, Any]) -> str:
    """A name and the settings that differ from it, as on a command line."""
    words = {key: str(value).lower() if isinstance(value, bool) else value for key, value in changes.items()}
    return " ".join([name, *(f"{key}={word}" for key, word in words.items())])
