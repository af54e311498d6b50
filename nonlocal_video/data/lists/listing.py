"""Our own lists: made of a folder of videos, written one `path label` a line, or in Charades' form for times."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from nonlocal_video.data.decoders.frames import frame_number
from nonlocal_video.data.lists.charades import format_charades
from nonlocal_video.data.lists.classes import class_ids, normalised
from nonlocal_video.data.lists.kinds import Files, Ignored, is_called_video
from nonlocal_video.data.lists.labels import items_of
from nonlocal_video.data.lists.pathlist import split_line
from nonlocal_video.types import Entry, TimedLabel

SPLITS = frozenset(["train", "training", "val", "valid", "validation", "test", "testing"])


class Folder(NamedTuple):
    """What a folder of videos, FOLDER/CLASS/video.mp4, holds."""

    entries: list[Entry]
    classes: list[str]
    num_of_frames: int
    """How many of the entries are folders of frames, FOLDER/CLASS/VIDEO/img_00001.jpg."""
    ignored: Ignored
    """Files that were taken for no videos, or lie in no class folder; hidden ones are not counted."""


def read_folder(folder: Path, *, classes: Sequence[str] | None) -> Folder:
    """The videos of a folder of class folders, by class and name.

    A folder below that of its class which holds numbered images and no videos is a video, too.

    Args:
        classes: the class names in the order of the labels; the alphabetical order if None. The
            folders may spell them otherwise (`petting_animal_-not_cat-`).

    Raises:
        ValueError: no class folders, no videos, folders of splits, or a folder of no class.
    """
    names = sorted(item.name for item in os.scandir(folder) if item.is_dir() and not item.name.startswith("."))
    if not names:
        raise ValueError(f"{folder}: got no folders, expected one for each class: {folder}/CLASS/video.mp4")
    if splits := split_folders(folder):
        raise ValueError(f"{folder}: got the folders {', '.join(splits)}, expected classes: take {folder / splits[0]}")
    labels = _labels(folder, names, classes)
    files, of_frames = _walk(folder, names)
    paths = {name: list[str]() for name in names}
    for path in [*files.videos, *of_frames]:
        paths[os.path.relpath(path, folder).split(os.sep)[0]].append(path)
    entries = [
        Entry(os.path.relpath(path, folder), path, labels[name]) for name in names for path in sorted(paths[name])
    ]
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


def _walk(folder: Path, names: Sequence[str]) -> tuple[Files, list[str]]:
    """The files of the class folders, and the folders of frames; files beside the folders are ignored."""
    files, of_frames = Files(), list[str]()
    for item in sorted(os.scandir(folder), key=lambda item: item.name):
        if item.is_file() and not item.name.startswith("."):
            files.ignored.add(item.path)
    for name in names:
        for parent, inner, found in os.walk(folder / name):
            inner[:] = sorted(item for item in inner if not item.startswith("."))
            shown = sorted(file for file in found if not file.startswith("."))
            if Path(parent) != folder / name and _are_frames(shown):
                of_frames.append(parent)
                shown = [file for file in shown if frame_number(file) is None]
            for file in shown:
                files.add(os.path.join(parent, file))
    with ThreadPoolExecutor(16) as pool:
        files.look(pool)
    return files, of_frames


def _are_frames(names: Sequence[str]) -> bool:
    """Whether the files of a folder are the frames of one video: there are numbered images and no videos."""
    return any(frame_number(name) is not None for name in names) and not any(map(is_called_video, names))


def _labels(folder: Path, names: Sequence[str], classes: Sequence[str] | None) -> Mapping[str, int]:
    if classes is None:
        return {name: label for label, name in enumerate(names)}
    exact = {name: label for label, name in enumerate(classes)}
    similar = class_ids(classes)
    labels = {name: exact.get(name, similar.get(normalised(name), -1)) for name in names}
    unknown = [name for name in names if labels[name] < 0]
    if unknown:
        shown = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise ValueError(f"{folder}: {len(unknown)} of {len(names)} folders are no classes of --classes: {shown}")
    if len(set(labels.values())) < len(labels):
        same = sorted(name for name in names if list(labels.values()).count(labels[name]) > 1)
        raise ValueError(f"{folder}: got folders of the same class: {', '.join(same[:4])}")
    return labels


def check_listable(entries: Sequence[Entry]) -> None:
    """Fails if our list cannot hold what another one says.

    Raises:
        ValueError: folders of frames.
    """
    for entry in entries:
        if entry.num_frames is not None:
            raise ValueError(f"{entry.video}: got a folder of frames, expected videos; train with this list as it is")


def listed_names(entries: Sequence[Entry], *, root: Path) -> list[str]:
    """The path of each entry below the root; absolute for those outside of it."""
    base = os.path.abspath(root)
    places = [os.path.relpath(entry.path, base) for entry in entries]
    return [
        os.path.abspath(entry.path) if place.split(os.sep)[0] == os.pardir else place
        for entry, place in zip(entries, places, strict=True)
    ]


def format_list(names: Sequence[str], entries: Sequence[Entry]) -> str:
    """The lines of a list: the path, then the labels, with spaces between them; of labels with times, Charades' form.

    Raises:
        ValueError: a path with a line break, or one that Charades' form has no place for.
    """
    if any(isinstance(label, TimedLabel) for entry in entries for label in items_of(entry.label)):
        return format_charades([_charades_entry(name, entry) for name, entry in zip(names, entries, strict=True)])
    return "".join(f"{_line(name, entry)}\n" for name, entry in zip(names, entries, strict=True))


def _line(name: str, entry: Entry) -> str:
    if "\n" in name or "\r" in name:
        raise ValueError(f"got the path {name!r}, expected one without line breaks: rename it")
    line = split_line(f"{name} 0".strip(), 1)
    if (line.path, line.numbers) != (name, (0,)):  # It would be read otherwise.
        name = '"' + name.replace('"', '""') + '"'
    return " ".join([name, *map(str, items_of(entry.label))])


def _charades_entry(name: str, entry: Entry) -> Entry:
    """With the id that its path stands for."""
    stem = name.removesuffix(".mp4")
    if os.sep in stem or stem != entry.video:
        raise ValueError(f"got {entry.video} in {name!r}, expected {entry.video}.mp4 or the folder {entry.video}")
    return entry
