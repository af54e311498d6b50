"""The report of a census: files for programs, and a page for people."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from statistics import median
from typing import Any

from nonlocal_video.data.census import suspicions
from nonlocal_video.data.census.survey import Record
from nonlocal_video.data.census.usable import CENSUS, census_of, format_census, hash_listed
from nonlocal_video.data.decoders.examine import FOLDER
from nonlocal_video.reports.census.problems import Problem
from nonlocal_video.reports.texts import table, write_text
from nonlocal_video.reports.versions import versions
from nonlocal_video.types import Entry

SHOWN = 20
"""Names of each kind on the page; all are in the file beside it."""
LOOKED = {
    "frames": "Every video was decoded from its first to its last frame.",
    "packets": '**Nothing was decoded (--quick)**: files were opened and their packets counted. "Usable" means that a '
    "file opens; damaged pictures were not looked for.",
}
ADVICE = """With the list as it is, known broken videos are taken out before the first step, and checkpoints and \
reports name this census:

    python tools/train.py ... data.train={list} data.train_census={folder}
    python tools/test.py ... data.val={list} data.val_census={folder}

Or train on good.csv, which lists only usable videos: then the missing and broken ones are not listed, and no number \
counts them."""


def build_census(
    entries: Sequence[Entry],
    records: Sequence[Record],
    problems: Sequence[Problem],
    *,
    classes: Sequence[str] | None,
    checked: str,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """The contents of census.json; `facts` say where it comes from: `list`, `root`, `command`, `date` and more."""
    return {
        "format": 1,
        **facts,
        "census": census_of(entries, records, checked=checked)._asdict(),
        "listed_hash": hash_listed(entries),
        "states": dict(sorted(Counter(record.finding.state for record in records).items())),
        "problems": {problem.name: len(problem.lines) for problem in problems},
        "videos": overview([record for record in records if record.finding.group == "usable"]),
        "classes": [counts._asdict() for counts in suspicions.count_by_class(records, classes)],
        "broken": {
            record.video: {"bytes": record.stamp[0], "cause": record.finding.cause}
            for record in records
            if record.finding.group == "broken" and record.stamp is not None
        },
        "versions": versions(),
    }


def overview(usable: Sequence[Record]) -> dict[str, Any]:
    """The properties of the usable videos or images; of some the lowest, the median and the highest."""
    findings = [record.finding for record in usable]

    def middle(values: Sequence[float], digits: int | None = None) -> list[float] | None:
        return [min(values), round(median(values), digits), max(values)] if values else None

    return {
        "gigabytes": round(sum(finding.size_bytes or 0 for finding in findings) / 1e9, 3),
        "hours": round(sum(finding.duration_s or 0 for finding in findings) / 3600, 2),
        "frames": middle([finding.frames for finding in findings if finding.frames]),
        "short_side": middle([min(f.width, f.height) for f in findings if f.width and f.height]),
        "fps": middle([finding.fps for finding in findings if finding.fps], 3),
        "formats": dict(Counter(f"{f.codec} in {f.container}" for f in findings).most_common()),
        "turned": sum(bool(finding.turned) for finding in findings),
        "misstated": sum(record.finding.container != FOLDER for record in suspicions.misstated(usable)),
    }


def write_census(folder: Path, census: dict[str, Any], problems: Sequence[Problem], report: str) -> None:
    """Writes the lists of names, the report, and at last census.json; removes lists that an earlier census left."""
    for problem in problems:
        if problem.lines:
            write_text(folder / f"{problem.name}.txt", "".join(f"{line}\n" for line in problem.lines))
        else:
            (folder / f"{problem.name}.txt").unlink(missing_ok=True)
    write_text(folder / "report.md", report)
    write_text(folder / CENSUS, json.dumps(census, indent=1) + "\n")


def format_summary(counts: str, problems: Sequence[Problem], folder: Path) -> str:
    """A few lines: what there is, and how much is wrong."""
    lines = [f"{len(p.lines):>8}  {p.title}: {folder / p.name}.txt" for p in problems if p.lines]
    return "\n".join([counts, *lines])


def format_page(census: dict[str, Any], problems: Sequence[Problem], folder: Path, notes: Sequence[str]) -> str:
    """The page on videos, with further `notes`; `folder` is that of the census, as the user calls it."""
    counts = census["census"]
    good = "good.csv" if (folder / "good.csv").exists() else ""
    about = [LOOKED[counts["checked"]], counts_table(census, problems, good=good), *notes]
    usable = ["## The usable videos", "\n".join(f"- {line}" for line in _usable_lines(census))]
    using = ["## Using it", ADVICE.format(list=quote(str(census["list"])), folder=quote(str(folder)))]
    return page_of(census, problems, counts=format_census(counts), about=about, after=[*usable, *using])


def page_of(
    census: dict[str, Any], problems: Sequence[Problem], *, counts: str, about: Sequence[str], after: Sequence[str]
) -> str:
    """The page that people read, in Markdown: its parts around those of the problems."""
    parts = [
        f"# Census of {census['list']}",
        f"{census['date']}, root `{census['root']}`, {counts}.",
        *about,
        *(_section(problem) for problem in problems if problem.lines),
        *after,
        f"Made with `{census['command']}`. Made again, it examines only what is new or has changed.",
    ]
    return "\n\n".join(parts) + "\n"


def counts_table(census: dict[str, Any], problems: Sequence[Problem], *, good: str = "") -> str:
    """How many are listed and usable, of which the file `good` has the names, and have each kind of problem."""
    states = census["states"]
    rows = [["listed", str(census["census"]["listed"]), ""]]
    rows += [["usable", str(states.get("ok", 0) + states.get("opens", 0)), good]]
    rows += [[p.title, str(len(p.lines)), f"{p.name}.txt" if p.lines else ""] for p in problems]
    return table(["", "number", "file"], rows, texts=(0, 2))


def _section(problem: Problem) -> str:
    shown = "\n".join("    " + line.replace("\t", "  |  ") for line in problem.lines[:SHOWN])
    more = len(problem.lines) - SHOWN
    rest = f"\n    ... and {more} more in {problem.name}.txt" if more > 0 else ""
    return f"## {problem.title}: {len(problem.lines)}\n\n{problem.advice}\n\n{shown}{rest}"


def _usable_lines(census: dict[str, Any]) -> list[str]:
    """The usable videos and the classes."""
    videos, classes = census["videos"], census["classes"]
    lines = [f"{videos['gigabytes']:g} GB, {videos['hours']:g} hours", *overview_lines(videos)]
    if videos["misstated"]:
        lines.append(f"{videos['misstated']} hold another number of frames than they state; frames are counted")
    if classes:
        usable = sorted(counts["usable"] for counts in classes)
        numbers = f"{usable[0]} to {usable[-1]} usable videos, median {median(usable):g}"
        lines.append(f"{len(classes)} classes with {numbers} (each in {CENSUS})")
    return lines


def overview_lines(videos: dict[str, Any]) -> list[str]:
    """Tells in words what `overview` found, but for sums."""
    lines = list[str]()
    for key, unit in (("frames", "frames"), ("short_side", "pixels on the short side"), ("fps", "frames a second")):
        if videos.get(key):
            low, middle, high = videos[key]
            lines.append(f"{low:g} to {high:g} {unit}, median {middle:g}")
    lines += [f"{count} x {name}" for name, count in videos["formats"].items()]
    if videos.get("turned"):
        lines.append(f"{videos['turned']} are turned or mirrored by a note in the file, which is followed")
    return lines
