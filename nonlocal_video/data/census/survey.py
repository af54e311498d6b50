"""Every video of a list examined, in processes that can be killed; a stopped survey goes on where it was."""

import json
import multiprocessing
import os
import stat
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import TimeoutError as OutOfTime
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from nonlocal_video.data.decoders.examine import Health, examine
from nonlocal_video.data.lists.kinds import ask_disk
from nonlocal_video.data.lists.labels import from_json
from nonlocal_video.data.workers import START_METHOD
from nonlocal_video.system.files import is_new, keep_lines, locked, whole_file
from nonlocal_video.system.plain import check_folder, json_lines
from nonlocal_video.system.signals import end_with_parent
from nonlocal_video.types import Entry, Label

VIDEOS = "videos.jsonl"
"""The file of a census folder with a line for each video."""
GRACE_S = 5.0
"""A process is ended so long after the limit at which `examine` should have given up by itself."""

Stamp = tuple[int, int]
"""Bytes and time of the last change (ns) of a file or a folder: another stamp is another content."""


class Depth(NamedTuple):
    """How thoroughly videos are examined: the time for each, and whether all frames are decoded."""

    limit_s: float
    decode_all: bool


class Record(NamedTuple):
    """A listed video or image and what was found."""

    video: str
    path: str
    label: Label
    stamp: Stamp | None
    depth: Depth
    finding: Health


def survey(
    entries: Sequence[Entry],
    folder: Path,
    *,
    depth: Depth,
    jobs: int,
    unit: str = "video",
    look: Callable[..., Health] = examine,
) -> list[Record]:
    """Examines all videos and keeps the records in `folder`/videos.jsonl; those of unchanged files are not made again.

    Each record is written when it is made. In the end the file has the list's videos in the list's order. Other units
    than videos have a file and an examination of their own.

    Raises:
        ValueError: another survey is writing there, or the folder holds other files or the survey of other videos.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{unit}s.jsonl"
    if not is_new(folder) and not path.exists():
        raise ValueError(f"--out: {folder}: got a folder with other files, expected a new one or that of a census")
    check_folder(folder)
    with locked(folder, refusal="--out: {folder}: another check_data.py is writing there ({holder})"):
        paths = list(dict.fromkeys(entry.path for entry in entries))
        stamps = dict(ask_disk(_stamp, paths))
        there = {path: stamp for path, stamp in stamps.items() if not isinstance(stamp, str)}
        kept = _read_kept(path, paths)
        known = {record.path: record for record in kept if _holds(record, there.get(record.path), depth)}
        with (
            path.open("a") as file,
            closing(
                _examined([one for one in there if one not in known], depth=depth, jobs=jobs, look=look)
            ) as findings,
            tqdm(total=len(there), initial=len(known), desc="examining", unit=unit) as bar,
        ):
            broken = sum(record.finding.group == "broken" for record in known.values())
            for one, finding in findings:
                known[one] = Record("", one, None, there[one], depth, finding)
                file.write(_line(known[one]))
                file.flush()
                broken += finding.group == "broken"
                bar.set_postfix(missing=len(stamps) - len(there), broken=broken, refresh=False)
                bar.update()
        records = [_record(entry, known.get(entry.path), stamps[entry.path], depth) for entry in entries]
        with whole_file(path) as whole:
            whole.writelines(_line(record).encode() for record in records)
    return records


def _record(entry: Entry, known: Record | None, stamp: Stamp | str, depth: Depth) -> Record:
    if known is None:
        return Record(entry.video, entry.path, entry.label, None, depth, Health("missing", str(stamp)))
    finding = known.finding
    if entry.num_frames is not None:
        finding = finding._replace(claimed=entry.num_frames)
    return known._replace(video=entry.video, path=entry.path, label=entry.label, finding=finding)


def _holds(record: Record, stamp: Stamp | None, depth: Depth) -> bool:
    """Whether a record can stand for one that would be made now of a file with this stamp."""
    if stamp is None or record.stamp != stamp or record.finding.transient:
        return False
    is_short = record.finding.state == "timed out" and record.depth.limit_s < depth.limit_s
    return record.depth.decode_all == depth.decode_all and not is_short


def _stamp(path: str) -> Stamp | str:
    """The stamp of a video, or why there is none; what a run takes for missing is missing here."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        if os.path.islink(path):
            return f"a link that leads nowhere: {os.readlink(path)}"
        return "" if isinstance(error, FileNotFoundError) else str(getattr(error, "strerror", error))
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        return "neither a regular file nor a folder of frames"
    return status.st_size, status.st_mtime_ns


def _examined(
    paths: Sequence[str], *, depth: Depth, jobs: int, look: Callable[..., Health]
) -> Generator[tuple[str, Health], None, None]:
    """Findings as they are made; few paths wait at a time, however many there are."""
    context = multiprocessing.get_context(START_METHOD)
    context.set_forkserver_preload([look.__module__])  # Loaded once and shared.
    pool, waiting, rest = None, dict[Future[Health], str](), iter(paths)
    try:
        while True:
            for path in islice(rest, 4 * jobs - len(waiting)):
                pool = pool or ProcessPool(min(jobs, len(paths)), initializer=end_with_parent, context=context)
                limit_s = depth.limit_s + GRACE_S
                waiting[pool.schedule(look, args=(path,), kwargs=depth._asdict(), timeout=limit_s)] = path
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), _outcome(future, depth)
    finally:
        if pool is not None:
            pool.stop()
            pool.join()


def _outcome(future: Future[Health], depth: Depth) -> Health:
    try:
        return future.result()
    except OutOfTime:
        return Health("timed out", f"its process was stuck and was ended after {depth.limit_s:g} s (--limit) and more")
    except ProcessExpired as error:
        return Health("broken", f"its process ended with exit code {error.exitcode}", transient=True)


def _line(record: Record) -> str:
    content = {**record._asdict(), "depth": record.depth._asdict(), "finding": record.finding._asdict()}
    return json.dumps(content) + "\n"


def _read_kept(file: Path, paths: Iterable[str]) -> list[Record]:
    """The records of an earlier survey; an unfinished last line is cut off."""
    file.touch()
    keep_lines(file)
    records = _read(file)
    if records and set(paths).isdisjoint(record.path for record in records):
        other = f"the census of other {file.stem} (such as {records[0].path})"
        raise ValueError(f"--out: {file.parent} holds {other}: take another folder")
    return records


def read_records(folder: Path) -> list[Record]:
    """The records of a folder; raises ValueError if it has none of videos, or a line is no record."""
    path = folder / VIDEOS
    if not path.is_file():
        raise ValueError(f"{folder}: not the folder of a census (it has no {path.name})")
    return _read(path)


def _read(file: Path) -> list[Record]:
    refusal = "{path}:{number}: not a record of this version ({error}): delete the file"
    return list(json_lines(file, _parsed, refusal=refusal))


def _parsed(content: dict[str, Any]) -> Record:
    label, stamp, found = from_json(content["label"]), content["stamp"], dict[str, Any]()
    for key, value in content["finding"].items():  # Words that many records share are held once.
        found[key] = sys.intern(value) if isinstance(value, str) else value
    depth, stamp = Depth(**content["depth"]), stamp and (stamp[0], stamp[1])
    return Record(content["video"], content["path"], label, stamp, depth, Health(**found))
