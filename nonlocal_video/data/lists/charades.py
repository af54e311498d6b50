"""The lists of Charades: several classes a video, with their times."""

import csv
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from nonlocal_video.types import Entry, TimedLabel

FPS = 24
"""Of the frames that come with the data set."""

_ACTION = re.compile(r"c(\d{3})\s+(\d+(?:\.\d+)?)\s+(\d+(?:\.\d+)?)")


def is_charades(header: str) -> bool:
    """Whether a list that begins with this line is `Charades_v1_train.csv` or its like."""
    words = next(csv.reader([header]), [])
    return "id" in words and "actions" in words


def is_frame_list(header: str) -> bool:
    """Whether a list that begins with this line names every frame, as those of PySlowFast do."""
    return header.startswith(("original_vido_id", "original_video_id"))


def read_charades(path: str, *, root: str | None) -> list[tuple[int, Entry]]:
    """The entries with the numbers of their lines; a video is the folder of frames ID, where there is one, or ID.mp4.

    Raises:
        ValueError: a bad row.
    """
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file)
        found = [(rows.line_num, row) for row in rows]
    entries = []
    for line, row in found:
        if not row.get("id") or row.get("actions") is None:
            raise ValueError(f"{path}:{line}: got {row}, expected an id and actions")
        folder = os.path.join(root, row["id"]) if root else row["id"]
        entries.append((line, Entry(row["id"], folder, _actions(row["actions"], f"{path}:{line}"))))
    with ThreadPoolExecutor(16) as pool:
        are_folders = list(pool.map(os.path.isdir, [entry.path for _, entry in entries]))
    return [
        (line, entry if is_folder else entry._replace(path=f"{entry.path}.mp4"))
        for (line, entry), is_folder in zip(entries, are_folders, strict=True)
    ]


def _actions(text: str, where: str) -> tuple[TimedLabel, ...]:
    """`c092 11.90 21.20;c147 0.00 12.60` -> the classes and their seconds."""
    labels = []
    for action in text.split(";") if text.strip() else ():
        found = _ACTION.fullmatch(action.strip())
        if found is None:
            raise ValueError(f"{where}: got the action {action!r}, expected a class and its times: 'c092 11.90 21.20'")
        labels.append(TimedLabel(int(found.group(1)), float(found.group(2)), float(found.group(3))))
    return tuple(labels)


def read_frame_list(path: str, *, root: str | None) -> list[tuple[int, Entry]]:
    """The entries of a list of frames, with the numbers of the lines where their videos begin.

    A class on successive frames is one label, from the first frame to the end of the last, at 24 frames a second.

    Raises:
        ValueError: a bad row, or a video with frames in two folders.
    """
    videos = dict[str, _Video]()
    with open(path, encoding="utf-8-sig") as file:
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
            video.add([int(label) for label in labels])
    return [(video.line, video.entry(name, root)) for name, video in videos.items()]


class _Video:
    """The frames of a video so far."""

    def __init__(self, line: int, folder: str) -> None:
        self.line, self.folder = line, folder
        self.num_frames = 0
        self.running = dict[int, int]()
        """The classes of the last frame, with the frames where they began."""
        self.labels = list[TimedLabel]()

    def add(self, labels: Sequence[int]) -> None:
        self.end([label for label in self.running if label not in labels])
        for label in labels:
            self.running.setdefault(label, self.num_frames)
        self.num_frames += 1

    def end(self, labels: Sequence[int]) -> None:
        for label in labels:
            self.labels.append(TimedLabel(label, self.running.pop(label) / FPS, self.num_frames / FPS))

    def entry(self, name: str, root: str | None) -> Entry:
        self.end(list(self.running))
        labels = tuple(sorted(self.labels, key=lambda label: (label.start_s, label.label)))
        return Entry(name, os.path.join(root, self.folder) if root else self.folder, labels, self.num_frames)
