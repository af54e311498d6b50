"""The lists of Charades: several classes a video, with their times."""

import csv
import io
import os
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from nonlocal_video.data.decoders.frames import frame_number
from nonlocal_video.data.lists.labels import times_of
from nonlocal_video.data.lists.text import open_text
from nonlocal_video.types import Entry, TimedLabel

FPS = 24
"""Of the frames that come with the data set."""

COLUMNS = ("id", "actions", "length")
"""Of the official lists, those that are read; the list of the hidden test videos has no actions."""

_ACTION = re.compile(r"c(\d{3})\s+(\d+(?:\.\d+)?)\s+(\d+(?:\.\d+)?)")


def is_charades(header: str) -> bool:
    """Whether a list that begins with this line is `Charades_v1_train.csv` or its like."""
    words = set(next(csv.reader([header]), []))
    return "actions" in words or {"subject", "scene"} <= words


def is_frame_list(header: str) -> bool:
    """Whether a list that begins with this line names every frame, as those of PySlowFast do."""
    return header.startswith(("original_vido_id", "original_video_id"))


def read_charades(path: str, *, root: str | None) -> list[tuple[int, Entry]]:
    """The entries with the numbers of their lines; a video is the folder of frames ID, where there is one, or ID.mp4.

    Actions that are said to last longer than the video are cut at its end, as the authors do; a warning counts them.

    Raises:
        ValueError: another header, or a bad row.
    """
    with open_text(path, newline="") as file:
        rows = csv.DictReader(file)
        header = list(rows.fieldnames or ())
        found = [(rows.line_num, row) for row in rows]
    if "id" not in header:
        raise ValueError(f"{path}:1: got the columns {', '.join(header)}, expected {', '.join(COLUMNS)} among them")
    entries, too_long = list[tuple[int, Entry]](), list[str]()
    for line, row in found:
        where = f"{path}:{line}"
        if not row["id"] or ("actions" in header and row["actions"] is None):
            raise ValueError(f"{where}: got {row}, expected an id and actions")
        label = _actions(row["actions"], where) if "actions" in header else None
        if label is not None and row.get("length"):
            cut = _cut(label, _seconds(row["length"], where))
            too_long += [row["id"]] * sum(one != other for one, other in zip(label, cut, strict=True))
            label = cut
        entries.append((line, Entry(row["id"], os.path.join(root, row["id"]) if root else row["id"], label)))
    if too_long:
        warnings.warn(
            f"{path}: {len(too_long)} actions last longer than their video (the first: {too_long[0]}); cut at its end",
            stacklevel=2,
        )
    with ThreadPoolExecutor(16) as pool:
        are_folders = list(pool.map(os.path.isdir, [entry.path for _, entry in entries]))
    return [
        (line, entry if is_folder else entry._replace(path=f"{entry.path}.mp4"))
        for (line, entry), is_folder in zip(entries, are_folders, strict=True)
    ]


def format_charades(entries: Sequence[Entry]) -> str:
    """The columns of an official list that `read_charades` reads, without the length: actions are cut already."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "actions"])
    for entry in entries:
        labels = times_of(entry.label)
        writer.writerow([entry.video, ";".join(f"c{one.label:03d} {one.start_s:g} {one.end_s:g}" for one in labels)])
    return text.getvalue()


def _actions(text: str, where: str) -> tuple[TimedLabel, ...]:
    """`c092 11.90 21.20;c147 0.00 12.60` -> the classes and their seconds."""
    labels = []
    for action in text.split(";") if text.strip() else ():
        found = _ACTION.fullmatch(action.strip())
        if found is None:
            raise ValueError(f"{where}: got the action {action!r}, expected a class and its times: 'c092 11.90 21.20'")
        label = TimedLabel(int(found.group(1)), float(found.group(2)), float(found.group(3)))
        if label.end_s < label.start_s:
            raise ValueError(f"{where}: got the action {action!r}, expected an end that is not before its start")
        labels.append(label)
    return tuple(labels)


def _seconds(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{where}: got the length {text!r}, expected seconds") from None


def _cut(labels: Sequence[TimedLabel], length_s: float) -> tuple[TimedLabel, ...]:
    """Without what lies behind the end of the video."""
    return tuple(TimedLabel(one.label, min(one.start_s, length_s), min(one.end_s, length_s)) for one in labels)


def read_frame_list(path: str, *, root: str | None) -> list[tuple[int, Entry]]:
    """The entries of a list of frames, with the numbers of the lines where their videos begin.

    A class on successive frames is one label, from the time of the first to that of the last, at 24 frames a second.

    Raises:
        ValueError: a bad row, a video with frames in two folders, or one that is not listed frame by frame.
    """
    videos = dict[str, _Video]()
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if number == 1 or not line.strip():
                continue
            row = line.split()
            labels = re.findall(r"[^,]+", row[-1].replace('"', "")) if row else []
            if len(row) != 5 or not all(label.isdecimal() for label in labels):
                expected = "original_vido_id video_id frame_id path labels, such as 'A 0 0 A/A-000001.jpg \"5,92\"'"
                raise ValueError(f"{path}:{number}: got {line.strip()!r}, expected {expected}")
            folder = os.path.dirname(row[3])
            video = videos.setdefault(row[0], _Video(number, folder))
            if folder != video.folder:
                raise ValueError(
                    f"{path}:{number}: got a frame in {folder!r}, expected {video.folder!r}, as those before"
                )
            video.add([int(label) for label in labels], row[3], where=f"{path}:{number}")
    return [(video.line, video.entry(name, root)) for name, video in videos.items()]


class _Video:
    """The frames of a video so far."""

    def __init__(self, line: int, folder: str) -> None:
        self.line, self.folder = line, folder
        self.num_frames = 0
        self.last = -1
        """The number of the last frame's file."""
        self.running = dict[int, int]()
        """The classes of the last frame, with the places of the frames where they began."""
        self.labels = list[TimedLabel]()

    def add(self, labels: Sequence[int], frame: str, *, where: str) -> None:
        number = frame_number(frame)
        if number is None or (self.num_frames and number != self.last + 1):
            expected = f"that of number {self.last + 1}" if self.num_frames else "one such as A/A-000001.jpg"
            raise ValueError(f"{where}: got the frame {frame}, expected {expected}: every frame has to be listed")
        self.last = number
        self.end([label for label in self.running if label not in labels])
        for label in labels:
            self.running.setdefault(label, self.num_frames)
        self.num_frames += 1

    def end(self, labels: Sequence[int]) -> None:
        for label in labels:
            self.labels.append(TimedLabel(label, self.running.pop(label) / FPS, (self.num_frames - 1) / FPS))

    def entry(self, name: str, root: str | None) -> Entry:
        self.end(list(self.running))
        labels = tuple(sorted(self.labels, key=lambda label: (label.start_s, label.label)))
        return Entry(name, os.path.join(root, self.folder) if root else self.folder, labels, self.num_frames)
