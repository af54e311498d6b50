"""Which of the listed videos a run can use, in a form that fits beside a number."""

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.data.census.survey import Record
from nonlocal_video.data.lists.manifest import hash_entries
from nonlocal_video.system.plain import read_json
from nonlocal_video.types import Entry

CENSUS = "census.json"
"""The file of a census folder that a run reads."""
LOOKS = {"presence": "files only looked for", "packets": "files opened, not decoded", "frames": "all decoded before"}
"""How videos can have been looked at."""


class Census(NamedTuple):
    """What a list of videos came to."""

    hash: str
    """The same where the same videos with the same labels were listed and used."""
    listed: int
    missing: int
    broken: int
    """Known to be; those that a run finds broken are counted by the run."""
    checked: str
    """How it was looked: for their presence, by packets, or by frames, all decoded."""


def take_census(usable: Iterable[Entry], missing: Iterable[Entry], broken: Iterable[Entry], *, checked: str) -> Census:
    """The census of a list that was sorted into these three."""
    groups = {"usable": list(usable), "missing": list(missing), "broken": list(broken)}
    lines = sorted(f"{entry.video} {entry.label} {state}\n" for state, group in groups.items() for entry in group)
    name = hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()[:12]
    return Census(name, len(lines), len(groups["missing"]), len(groups["broken"]), checked)


def census_of(entries: Sequence[Entry], records: Sequence[Record], *, checked: str) -> Census:
    """The census of a list that was surveyed."""
    groups: dict[str, list[Entry]] = {"usable": [], "missing": [], "broken": []}
    for entry, record in zip(entries, records, strict=True):
        groups[record.finding.group].append(entry)
    return take_census(groups["usable"], groups["missing"], groups["broken"], checked=checked)


def hash_listed(entries: Iterable[Entry]) -> str:
    """Names a list, in whatever order it is."""
    return hash_entries(sorted(entries, key=lambda entry: entry.video))


def split_broken(
    present: Sequence[Entry], missing: Sequence[Entry], folder: str | None
) -> tuple[list[Entry], list[tuple[Entry, str]], Census]:
    """The videos to use, those that the census in `folder` found broken with the causes, and the census this makes.

    A file of another size than then is used again. Without a folder nothing is known to be broken.

    Raises:
        ValueError: no census there, or that of another list.
    """
    if folder is None:
        return list(present), [], take_census(present, missing, (), checked="presence")
    path = Path(folder) / CENSUS
    if not path.is_file():
        raise ValueError(f"{folder}: no census (no {CENSUS}); make it with python tools/check_data.py, or run it again")
    content = _read_census(path)
    if content["listed_hash"] != hash_listed([*present, *missing]):
        raise ValueError(
            f"{folder}: is the census of another list ({content['list']}, {content['census']['listed']} videos), "
            f"expected one of these {len(present) + len(missing)} videos and labels"
        )
    causes = {
        entry.video: content["broken"][entry.video]["cause"]
        for entry in present
        if entry.video in content["broken"] and _is_same(entry.path, content["broken"][entry.video]["bytes"])
    }
    used = [entry for entry in present if entry.video not in causes]
    broken = [entry for entry in present if entry.video in causes]
    census = take_census(used, missing, broken, checked=content["census"]["checked"])
    return used, [(entry, causes[entry.video]) for entry in broken], census


def _read_census(path: Path) -> dict[str, Any]:
    """Raises: ValueError: something else than what tools/check_data.py wrote."""
    content = read_json(path)
    broken, census = content.get("broken", {}), content.get("census", {})
    known = {"listed_hash", "list"} <= content.keys() and isinstance(broken, dict) and isinstance(census, dict)
    if not known or "listed" not in census or census.get("checked") not in [*LOOKS]:
        raise ValueError(f"{path}: not a census of this version; make it again with python tools/check_data.py")
    for video, found in broken.items():
        if not isinstance(found, dict) or not {"cause", "bytes"} <= found.keys():
            raise ValueError(f"{path}: broken: {video}: got {found!r}, expected its cause and bytes")
    return content


def _is_same(path: str, size: int) -> bool:
    status = os.stat(path)
    return stat.S_ISDIR(status.st_mode) or status.st_size == size


def format_census(census: Mapping[str, object]) -> str:
    """In one line."""
    broken = {
        "presence": "broken ones not looked for",
        "packets": f"{census['broken']} that do not open (none was decoded)",
        "frames": f"{census['broken']} broken (every video was decoded)",
    }[str(census["checked"])]
    return f"census {census['hash']}: {census['listed']} listed, {census['missing']} missing, {broken}"
