"""What a process found out about files, for as long as they are not changed."""

import os
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

REMEMBERED_FRAMES = 2**20
"""Frames of files that a process remembers: some 50 bytes for each, so that many workers do not fill the memory."""

_Key = tuple[str, int, int]


class Index(NamedTuple):
    """The frames of a file."""

    container: str
    codec: str
    claimed: int
    """The number of frames that the container states; 0 if it states none."""
    stated_s: float | None
    """The duration that it states."""
    seconds: np.ndarray
    """(n,) when each frame is shown; NaN where nobody knows."""
    ticks: list[int] | None
    """The same in units of the stream; None where nobody knows."""
    believed: bool
    """Whether the packets tell all this, and frames bear these times; all was decoded otherwise."""
    starts: list[int]
    """Those of the times from which on a decode is exact, without what comes before; none if not believed."""
    closed: bool
    """Whether no frame leans on another beyond a key frame, which is known of H.264 and HEVC only."""


class _Memory:
    """Indices, of which those that were used last are kept."""

    def __init__(self) -> None:
        self.kept, self.num_frames = OrderedDict[_Key, Index](), 0

    def keep(self, key: _Key, index: Index) -> None:
        self.drop(key)
        self.kept[key] = index
        self.num_frames += len(index.seconds)
        while len(self.kept) > 1 and self.num_frames > REMEMBERED_FRAMES:
            self.drop(next(iter(self.kept)))

    def find(self, key: _Key) -> Index | None:
        if key in self.kept:
            self.kept.move_to_end(key)
        return self.kept.get(key)

    def drop(self, key: _Key) -> None:
        if (index := self.kept.pop(key, None)) is not None:
            self.num_frames -= len(index.seconds)


_memory = _Memory()


def remember(path: str, index: Index) -> None:
    """Keeps an index for as long as the file is not changed."""
    _memory.keep(_key(path), index)


def known(path: str) -> Index | None:
    """The index that was kept of a file."""
    return _memory.find(_key(path))


def forget(path: str) -> None:
    """Drops the index that was kept of a file."""
    _memory.drop(_key(path))


def _key(path: str) -> _Key:
    status = os.stat(path)
    return path, status.st_size, status.st_mtime_ns
