"""Which files are videos: by the extension, or by the content where that does not tell."""

import os
from collections import Counter
from concurrent.futures import Executor

from nonlocal_video.data.decoders.container import is_video
from nonlocal_video.data.decoders.frames import FRAME_FORMATS
from nonlocal_video.data.lists.pathlist import VIDEO_EXTENSIONS

OTHER_EXTENSIONS = frozenset(
    [
        *FRAME_FORMATS,
        # Pictures
        *("tif", "tiff", "ico", "svg", "psd", "heic", "heif", "avif", "jp2", "jxl", "raw", "dng", "exr", "thm"),
        # Sound
        *("wav", "mp3", "m4a", "aac", "flac", "opus", "oga", "wma", "aif", "aiff", "ac3", "mka", "mid", "amr"),
        # Text, tables, programs
        *("txt", "md", "rst", "csv", "tsv", "json", "jsonl", "xml", "yaml", "yml", "toml", "ini", "cfg", "conf"),
        *("log", "html", "htm", "css", "js", "py", "pyc", "ipynb", "sh", "bat", "c", "cpp", "h", "m", "mat", "r"),
        *("pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "odt", "ods", "tex", "bib", "lst", "list", "url"),
        # Subtitles and notes beside videos
        *("srt", "vtt", "ass", "ssa", "sub", "idx", "lrc", "nfo", "description", "info", "m3u", "m3u8", "pls", "edl"),
        # Arrays and networks
        *("npy", "npz", "pkl", "pickle", "pt", "pth", "ckpt", "safetensors", "onnx", "h5", "hdf5", "parquet"),
        *("arrow", "feather", "tfrecord", "lmdb", "mdb", "db", "sqlite"),
        # Archives and checksums
        *("zip", "tar", "gz", "tgz", "bz2", "xz", "zst", "7z", "rar", "lz4", "md5", "sha1", "sha256", "torrent"),
        # What is not finished, of downloaders and of ours
        *("part", "partial", "ytdl", "tmp", "temp", "crdownload", "download", "aria2", "unfinished", "lock", "swp"),
        # Programs
        *("exe", "dll", "so", "o", "lnk"),
    ]
)
"""Of files that are not looked at: they are no videos. A part of one would look like a whole one."""

_VIDEOS = frozenset(VIDEO_EXTENSIONS)
_NAMES_SHOWN = 3


def extension_of(path: str) -> str:
    """`a/B.MP4` -> mp4"""
    return os.path.splitext(path)[1][1:].lower()


def is_called_video(path: str) -> bool:
    """Whether a file has the extension of a video, and needs no look."""
    return extension_of(path) in _VIDEOS


class Ignored:
    """Files that were taken for no videos: how many by their extensions, and the first names."""

    def __init__(self) -> None:
        self.extensions = Counter[str]()
        self.first = list[str]()

    def add(self, path: str) -> None:
        """Counts one more."""
        self.extensions[f".{extension_of(path)}" if extension_of(path) else "without extension"] += 1
        if len(self.first) < _NAMES_SHOWN:
            self.first.append(path)

    def extend(self, other: "Ignored") -> None:
        """Counts those of another one, too."""
        self.extensions += other.extensions
        self.first = (self.first + other.first)[:_NAMES_SHOWN]

    def __len__(self) -> int:
        return self.extensions.total()

    def __str__(self) -> str:
        """As in `8 (5 .txt, 3 without extension: a/x.txt, a/y.txt, a/LICENSE, ...)`."""
        kinds = [f"{count} {name}" for name, count in self.extensions.most_common()]
        names = self.first + (["..."] if len(self) > len(self.first) else [])
        return f"{len(self)} ({', '.join(kinds)}: {', '.join(names)})"


class Files:
    """Files as a walk finds them, told apart by their names at once and by their content at the end of it."""

    def __init__(self) -> None:
        self.videos, self.ignored = list[str](), Ignored()
        self._unknown = list[str]()

    def add(self, path: str) -> None:
        """Another file; its name is forgotten if it is no video, as those of a million frames are not."""
        if is_called_video(path):
            self.videos.append(path)
        elif extension_of(path) in OTHER_EXTENSIONS:
            self.ignored.add(path)
        else:
            self._unknown.append(path)

    def extend(self, other: "Files") -> None:
        """All the files of another walk."""
        self.videos += other.videos
        self.ignored.extend(other.ignored)
        self._unknown += other._unknown

    def look(self, pool: Executor) -> None:
        """Looks into the files whose names do not tell; on a network disk many wait together."""
        for path, is_one in zip(self._unknown, pool.map(is_video, self._unknown), strict=True):
            if is_one:
                self.videos.append(path)
            else:
                self.ignored.add(path)
        self._unknown.clear()
