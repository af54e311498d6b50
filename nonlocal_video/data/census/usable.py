"""Which of the listed videos a run can use, in a form that fits beside a number."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.data.census.survey import Record
from nonlocal_video.data.lists.kinds import ask_disk
from nonlocal_video.data.lists.manifest import hash_entries
from nonlocal_video.system.plain import read_json
from nonlocal_video.types import Entry

CENSUS = "census.json"
"""The file of a census folder that a run reads."""

_BROKEN = {
    "presence": "broken ones not looked for",
    "packets": "{broken} that do not open (none was decoded)",
    "frames": "{broken} broken (every video was decoded)",
}
"""How videos can have been looked at, and what is said of the broken ones then."""


class Census(NamedTuple):
    """The state of a list of videos."""

    hash: str
    """Equal where the same videos with the same labels were listed and used."""
    listed: int
    missing: int
    broken: int
    """Videos known to be broken; those that a run finds broken are counted by the run."""
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
    groups = defaultdict[str, list[Entry]](list)
    for entry, record in zip(entries, records, strict=True):
        groups[record.finding.group].append(entry)
    return take_census(groups["usable"], groups["missing"], groups["broken"], checked=checked)


def hash_listed(entries: Iterable[Entry]) -> str:
    """A name for a list, in whatever order it is."""
    return hash_entries(sorted(entries, key=lambda entry: entry.video))


def split_missing(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The entries whose file or folder of frames exists, and the others; both in the list's order."""
    paths = [entry.path for entry in entries]
    exists = dict(ask_disk(lambda path: os.path.isfile(path) or os.path.isdir(path), paths))
    return [entry for entry in entries if exists[entry.path]], [entry for entry in entries if not exists[entry.path]]


def split_broken(
    present: Sequence[Entry], missing: Sequence[Entry], folder: str | None
) -> tuple[list[Entry], list[tuple[Entry, str]], Census]:
    """The videos to use, those that the census in `folder` found broken with the causes, and the census this makes.

    A file of another size than then is used again. Without a folder nothing is known to be broken; one without the
    census of this list raises ValueError.
    """
    if folder is None:
        return list(present), [], take_census(present, missing, (), checked="presence")
    content = _read_census(folder, [*present, *missing])
    used, broken = list[Entry](), list[tuple[Entry, str]]()
    for entry in present:
        known = content["broken"].get(entry.video)
        if known and (os.path.isdir(entry.path) or os.path.getsize(entry.path) == known["bytes"]):
            broken.append((entry, known["cause"]))
        else:
            used.append(entry)
    census = take_census(used, missing, (entry for entry, _ in broken), checked=content["census"]["checked"])
    return used, broken, census


def _read_census(folder: str, listed: Sequence[Entry]) -> dict[str, Any]:
    path = Path(folder) / CENSUS
    if not path.is_file():
        raise ValueError(f"{folder}: no census (no {CENSUS}); make it with python tools/check_data.py, or run it again")
    content = read_json(path)
    broken, census = content.get("broken", {}), content.get("census", {})
    whole = {"listed_hash", "list", "broken"} <= content.keys() and isinstance(broken, dict)
    if not whole or not isinstance(census, dict) or "listed" not in census or census.get("checked") not in [*_BROKEN]:
        raise ValueError(f"{path}: not a census of this version; make it again with python tools/check_data.py")
    for video, found in broken.items():
        if not isinstance(found, dict) or not {"cause", "bytes"} <= found.keys():
            raise ValueError(f"{path}: broken: {video}: got {found!r}, expected its cause and bytes")
    if content["listed_hash"] != hash_listed(listed):
        raise ValueError(
            f"{folder}: is the census of another list ({content['list']}, {census['listed']} videos), "
            f"expected one of these {len(listed)} videos and labels"
        )
    return content


def check_usable(census: Census, missing: Sequence[Entry], *, path: str, which: str, max_missing: float) -> None:
    """Raises ValueError for a list, of the setting `which`, if too many of it, or all, are missing or broken."""
    num_lost = census.missing + census.broken
    too_many = num_lost > max_missing * census.listed
    if census.broken and (too_many or num_lost == census.listed):
        raise ValueError(
            f"{path}: {census.missing} missing and {census.broken} broken of {census.listed} videos are more than "
            f"data.max_missing={max_missing} allows; {which}_census names the broken ones"
        )
    if too_many:
        names = ", ".join(entry.path for entry in missing[:3])
        raise ValueError(
            f"{census.missing} of {census.listed} listed videos are missing ({names}, ...), more than "
            f"data.max_missing={max_missing} allows: check data.root, or raise the limit"
        )
    if num_lost == census.listed:
        raise ValueError(f"{path}: none of the {census.listed} listed videos is there")


def format_census(census: Mapping[str, object]) -> str:
    """One line on a census."""
    broken = _BROKEN[str(census["checked"])].format_map(census)
    return f"census {census['hash']}: {census['listed']} listed, {census['missing']} missing, {broken}"
