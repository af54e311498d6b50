"""Which files are videos: by the extension, or by the content where that does not tell."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nonlocal_video.data.decoders.container import is_video
from nonlocal_video.data.decoders.frames import FRAME_FORMATS, frame_number
from nonlocal_video.data.lists.pathlist import VIDEO_EXTENSIONS

_OTHERS = {
    "pictures": "tif tiff ico svg psd heic heif avif jp2 jxl raw dng exr thm",
    "sound": "wav mp3 m4a aac flac opus oga wma aif aiff ac3 mka mid amr",
    "text": "txt md rst csv tsv json jsonl xml yaml yml toml ini cfg conf log html htm css tex bib lst list url",
    "documents": "pdf doc docx xls xlsx ppt pptx odt ods",
    "programs": "js py pyc ipynb sh bat c cpp h m mat r exe dll so o lnk",
    "subtitles and notes beside videos": "srt vtt ass ssa sub idx lrc nfo description info m3u m3u8 pls edl",
    "arrays and networks": "npy npz pkl pickle pt pth ckpt safetensors onnx h5 hdf5",
    "databases": "parquet arrow feather tfrecord lmdb mdb db sqlite",
    "archives and checksums": "zip tar gz tgz bz2 xz zst 7z rar lz4 md5 sha1 sha256 torrent",
    "unfinished, by downloaders or by us": "part partial ytdl tmp temp crdownload download aria2 unfinished lock swp",
}
OTHER_EXTENSIONS = frozenset([*FRAME_FORMATS, *" ".join(_OTHERS.values()).split()])
"""Extensions of files that are not looked into: they are no videos. A part of one would look like a whole one."""

_VIDEOS = frozenset(VIDEO_EXTENSIONS)
_NAMES_SHOWN = 3
_Answer = TypeVar("_Answer")


def ask_disk(question: Callable[[str], _Answer], paths: Sequence[str]) -> list[tuple[str, _Answer]]:
    """Each path with its answer; on a network disk every question waits, so many wait together."""
    with ThreadPoolExecutor(16) as pool:
        return list(zip(paths, pool.map(question, paths), strict=True))


def extension_of(path: str) -> str:
    """`a/B.MP4` -> mp4"""
    return os.path.splitext(path)[1][1:].lower()


def is_called_video(path: str) -> bool:
    """Whether a file has the extension of a video, and needs no look."""
    return extension_of(path) in _VIDEOS


class Ignored:
    """Files that were taken for no videos: how many by their extensions, and the first names."""

    def __init__(self) -> None:
        self.extensions, self.first = Counter[str](), list[str]()

    def add(self, path: str) -> None:
        self.extensions[f".{extension_of(path)}" if extension_of(path) else "without extension"] += 1
        if len(self.first) < _NAMES_SHOWN:
            self.first.append(path)

    def __len__(self) -> int:
        return self.extensions.total()

    def __str__(self) -> str:
        """`8 (5 .txt, 3 without extension: a/x.txt, a/y.txt, a/LICENSE, ...)`"""
        kinds = [f"{count} {name}" for name, count in self.extensions.most_common()]
        names = self.first + (["..."] if len(self) > len(self.first) else [])
        return f"{len(self)} ({', '.join(kinds)}: {', '.join(names)})"


class Files:
    """Files as a walk finds them, told apart by their names at once and by their content in `look`."""

    def __init__(self) -> None:
        self.videos, self._unknown, self.ignored = list[str](), list[str](), Ignored()

    def add(self, path: str) -> None:
        """Takes a file; its name is forgotten if it is no video, as those of a million frames are not."""
        if is_called_video(path):
            self.videos.append(path)
        elif extension_of(path) in OTHER_EXTENSIONS:
            self.ignored.add(path)
        else:
            self._unknown.append(path)

    def add_below(self, folder: str, *, of_frames: bool) -> list[str]:
        """Takes all files below a folder but hidden ones and the frames of folders of frames, which it returns.

        Such a folder holds numbered images and no videos; `folder` itself is one only if `of_frames`.
        """
        found = []
        for parent, inner, names in os.walk(folder):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            shown = sorted(name for name in names if not name.startswith("."))
            others = [name for name in shown if frame_number(name) is None]
            if (of_frames or parent != folder) and len(others) < len(shown) and not any(map(is_called_video, shown)):
                found.append(parent)
                shown = others
            for name in shown:
                self.add(os.path.join(parent, name))
        return found

    def extend(self, other: "Files") -> None:
        """Takes all the files of another walk."""
        self.videos += other.videos
        self._unknown += other._unknown
        self.ignored.extensions += other.ignored.extensions
        self.ignored.first = (self.ignored.first + other.ignored.first)[:_NAMES_SHOWN]

    def look(self) -> None:
        """Looks into the files whose names do not tell."""
        for path, shows_video in ask_disk(is_video, self._unknown):
            (self.videos.append if shows_video else self.ignored.add)(path)
        self._unknown.clear()
