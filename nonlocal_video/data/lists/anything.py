"""Videos however they are given: a file, a folder, a list, or several of these."""

import codecs
import os
import warnings
from collections.abc import Callable, Sequence

from nonlocal_video.data.decoders.frames import FRAME_FORMATS, frame_number
from nonlocal_video.data.lists.kinds import Ignored, is_called_video
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.lists.videofiles import find_videos
from nonlocal_video.types import Entry

Videos = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def find_entries(
    videos: Videos,
    *,
    root: str | None,
    classes: Sequence[str] | None = None,
    form: str = "auto",
    note: Callable[[str], object] = warnings.warn,
) -> list[Entry]:
    """The videos, without labels. One that is not there is found when it is decoded.

    A folder stands for all videos below it, known by their extensions or by their content; where there is none, for the
    folders of frames below it, or itself. A file is a list if it is text and does not bear the extension of a video.

    Args:
        root: the folder that relative paths of lists start from; the working directory if None.
        classes: their names, as official lists of Kinetics have them.
        form: of lists: one of `FORMATS` in manifest.py.
        note: is told which files of a folder are no videos.

    Raises:
        ValueError: a folder without videos, or a bad list.
    """
    several = [videos] if isinstance(videos, str | os.PathLike) else videos
    entries = list[Entry]()
    for path in [os.fspath(one) for one in several]:
        if os.path.isdir(path):
            found, ignored = _below(path)
            if ignored:
                note(f"{path}: other files, ignored: {ignored}")
            entries += [Entry(one, one, None) for one in found]
        elif _is_list(path):
            listed = read_list(path, root=root, num_classes=None, classes=classes, form=form)
            entries += [entry._replace(label=None) for entry in listed]
        else:
            entries.append(Entry(path, path, None))
    return entries


def _below(folder: str) -> tuple[list[str], Ignored]:
    """The videos below a folder, and the files that are none."""
    files = find_videos(folder)
    videos = [path for found in (files.by_stem, files.replacements) for paths in found.values() for path in paths]
    if videos:
        return sorted(videos), files.ignored
    of_frames, ignored = list[str](), Ignored()
    for parent, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        numbers = [frame_number(name) for name in names]
        if any(number is not None for number in numbers):
            of_frames.append(parent)
        for name, number in zip(names, numbers, strict=True):
            if number is None and not name.startswith("."):
                ignored.add(os.path.join(parent, name))
    if not of_frames:
        others = f" among the {ignored}" if ignored else ""
        kinds = ", ".join(FRAME_FORMATS)
        raise ValueError(f"{folder}: got no videos{others}, expected some, or folders of numbered frames ({kinds})")
    return sorted(of_frames), ignored


def _is_list(path: str) -> bool:
    if is_called_video(path) or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        head = file.read(4096)
    return head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" not in head
