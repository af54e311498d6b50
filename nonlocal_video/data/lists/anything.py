"""Videos however they are given: a file, a folder, a list, or several of these."""

import os
import warnings
from collections.abc import Callable, Sequence

from nonlocal_video.data.decoders.frames import FRAME_FORMATS
from nonlocal_video.data.lists.kinds import Files, Ignored, is_called_video
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.lists.text import is_text
from nonlocal_video.data.lists.videofiles import walk_videos
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
