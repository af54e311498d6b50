"""Our own lists: made of a folder of videos, written one `path label` a line, or in Charades' form for times."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nonlocal_video.data.lists.classes import label_finder
from nonlocal_video.data.lists.kinds import Files, Ignored
from nonlocal_video.data.lists.labels import items_of, times_of
from nonlocal_video.data.lists.pathlist import split_line
from nonlocal_video.types import Entry

SPLITS = frozenset(["train", "training", "val", "valid", "validation", "test", "testing"])


class Folder(NamedTuple):
    """The content of a folder of videos, FOLDER/CLASS/video.mp4."""

    entries: list[Entry]
    classes: list[str]
    num_of_frames: int
    """How many of the entries are folders of frames, FOLDER/CLASS/VIDEO/img_00001.jpg."""
    ignored: Ignored
    """Files that were taken for no videos, or lie in no class folder; hidden ones are not counted."""


def read_folder(folder: Path, *, classes: Sequence[str] | None) -> Folder:
    """The videos of a folder of class folders, by class and name; folders of frames below those are videos, too.

    `classes` are the names in the order of the labels, which the folders may spell otherwise; alphabetical if None.

    Raises:
        ValueError: no class folders, no videos, folders of splits, or a folder of no class.
    """
    names = sorted(item.name for item in os.scandir(folder) if item.is_dir() and not item.name.startswith("."))
    if not names:
        raise ValueError(f"{folder}: got no folders, expected one for each class: {folder}/CLASS/video.mp4")
    if splits := split_folders(folder):
        raise ValueError(f"{folder}: got the folders {', '.join(splits)}, expected classes: take {folder / splits[0]}")
    labels = _labels(folder, names, names if classes is None else classes)
    files = Files()
    for beside in sorted(item.path for item in os.scandir(folder) if item.is_file() and not item.name.startswith(".")):
        files.ignored.add(beside)
    of_frames = [path for name in names for path in files.add_below(str(folder / name), of_frames=False)]
    files.look()
    listed = sorted((os.path.relpath(path, folder).split(os.sep)[0], path) for path in [*files.videos, *of_frames])
    entries = [Entry(os.path.relpath(path, folder), path, labels[name]) for name, path in listed]
    if not entries:
        others = f" (other files, ignored: {files.ignored})" if files.ignored else ""
        raise ValueError(
            f"{folder}: got no videos in {len(names)} folders{others}, expected {folder}/CLASS/video.mp4, or numbered "
            f"frames {folder}/CLASS/VIDEO/img_00001.jpg"
        )
    return Folder(entries, list(classes) if classes is not None else names, len(of_frames), files.ignored)


def split_folders(folder: Path) -> list[str]:
    """The folders of a folder that have the name of a split and hold folders, as FOLDER/train/CLASS."""
    names = sorted(item.name for item in os.scandir(folder) if item.is_dir() and item.name.lower() in SPLITS)
    return [name for name in names if any(map(os.path.isdir, (folder / name).iterdir()))]


def _labels(folder: Path, names: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    find = label_finder(classes)
    labels = {name: label for name in names if (label := find(name)) is not None}
    if unknown := [name for name in names if name not in labels]:
        shown = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise ValueError(f"{folder}: {len(unknown)} of {len(names)} folders are no classes of --classes: {shown}")
    if same := sorted(name for name in names if list(labels.values()).count(labels[name]) > 1):
        raise ValueError(f"{folder}: got folders of the same class: {', '.join(same[:4])}")
    return labels


def listed_names(entries: Sequence[Entry], *, root: Path) -> list[str]:
    """The path of each entry below the root; absolute for those outside of it."""
    places = [(os.path.relpath(entry.path, root), os.path.abspath(entry.path)) for entry in entries]
    return [whole if place.split(os.sep)[0] == os.pardir else place for place, whole in places]


def format_list(names: Sequence[str], entries: Sequence[Entry]) -> str:
    """The lines of a list: the path, then the labels, with spaces between them; of labels with times, Charades' form.

    Raises ValueError for a path with a line break, or one that Charades' form has no place for.
    """
    pairs = list(zip(names, entries, strict=True))
    if not any(times_of(entry.label) for entry in entries):
        return "".join(" ".join([_quoted(name), *map(str, items_of(entry.label))]) + "\n" for name, entry in pairs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "actions"])  # Without the length: actions are cut already.
    for name, entry in pairs:
        video = name.removesuffix(".mp4")
        if os.sep in video or video != entry.video:
            raise ValueError(f"got {entry.video} in {name!r}, expected {entry.video}.mp4 or the folder {entry.video}")
        actions = [f"c{label:03d} {start_s:g} {end_s:g}" for label, start_s, end_s in times_of(entry.label)]
        writer.writerow([video, ";".join(actions)])
    return text.getvalue()


def _quoted(name: str) -> str:
    """A path as a line of a list has it: in quotes where it would be read otherwise."""
    if "\n" in name or "\r" in name:
        raise ValueError(f"got the path {name!r}, expected one without line breaks: rename it")
    line = split_line(f"{name} 0".strip(), 1)
    return name if (line.path, line.numbers) == (name, (0,)) else '"' + name.replace('"', '""') + '"'
