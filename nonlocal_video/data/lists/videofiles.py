"""Videos of Kinetics on a disk, found by one walk, whatever the folders are called."""

import os
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from nonlocal_video.data.lists.classes import normalised
from nonlocal_video.data.lists.kinds import Files, Ignored, is_called_video
from nonlocal_video.types import Entry

REPLACEMENT = "replacement"
"""The folder of the repaired videos of Kinetics-400, as the Common Visual Data Foundation's scripts leave it."""

_CLIP = re.compile(r"(.{11})_(\d{6}_\d{6})", re.DOTALL)
_SPLITS = ({"train", "training"}, {"val", "valid", "validate", "validation"}, {"test", "testing", "holdout"})


class VideoFiles(NamedTuple):
    """Paths of videos, and of folders of frames that are called as clips of Kinetics."""

    root: str
    by_stem: dict[str, list[str]]
    replacements: dict[str, list[str]]
    """By the 11 characters of the YouTube id."""
    ignored: Ignored
    """The files that are no videos; hidden ones are not counted."""

    def replacement(self, stem: str) -> str | None:
        """The repaired file of a clip; a file whose name tells times is only that of a clip with the same times."""
        video, times = clip_name(stem)
        for path in sorted(self.replacements.get(video, ())):
            other = clip_name(stem_of(path))[1]
            if times is None or other is None or times == other:
                return path
        return None

    def find(self, stem: str, *, split: str, name: str) -> str | None:
        """The file of a clip; of several, the one below the folders of its split and its class."""
        paths = self.by_stem.get(stem) or self.by_stem.get(clip_name(stem)[0]) or []
        if len(paths) < 2:
            return self.replacement(stem) or (paths[0] if paths else None)
        return self.replacement(stem) or min(paths, key=lambda path: self._distance(path, split=split, name=name))

    def _distance(self, path: str, *, split: str, name: str) -> tuple[int, str]:
        folders = path[len(self.root) :].split(os.sep)[:-1]
        key, words = normalised(name), _split_words(split)
        in_split = any(words & set(re.split(r"[^a-z0-9]+", folder.lower())) for folder in folders)
        in_class = any(normalised(folder) == key for folder in folders)
        return -in_split - in_class, path


def clip_name(stem: str) -> tuple[str, str | None]:
    """`ID_000012_000022` -> ID and times; anything else is an id without times."""
    found = _CLIP.fullmatch(stem)
    return (found.group(1), found.group(2)) if found else (stem, None)


def stem_of(path: str) -> str:
    """The name of a file without the extension of a video; that of a clip of Kinetics without any."""
    name = os.path.basename(path.rstrip("/"))
    stem = os.path.splitext(name)[0]
    return stem if is_called_video(name) or _CLIP.fullmatch(stem) else name


def _split_words(split: str) -> set[str]:
    words = set(re.split(r"[^a-z0-9]+", split.lower()))
    return next((names for names in _SPLITS if names & words), set())


def find_videos(root: str, *, below: str = "") -> VideoFiles:
    """All videos below `root`, or below its subfolder `below`.

    Links are followed, and no folder is entered twice. Hidden folders are not entered. Files whose extension does not
    tell what they are are looked into.
    """
    files = VideoFiles(root.rstrip("/") or "/", {}, {}, Ignored())
    level, links = [os.path.join(files.root, below) if below else files.root], list[str]()
    entered = set[tuple[int, int]]()
    with ThreadPoolExecutor(16) as pool:  # Folders on a network disk wait; many wait together.
        while level or links:
            if not level:  # Links come last, so that none takes the place of what it points to.
                level, links = links, []
            new = []
            for folder in level:
                status = os.stat(folder)
                if (status.st_dev, status.st_ino) not in entered:
                    entered.add((status.st_dev, status.st_ino))
                    new.append(folder)
            scans = list(pool.map(_scan, new))
            found = Files()
            for scan in scans:
                found.extend(scan.files)
            found.look(pool)
            files.ignored.extend(found.ignored)
            for path in [*found.videos, *(clip for scan in scans for clip in scan.clips)]:
                _add(files, path)
            children = sorted(child for scan in scans for child in scan.folders)
            level = [path for is_link, path in children if not is_link]
            links += [path for is_link, path in children if is_link]
    return files


def _add(files: VideoFiles, path: str) -> None:
    stem = stem_of(path)
    if REPLACEMENT in path[len(files.root) :].split(os.sep)[:-1]:
        files.replacements.setdefault(clip_name(stem)[0], []).append(path)
    else:
        files.by_stem.setdefault(stem, []).append(path)


class _Scan(NamedTuple):
    """What is in a folder, but for hidden files and folders."""

    files: Files
    clips: list[str]
    """Folders of frames that are called as clips of Kinetics."""
    folders: list[tuple[bool, str]]
    """Those to enter: whether they are links, and their paths."""


def _scan(folder: str) -> _Scan:
    scan = _Scan(Files(), [], [])
    try:
        with os.scandir(folder) as items:
            for item in items:
                if item.name.startswith("."):
                    continue
                if item.is_file():
                    scan.files.add(item.path)
                elif item.is_dir():  # Neither, where a link leads nowhere.
                    if _CLIP.fullmatch(item.name):
                        scan.clips.append(item.path)
                    else:
                        scan.folders.append((item.is_symlink(), item.path))
    except PermissionError as error:
        warnings.warn(f"{folder} cannot be read, its videos count as missing: {error}", stacklevel=2)
    return scan


def with_replacements(entries: Sequence[Entry], root: str | None) -> list[Entry]:
    """The entries with repaired files where `root` has a folder of them."""
    if root is None or not os.path.isdir(os.path.join(root, REPLACEMENT)):
        return list(entries)
    files = find_videos(root, below=REPLACEMENT)
    return [entry._replace(path=files.replacement(stem_of(entry.path)) or entry.path) for entry in entries]
