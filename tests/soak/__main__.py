"""Broken files, kills and full disks by the hundred, an hour at a time.

python -m tests.soak FOLDER [--minutes 60] [--only files ...]

What is found is a line of FOLDER/found.jsonl, so the same command goes on where the last one ended, also after a kill.
At its end it prints the tables of all that was asked for: the end of docs/robustness.md, and tables of
docs/nothing_is_lost.md.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.system.files import locked
from tests import forked
from tests.soak import disk, files, kills

Record = dict[str, Any]


class Part(NamedTuple):
    """One kind of trouble."""

    goal: int
    """Records to collect."""
    trial: Callable[[Path, int], Sequence[Record]]
    """Makes trouble number n in a folder, and gives its records."""


PARTS = {
    "files": Part(1000, files.trial),
    **{f"training on {n}": Part(100, partial(kills.trial, kind=kills.Training(n))) for n in (1, 2)},
    **{f"testing on {n}": Part(50, partial(kills.trial, kind=kills.Testing(n))) for n in (1, 2)},
    "disk": Part(50, disk.trial),
}


def read(folder: Path) -> dict[str, list[Record]]:
    """The records of each part so far; half a line of a killed process is cut off."""
    found: dict[str, list[Record]] = {name: [] for name in PARTS}
    path = folder / "found.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    path.write_text("".join(whole))
    for line in whole:
        record = json.loads(line)
        found[record.pop("part")].append(record)
    return found


def collect(folder: Path, names: Sequence[str], *, seconds: float) -> None:
    """Makes trouble of all kinds evenly, until there is enough of it or the time is over."""
    found, end = read(folder), time.monotonic() + seconds

    def done(name: str) -> float:
        return len(found[name]) / PARTS[name].goal

    while time.monotonic() < end and done(name := min(names, key=done)) < 1:
        trial = 1 + max((record["trial"] for record in found[name]), default=-1)
        place = folder / name.replace(" ", "_")
        place.mkdir(exist_ok=True)
        records = [{"trial": trial, **record} for record in PARTS[name].trial(place, trial)]
        with (folder / "found.jsonl").open("a") as file:
            file.writelines(json.dumps({"part": name, **record}) + "\n" for record in records)
        found[name] += records
        print(f"{name}: {len(found[name])} of {PARTS[name].goal}", file=sys.stderr, flush=True)


FILES_HEAD = """
## Broken at scale

`python -m tests.soak FOLDER --only files` breaks videos of ten kinds in twenty ways, five times each, and asks every
decoder for two clips and the last frame. "right": each picture is that of a plain decode of the broken file, or of the
whole one; "other": one is none of these, which FFmpeg did not notice; "unnamed error": it does not name the file.
"""


def report(found: dict[str, list[Record]], names: Sequence[str]) -> str:
    """The tables of what was found, of the parts of these names."""
    killed = {name: found[name] for name in names if " on " in name}
    tables = [f"{FILES_HEAD}\n{files.table(found['files'])}"] if "files" in names else []
    tables += [kills.table(killed)] if killed else []
    return "\n\n".join([*tables, *([disk.table(found["disk"])] if "disk" in names else [])])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    forked.serve()
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait_s=0, note=print):
        collect(folder, options.only, seconds=60 * options.minutes)
        found = read(folder)
    print(report(found, options.only))
    return int(any(record.get("wrong") for records in found.values() for record in records))


if __name__ == "__main__":
    sys.exit(main())
