"""Videos of a data set on a disk, found by one walk, whatever the folders are called."""

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Sequence

from nonlocal_video.data.lists.classes import normalised
from nonlocal_video.data.lists.kinds import Files, ask_disk, is_called_video
from nonlocal_video.types import Entry

REPLACEMENT = "replacement"
"""The folder of the repaired videos of Kinetics-400, as the Common Visual Data Foundation's scripts leave it."""

_CLIP = re.compile(r"(.{11})_(\d{6}_\d{6})", re.DOTALL)
_SPLITS = ({"train", "training"}, {"val", "valid", "validate", "validation"}, {"test", "testing", "holdout"})


def clip_name(stem: str) -> tuple[str, str | None]:
    """`ID_000012_000022` -> ID and times; anything else is an id without times."""
    found = _CLIP.fullmatch(stem)
    return (found[1], found[2]) if found else (stem, None)


def stem_of(path: str) -> str:
    """The name of a file without the extension of a video; that of a clip of Kinetics without any."""
    name = os.path.basename(path.rstrip("/"))
    stem = os.path.splitext(name)[0]
    return stem if is_called_video(name) or _CLIP.fullmatch(stem) else name


def walk_videos(root: str) -> Files:
    """All files below a folder; folders of frames that are called as clips of Kinetics are among the videos.

    Links are followed, and no folder is entered twice. Hidden folders are not entered, hidden files not counted.
    """
    files, level, links = Files(), [_without_slash(root)], list[str]()
    entered = set[tuple[int, int]]()
    while level or links:
        if not level:  # Links come last, so that none takes the place of what it points to.
            level, links = links, []
        new = []
        for folder, status in ask_disk(os.stat, level):
            if (status.st_dev, status.st_ino) not in entered:
                entered.add((status.st_dev, status.st_ino))
                new.append(folder)
        children = list[tuple[str, bool]]()
        for _, (found, folders) in ask_disk(_scan, new):
            files.extend(found)
            children += folders
        files.look()
        level = sorted(path for path, is_link in children if not is_link)
        links += sorted(path for path, is_link in children if is_link)
    return files


def _scan(folder: str) -> tuple[Files, list[tuple[str, bool]]]:
    """The files in a folder, and the folders to enter next, with whether they are links."""
    files, folders = Files(), []
    try:
        with os.scandir(folder) as items:
            for item in items:
                if item.name.startswith("."):
                    continue
                if item.is_file():
                    files.add(item.path)
                elif item.is_dir() and _CLIP.fullmatch(item.name):
                    files.videos.append(item.path)
                elif item.is_dir():  # Neither, where a link leads nowhere.
                    folders.append((item.path, item.is_symlink()))
    except PermissionError as error:
        warnings.warn(f"{folder} cannot be read, its videos count as missing: {error}", stacklevel=2)
    return files, folders


class VideoIndex:
    """All videos below `root`, or below its subfolder `below`, to be found by their names without extensions."""

    def __init__(self, root: str, *, below: str = "") -> None:
        self.root = _without_slash(root)
        self.by_stem, self.replacements = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
        for path in walk_videos(os.path.join(self.root, below)).videos:
            if REPLACEMENT in self._folders(path):
                self.replacements[clip_name(stem_of(path))[0]].append(path)
            else:
                self.by_stem[stem_of(path)].append(path)

    def _folders(self, path: str) -> list[str]:
        return path[len(self.root) :].split(os.sep)[:-1]

    def replacement(self, stem: str) -> str | None:
        """The repaired file of a clip; a file whose name tells times is only that of a clip with the same times."""
        video, times = clip_name(stem)
        paths = sorted(self.replacements.get(video, ()))
        return next((path for path in paths if times is None or clip_name(stem_of(path))[1] in (None, times)), None)

    def find(self, stem: str, *, split: str = "", name: str = "") -> str | None:
        """The file of a clip; of several, the one below the folders of its split and of its class, `name`."""
        paths = self.by_stem.get(stem) or self.by_stem.get(clip_name(stem)[0]) or []
        if len(paths) > 1:
            paths = sorted(paths, key=lambda path: self._distance(path, split=split, name=name))
        return self.replacement(stem) or next(iter(paths), None)

    def _distance(self, path: str, *, split: str, name: str) -> tuple[int, str]:
        of_split = next((words for words in _SPLITS if words & _words_of(split)), set[str]())
        in_split = any(of_split & _words_of(folder) for folder in self._folders(path))
        in_class = any(normalised(folder) == normalised(name) for folder in self._folders(path))
        return -in_split - in_class, path


def _words_of(text: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", text.lower()))


def _without_slash(folder: str) -> str:
    return folder.rstrip("/") or "/"


def with_extension(paths: Sequence[str], extension: str) -> dict[str, str]:
    """The place of each video: `path` where that is a folder of frames, else the file with the extension."""
    return {path: path if is_folder else path + extension for path, is_folder in ask_disk(os.path.isdir, paths)}


def with_replacements(entries: Sequence[Entry], root: str | None) -> list[Entry]:
    """The entries with repaired files where `root` has a folder of them."""
    if root is None or not os.path.isdir(os.path.join(root, REPLACEMENT)):
        return list(entries)
    index = VideoIndex(root, below=REPLACEMENT)
    return [entry._replace(path=index.replacement(stem_of(entry.path)) or entry.path) for entry in entries]
