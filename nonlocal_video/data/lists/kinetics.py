"""The official lists of Kinetics-400, -600 and -700: classes by their names, videos by their YouTube ids."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nonlocal_video.data.lists.classes import KINETICS400, label_finder
from nonlocal_video.data.lists.text import open_text
from nonlocal_video.data.lists.videofiles import VideoIndex
from nonlocal_video.types import Entry

_COLUMNS = {
    "label": ("label", "class", "label_name", "class_name"),
    "id": ("youtube_id", "id", "video_id"),
    "start": ("time_start", "start", "start_time"),
    "end": ("time_end", "end", "end_time"),
    "split": ("split",),
}


class Clip(NamedTuple):
    """A row of a list."""

    line: int
    stem: str
    """`ID_000012_000022`, as the downloaders call the file."""
    name: str
    """The class; empty in lists of test videos."""
    split: str


def is_kinetics(header: str) -> bool:
    """Whether a list that begins with this line is an official one."""
    words = _words(next(csv.reader([header]), []))
    return "youtube_id" in words or {"id", "start", "end"} <= _places(words).keys()


def read_kinetics(
    path: str, *, root: str | None, num_classes: int | None, classes: Sequence[str] | None
) -> list[tuple[int, Entry]]:
    """The entries with the numbers of their lines; a video that is nowhere below `root` has the path it would have.

    `classes` are the names in the order of the labels; those of Kinetics-400 if None.
    """
    if root is None:
        expected = "data.root, the folder to look for videos in"
        raise ValueError(f"{path}: an official list tells no paths, expected {expected}")
    clips, find = _read_clips(path), label_finder(KINETICS400 if classes is None else classes)
    for clip in clips:
        if clip.name and (find(clip.name) is None or (classes is None and num_classes not in (None, 400))):
            expected = "one of data.classes" if classes is not None else (
                "data.classes, a file of all class names in the order of the labels (only that of Kinetics-400 with "
                "its 400 classes is known without)"
            )  # fmt: skip
            raise ValueError(f"{path}:{clip.line}: got the class {clip.name!r}, expected {expected}")
    index, entries = VideoIndex(root), list[tuple[int, Entry]]()
    for line, stem, name, split in clips:
        place = index.find(stem, split=split, name=name) or os.path.join(root, f"{stem}.mp4")
        entries.append((line, Entry(stem, place, find(name) if name else None)))
    return entries


def _read_clips(path: str) -> list[Clip]:
    with open_text(path, newline="") as file:
        rows = csv.reader(file, skipinitialspace=True, strict=True)
        places = _places(_words(next(rows, [])))
        for name in ("id", "start", "end"):
            if name not in places:
                raise ValueError(f"{path}:1: no column {' or '.join(_COLUMNS[name])}, expected a path and a label "
                                 "on each line, or the header of an official list of Kinetics")  # fmt: skip
        try:
            return [_clip(row, places, path, rows.line_num) for row in rows if any(row)]
        except csv.Error as error:
            raise ValueError(f"{path}:{rows.line_num}: {error}") from error


def _clip(row: Sequence[str], places: dict[str, int], path: str, line: int) -> Clip:
    where, num_fields = f"{path}:{line}", max(places.values()) + 1
    if len(row) < num_fields:
        raise ValueError(f"{where}: got {','.join(row)!r}, expected {num_fields} fields, as in the header")
    values = {name: row[place].strip() for name, place in places.items()}
    try:
        start, end = (int(float(values[name])) for name in ("start", "end"))
    except (ValueError, OverflowError) as error:
        got = f"{values['start']!r} and {values['end']!r}"
        raise ValueError(f"{where}: got times {got}, expected two numbers of seconds") from error
    if not values["id"]:
        raise ValueError(f"{where}: got {','.join(row)!r}, expected a YouTube id")
    split = values.get("split") or Path(where).stem
    return Clip(line, f"{values['id']}_{start:06d}_{end:06d}", values.get("label", "").strip('"'), split)


def _words(header: Sequence[str]) -> list[str]:
    return [word.strip().lower().replace("-", "_").replace(" ", "_") for word in header]


def _places(words: Sequence[str]) -> dict[str, int]:
    """The places of the columns that the header names."""
    return {name: words.index(word) for name, known in _COLUMNS.items() for word in reversed(known) if word in words}
