"""The lists of Charades: several classes a video, with their times."""

import csv
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable

from nonlocal_video.data.decoders.frames import frame_number
from nonlocal_video.data.lists.text import numbered_lines, open_text
from nonlocal_video.data.lists.videofiles import with_extension
from nonlocal_video.types import Entry, TimedLabel

FPS = 24
"""The rate of the frames that come with the data set."""

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
    """
    with open_text(path, newline="") as file:
        rows = csv.DictReader(file)
        header = list(rows.fieldnames or ())
        found = [(rows.line_num, row) for row in rows]
    if "id" not in header:
        raise ValueError(f"{path}:1: got the columns {', '.join(header)}, expected id, actions, length among them")
    entries, too_long = list[tuple[int, Entry]](), list[str]()
    for line, row in found:
        video, where = row["id"], f"{path}:{line}"
        if not video or ("actions" in header and row["actions"] is None):
            raise ValueError(f"{where}: got {row}, expected an id and actions")
        label, num_cut = _actions(row["actions"], row.get("length"), where) if "actions" in header else (None, 0)
        too_long += [video] * num_cut
        entries.append((line, Entry(video, os.path.join(root or "", video), label)))
    if too_long:
        warnings.warn(
            f"{path}: {len(too_long)} actions last longer than their video (the first: {too_long[0]}); cut at its end",
            stacklevel=2,
        )
    places = with_extension([entry.path for _, entry in entries], ".mp4")
    return [(line, entry._replace(path=places[entry.path])) for line, entry in entries]


def _actions(text: str, length: str | None, where: str) -> tuple[tuple[TimedLabel, ...], int]:
    """`c092 11.90 21.20;c147 0.00 12.60` -> the classes and their seconds, and how many were cut at the video's end."""
    labels = []
    for action in text.split(";") if text.strip() else ():
        found = _ACTION.fullmatch(action.strip())
        if found is None:
            raise ValueError(f"{where}: got the action {action!r}, expected a class and its times: 'c092 11.90 21.20'")
        label = TimedLabel(int(found[1]), float(found[2]), float(found[3]))
        if label.end_s < label.start_s:
            raise ValueError(f"{where}: got the action {action!r}, expected an end that is not before its start")
        labels.append(label)
    try:
        length_s = float(length or "inf")
    except ValueError:
        raise ValueError(f"{where}: got the length {length!r}, expected seconds") from None
    cut = tuple(TimedLabel(label, min(start_s, length_s), min(end_s, length_s)) for label, start_s, end_s in labels)
    return cut, sum(end_s > length_s for _, _, end_s in labels)


def read_frame_list(path: str, *, root: str | None) -> list[tuple[int, Entry]]:
    """The entries of a list of frames, with the numbers of the lines where their videos begin.

    A class on successive frames is one label, from the time of the first to that of the last, at 24 frames a second.
    """
    videos = dict[str, _Video]()
    for number, line in numbered_lines(path):
        if number == 1:
            continue
        row, where = line.split(), f"{path}:{number}"
        labels = re.findall(r"[^,]+", row[-1].replace('"', ""))
        if len(row) != 5 or not all(label.isdecimal() for label in labels):
            expected = "original_vido_id video_id frame_id path labels, such as 'A 0 0 A/A-000001.jpg \"5,92\"'"
            raise ValueError(f"{where}: got {line!r}, expected {expected}")
        folder = os.path.dirname(row[3])
        video = videos.setdefault(row[0], _Video(number, folder))
        if folder != video.folder:
            raise ValueError(f"{where}: got a frame in {folder!r}, expected {video.folder!r}, as those before")
        video.add({int(label) for label in labels}, row[3], where)
    return [(video.line, video.entry(name, root)) for name, video in videos.items()]


class _Video:
    """The frames of a video so far."""

    def __init__(self, line: int, folder: str) -> None:
        self.line, self.folder = line, folder
        self.num_frames, self.last = 0, -1
        """How many frames there are, and the number of the last one's file."""
        self.series = defaultdict[int, list[list[int]]](list)
        """By class, the places of the first and the last frame of each series that shows it."""

    def add(self, labels: Iterable[int], frame: str, where: str) -> None:
        number = frame_number(frame)
        if number is None or (self.num_frames and number != self.last + 1):
            expected = f"that of number {self.last + 1}" if self.num_frames else "one such as A/A-000001.jpg"
            raise ValueError(f"{where}: got the frame {frame}, expected {expected}: every frame has to be listed")
        self.last = number
        for label in labels:
            series = self.series[label]
            if not series or series[-1][1] < self.num_frames - 1:
                series.append([self.num_frames, self.num_frames])
            series[-1][1] = self.num_frames
        self.num_frames += 1

    def entry(self, name: str, root: str | None) -> Entry:
        times = [(first / FPS, label, last / FPS) for label, series in self.series.items() for first, last in series]
        labels = tuple(TimedLabel(label, start_s, end_s) for start_s, label, end_s in sorted(times))
        return Entry(name, os.path.join(root or "", self.folder), labels, self.num_frames)
