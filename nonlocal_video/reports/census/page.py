"""The report of a census: files for programs, and a page for people."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from nonlocal_video.data.census import suspicions
from nonlocal_video.data.census.survey import Record
from nonlocal_video.data.census.usable import CENSUS, census_of, format_census, hash_listed
from nonlocal_video.data.decoders.examine import FOLDER
from nonlocal_video.reports.census.problems import Problem
from nonlocal_video.reports.versions import versions
from nonlocal_video.system.files import whole_file
from nonlocal_video.types import Entry

FORMAT = 1
SHOWN = 20
"""Names of each kind on the page; all are in the file beside it."""


def build_census(
    entries: Sequence[Entry],
    records: Sequence[Record],
    problems: Sequence[Problem],
    *,
    classes: Sequence[str] | None,
    checked: str,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """What census.json holds.

    Args:
        facts: where it comes from: `list`, `root`, `command`, `date` and what else there is.
    """
    census = census_of(entries, records, checked=checked)
    return {
        "format": FORMAT,
        **facts,
        "census": census._asdict(),
        "listed_hash": hash_listed(entries),
        "states": dict(sorted(Counter(record.finding.state for record in records).items())),
        "problems": {problem.name: len(problem.lines) for problem in problems},
        "videos": _overview([record for record in records if record.finding.group == "usable"]),
        "classes": [one._asdict() for one in suspicions.count_by_class(records, classes)],
        "broken": {
            record.video: {"bytes": record.stamp[0], "cause": record.finding.cause}
            for record in records
            if record.finding.group == "broken" and record.stamp is not None
        },
        "versions": versions(),
    }


def _overview(usable: Sequence[Record]) -> dict[str, Any]:
    """What the usable videos are like."""
    findings = [record.finding for record in usable]
    frames = sorted(finding.frames or 0 for finding in findings)
    sides = [min(f.width, f.height) for f in findings if f.width and f.height]
    rates = [finding.fps for finding in findings if finding.fps]
    return {
        "gigabytes": round(sum(finding.size_bytes or 0 for finding in findings) / 1e9, 3),
        "hours": round(sum(finding.duration_s or 0 for finding in findings) / 3600, 2),
        "frames": [frames[0], round(median(frames)), frames[-1]] if frames else None,
        "short_side": [min(sides), round(median(sides)), max(sides)] if sides else None,
        "fps": [min(rates), round(median(rates), 3), max(rates)] if rates else None,
        "formats": dict(Counter(f"{f.codec} in {f.container}" for f in findings).most_common()),
        "turned": sum(bool(finding.turned) for finding in findings),
        "misstated": sum(record.finding.container != FOLDER for record in suspicions.misstated(usable)),
    }


def write_census(folder: Path, census: dict[str, Any], problems: Sequence[Problem], report: str) -> None:
    """Writes the lists of names, the report, and at last census.json; removes lists that an earlier census left."""
    for problem in problems:
        if problem.lines:
            _write(folder / f"{problem.name}.txt", "".join(f"{line}\n" for line in problem.lines))
        else:
            (folder / f"{problem.name}.txt").unlink(missing_ok=True)
    _write(folder / "report.md", report)
    _write(folder / CENSUS, json.dumps(census, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))


def format_summary(census: dict[str, Any], problems: Sequence[Problem], folder: Path) -> str:
    """A few lines: what there is, and how much is wrong."""
    lines = [format_census(census["census"])]
    lines += [f"{len(p.lines):>8}  {p.title}: {folder / p.name}.txt" for p in problems if p.lines]
    return "\n".join(lines)


def format_page(census: dict[str, Any], problems: Sequence[Problem], folder: Path, notes: Sequence[str]) -> str:
    """The page that people read.

    Args:
        folder: where the census is, as the user calls it.
        notes: what else is to be said.
    """
    counts, states = census["census"], census["states"]
    usable = states.get("ok", 0) + states.get("opens", 0)
    looked = {
        "frames": "Every video was decoded from its first to its last frame.",
        "packets": '**Nothing was decoded (--quick)**: files were opened and their packets counted. "Usable" means '
        "that a file opens; damaged pictures were not looked for.",
    }[counts["checked"]]
    rows = [("listed", counts["listed"], ""), ("usable", usable, "good.csv" if (folder / "good.csv").exists() else "")]
    rows += [(p.title, len(p.lines), f"{p.name}.txt" if p.lines else "") for p in problems]
    parts = [
        f"# Census of {census['list']}",
        f"{census['date']}, root `{census['root']}`, {format_census(counts)}.\n\n{looked}",
        "\n".join(["| | number | file |", "|---|---:|---|", *(f"| {what} | {n} | {file} |" for what, n, file in rows)]),
        *notes,
        *(_section(problem) for problem in problems if problem.lines),
        _described(census),
        _advised(census, folder),
        f"Made with `{census['command']}`. Made again, it examines only what is new or has changed.",
    ]
    return "\n\n".join(parts) + "\n"


def _section(problem: Problem) -> str:
    shown = "\n".join("    " + line.replace("\t", "  |  ") for line in problem.lines[:SHOWN])
    more = len(problem.lines) - SHOWN
    rest = f"\n    ... and {more} more in {problem.name}.txt" if more > 0 else ""
    return f"## {problem.title}: {len(problem.lines)}\n\n{problem.advice}\n\n{shown}{rest}"


def _described(census: dict[str, Any]) -> str:
    """The usable videos and the classes."""
    videos, classes = census["videos"], census["classes"]
    lines = [f"- {videos['gigabytes']:g} GB, {videos['hours']:g} hours"]
    for key, unit in (("frames", "frames"), ("short_side", "pixels on the short side"), ("fps", "frames a second")):
        if videos[key]:
            low, middle, high = videos[key]
            lines.append(f"- {low:g} to {high:g} {unit}, median {middle:g}")
    lines += [f"- {count} x {name}" for name, count in videos["formats"].items()]
    if videos["turned"]:
        lines.append(f"- {videos['turned']} are turned or mirrored by a note in the file, which is followed")
    if videos["misstated"]:
        lines.append(f"- {videos['misstated']} hold another number of frames than they state; frames are counted")
    if classes:
        numbers = sorted(one["usable"] for one in classes)
        lines.append(
            f"- {len(classes)} classes with {numbers[0]} to {numbers[-1]} usable videos, median {median(numbers):g} "
            f"(each in {CENSUS})"
        )
    return "## The usable videos\n\n" + "\n".join(lines)


def _advised(census: dict[str, Any], folder: Path) -> str:
    return (
        "## Using it\n\nWith the list as it is, known broken videos are taken out before the first step, and "
        "checkpoints and reports name this census:\n\n"
        f"    python tools/train.py ... data.train={census['list']} data.train_census={folder}\n"
        f"    python tools/test.py ... data.val={census['list']} data.val_census={folder}\n\n"
        "Or train on good.csv, which lists only usable videos: then the missing and broken ones are not listed, and no "
        "number counts them."
    )
