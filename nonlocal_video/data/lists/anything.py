"""Videos however they are given: a file, a folder, a list, or several of these."""

import os
from collections.abc import Sequence

from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.lists.pathlist import VIDEO_EXTENSIONS
from nonlocal_video.data.lists.videofiles import find_videos
from nonlocal_video.types import Entry

Videos = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def find_entries(
    videos: Videos, *, root: str | None, classes: Sequence[str] | None = None, form: str = "auto"
) -> list[Entry]:
    """The videos, without labels. One that is not there is found when it is decoded.

    A folder stands for all videos below it; where there is none, for the folders of JPEG frames below it, or itself. A
    file is a list if it is text and does not bear the extension of a video.

    Args:
        root: the folder that relative paths of lists start from; the working directory if None.
        classes: their names, as official lists of Kinetics have them.
        form: of lists: one of `FORMATS` in manifest.py.

    Raises:
        ValueError: a folder without videos, or a bad list.
    """
    several = [videos] if isinstance(videos, str | os.PathLike) else videos
    entries = list[Entry]()
    for path in [os.fspath(one) for one in several]:
        if os.path.isdir(path):
            entries += [Entry(found, found, None) for found in _below(path)]
        elif _is_list(path):
            listed = read_list(path, root=root, num_classes=None, classes=classes, form=form)
            entries += [entry._replace(label=None) for entry in listed]
        else:
            entries.append(Entry(path, path, None))
    return entries


def _below(folder: str) -> list[str]:
    files = find_videos(folder)
    videos = [path for found in (files.by_stem, files.replacements) for paths in found.values() for path in paths]
    if videos:
        return sorted(videos)
    of_frames = [parent for parent, _, names in os.walk(folder) if any(map(_is_jpeg, names))]
    if not of_frames:
        raise ValueError(f"{folder}: got no videos, expected {', '.join(VIDEO_EXTENSIONS)}, or folders of JPEG frames")
    return sorted(of_frames)


def _is_jpeg(name: str) -> bool:
    return name.lower().endswith((".jpg", ".jpeg"))


def _is_list(path: str) -> bool:
    if os.path.splitext(path)[1][1:].lower() in VIDEO_EXTENSIONS or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return b"\0" not in file.read(4096)
