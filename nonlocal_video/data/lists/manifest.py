"""Lists of videos in every form that people have, and videos however they are given: one list of entries comes out."""

import hashlib
import os
import shlex
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

from nonlocal_video.data.decoders.frames import FRAME_FORMATS
from nonlocal_video.data.lists import pathlist
from nonlocal_video.data.lists.charades import is_charades, is_frame_list, read_charades, read_frame_list
from nonlocal_video.data.lists.classes import settle_labels
from nonlocal_video.data.lists.hmdb51 import is_split_file
from nonlocal_video.data.lists.kinds import Files, Ignored, is_called_video
from nonlocal_video.data.lists.kinetics import is_kinetics, read_kinetics
from nonlocal_video.data.lists.labels import numbers_of
from nonlocal_video.data.lists.pathlist import read_path_list
from nonlocal_video.data.lists.something import is_something, read_something
from nonlocal_video.data.lists.text import is_text, open_text
from nonlocal_video.data.lists.videofiles import walk_videos, with_replacements
from nonlocal_video.types import Entry

Videos = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
FORMATS = ("auto", *pathlist.FORMS, "kinetics", "charades", "charades_frames", "something")


def read_list(
    path: str,
    *,
    root: str | None,
    num_classes: int | None,
    classes: Sequence[str] | None = None,
    form: str = "auto",
    labels: Literal["any", "one", "several"] = "any",
    required: bool = True,
) -> list[Entry]:
    """The entries of a list of videos.

    Args:
        root: the folder that relative paths start from; the working directory if None.
        num_classes: labels go from 0 to this; any if None.
        classes: their names, which the official lists of Kinetics and Something-Something use instead of labels. With
            them, lists of paths may number the classes from 1, or have no labels, where the videos' folders prove them.
        form: one of `FORMATS`; found from the content if "auto".
        labels: "one" refuses videos with several, or with times; "several" makes several of each. Both refuse videos
            without any; of several, a video may have none if another has some.
        required: False takes a list without any label, too.

    Raises:
        ValueError: no such list or root, an empty list, a split file of HMDB51, a bad line, lines that could be of two
            forms, a label out of range, a video listed twice.
    """
    check_sources(path, root=root)
    if form not in FORMATS:
        raise ValueError(f"data.format: got {form!r}, expected one of {', '.join(FORMATS)}")
    form = _detect(path) if form == "auto" else form
    numbered = _read(path, form, root=root, num_classes=num_classes, classes=classes)
    if not numbered:
        raise ValueError(f"{path}: the list is empty")
    if labels != "any" and all(entry.label == () for _, entry in numbered):  # Hidden test videos do show something.
        numbered = [(line, entry._replace(label=None)) for line, entry in numbered]
    _check_labels(path, numbered, num_classes)
    _check_distinct(path, numbered)
    if labels != "any" and (required or any(entry.label is not None for _, entry in numbered)):
        _check_labelled(path, numbered, several=labels == "several")
    entries = [entry for _, entry in numbered]
    if labels == "several":
        entries = [entry._replace(label=(entry.label,)) if isinstance(entry.label, int) else entry for entry in entries]
    return entries if form in ("kinetics", "something") else with_replacements(entries, root)


def check_sources(path: str, *, root: str | None, setting: str | None = None) -> None:
    """Makes sure that there are a list, which `setting` may name, and a root; raises ValueError otherwise."""
    if root is not None and not os.path.isdir(root) and (os.path.exists(path) or path.startswith(root)):
        made = "; tools/make_miniature.py makes the miniature" if "miniature" in os.path.basename(root) else ""
        raise ValueError(f"data.root: got {root}, expected an existing folder{made}")
    where, other = (path, "") if setting is None else (f"{setting}: {path}", f"; {setting}=FILE names another one")
    if os.path.isdir(path):
        raise ValueError(f"{where}: got a folder, expected a list of videos (tools/prepare_data.py makes one of it)")
    if not os.path.isfile(path):
        raise ValueError(f"{where}: no such list of videos{other}")


def _detect(path: str) -> str:
    """The form of a list that its beginning tells; "auto" for the others."""
    if is_split_file(path):
        folder = shlex.quote(os.path.dirname(path) or ".")
        raise ValueError(
            f"{path}: its numbers say train or test, as those of HMDB51's splits, and not the class; make lists of its "
            f"folder: python tools/prepare_data.py {folder} --root VIDEOS --out lists/hmdb51 --name hmdb51"
        )
    with open_text(path) as file:
        head = file.read(4096)
    if is_something(head):
        return "something"
    header = head.partition("\n")[0].strip()
    tells = {"charades_frames": is_frame_list, "charades": is_charades, "kinetics": is_kinetics}
    return next((form for form in tells if tells[form](header)), "auto")


def _read(
    path: str, form: str, *, root: str | None, num_classes: int | None, classes: Sequence[str] | None
) -> list[tuple[int, Entry]]:
    """The entries with the numbers of their lines."""
    if form == "kinetics":
        return read_kinetics(path, root=root, num_classes=num_classes, classes=classes)
    if form == "something":
        return read_something(path, root=root, classes=classes)
    if form in ("charades", "charades_frames"):
        return (read_charades if form == "charades" else read_frame_list)(path, root=root)
    numbered = read_path_list(path, root=root, num_classes=num_classes, form=form)
    return numbered if classes is None else settle_labels(numbered, classes)


def _check_labels(path: str, numbered: Sequence[tuple[int, Entry]], num_classes: int | None) -> None:
    """Makes sure that the labels are in range."""
    expected = f"0 to {num_classes - 1}" if num_classes is not None else "0 or more"
    labels = [(line, label) for line, entry in numbered for label in numbers_of(entry.label)]
    for line, label in labels:
        if label < 0 or (num_classes is not None and label >= num_classes):
            numbers = {number for _, number in labels}
            if (min(numbers), max(numbers)) == (1, num_classes):
                expected += (
                    "; the labels go from 1: with data.classes=FILE, the names of the classes, these are read where "
                    "each video is listed in the folder of its class (CLASS/a.mp4); else write them from 0"
                )
            raise ValueError(f"{path}:{line}: got label {label}, expected {expected}")


def _check_distinct(path: str, numbered: Sequence[tuple[int, Entry]]) -> None:
    """Makes sure that no video is counted twice."""
    before = dict[str, tuple[int, Entry]]()
    for line, entry in numbered:
        first, other = before.setdefault(os.path.normpath(entry.video), (line, entry))
        if first != line:
            labels = "" if other.label == entry.label else f", with the labels {other.label} and {entry.label}"
            expected = f"each video once: it is in line {first}, too{labels}"
            raise ValueError(f"{path}:{line}: got {entry.video} again, expected {expected}")


def _check_labelled(path: str, numbered: Sequence[tuple[int, Entry]], *, several: bool) -> None:
    for line, entry in numbered:
        if entry.label is None:
            raise ValueError(
                f"{path}:{line}: got {entry.video!r}, expected a path and a label, such as 'videos/a.mp4 3': without "
                "labels nothing can be trained, and a list can be tested if no video of it has one"
            )
        if not several and not isinstance(entry.label, int):
            raise ValueError(
                f"{path}:{line}: got several labels, or labels with times, expected one label a video; for several set "
                "data.labels=clip (those that a clip shows) or data.labels=video (all of its video)"
            )


def hash_entries(entries: Sequence[Entry]) -> str:
    """A name of 12 characters for a list of videos, wherever their root is."""
    lines = "".join(f"{entry.video} {entry.label}\n" for entry in entries)
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()[:12]


def find_entries(
    videos: Videos,
    *,
    root: str | None,
    classes: Sequence[str] | None = None,
    form: str = "auto",
    note: Callable[[str], object] = warnings.warn,
) -> list[Entry]:
    """The videos, without labels; whether they are there is not asked.

    A folder stands for all videos below it, known by their extensions or by their content; where there is none, for the
    folders of frames below it, or itself. A file is a list if it is text and does not bear the extension of a video.

    Args:
        root, classes, form: for lists, as in `read_list`.
        note: is told which files of a folder are no videos.

    Raises:
        ValueError: a folder without videos, or a bad list.
    """
    entries = list[Entry]()
    for path in [os.fspath(path) for path in ([videos] if isinstance(videos, str | os.PathLike) else videos)]:
        if os.path.isdir(path):
            found, ignored = _below(path)
            if ignored:
                note(f"{path}: other files, ignored: {ignored}")
            entries += [Entry(video, video, None) for video in found]
        elif os.path.isfile(path) and not is_called_video(path) and is_text(path):
            listed = read_list(path, root=root, num_classes=None, classes=classes, form=form)
            entries += [entry._replace(label=None) for entry in listed]
        else:
            entries.append(Entry(path, path, None))
    return entries


def _below(folder: str) -> tuple[list[str], Ignored]:
    """The videos below a folder, or else its folders of frames, and the files that are neither."""
    files = walk_videos(folder)
    if files.videos:
        return sorted(files.videos), files.ignored
    files = Files()
    of_frames = files.add_below(folder, of_frames=True)
    files.look()
    if not of_frames:
        others = f" among the {files.ignored}" if files.ignored else ""
        kinds = ", ".join(FRAME_FORMATS)
        raise ValueError(f"{folder}: got no videos{others}, expected some, or folders of numbered frames ({kinds})")
    return sorted(of_frames), files.ignored
