"""Another library for the files that it reads right, and PyAV for the others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from nonlocal_video.data.decoders.container import open_container, video_stream
from nonlocal_video.data.decoders.memory import Index
from nonlocal_video.data.decoders.orientation import orientation
from nonlocal_video.data.decoders.pyav import open_pyav
from nonlocal_video.data.decoders.source import Deadline, Source

CHUNK_BYTES = 2**26
"""Frames that a library gives at a time."""

Frames = Callable[[list[int]], Iterator[np.ndarray]]
"""The frames of sorted indices, as another library gives them."""


@contextmanager
def open_or_pyav(
    path: str,
    index: Index,
    deadline: Deadline,
    *,
    misread: bool,
    reader: Callable[[], Frames | None],
    error: type[Exception],
) -> Iterator[Source]:
    """A file for a library that may fail on it.

    Args:
        misread: whether the library is known to misread such files.
        reader: opens the file with the library; gives None if it sees another number of frames than the index.
        error: what the library raises. PyAV then reads the rest: it tells damaged files from those that the library
            does not take.

    Raises:
        ValueError, OSError, av.FFmpegError: the file is damaged or no video.
    """
    frames = None if misread or _is_mirrored(path) else _opened(reader, error)
    if frames is None:
        with open_pyav(path, deadline) as source:
            yield source
        return

    def read(wanted: list[int]) -> Iterator[np.ndarray]:
        done = 0
        try:
            for frame in frames(wanted):
                deadline.check()
                yield frame
                done += 1
        except error:
            with open_pyav(path, deadline) as source:
                yield from source.read(wanted[done:])

    yield Source(index.seconds, read)


def _opened(reader: Callable[[], Frames | None], error: type[Exception]) -> Frames | None:
    try:
        return reader()
    except error:
        return None


def _is_mirrored(path: str) -> bool:
    """Whether a file says that its frames are to be mirrored: libraries turn them only."""
    with open_container(path) as container:
        frame = next(container.decode(video_stream(container)), None)
        return frame is not None and sum(orientation(frame)) % 2 == 1
