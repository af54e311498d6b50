"""Video files opened as local files and as nothing else, and what can be said of them before their frames are read."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av
import numpy as np
from av.format import Flags
from av.sidedata.sidedata import Type
from av.stream import Disposition

from nonlocal_video.data.decoders.source import is_folder

AvError = av.FFmpegError
READ_ERRORS = (AvError, RuntimeError, OSError, ValueError, IndexError, MemoryError)
"""Errors that the libraries raise for files that they cannot read."""
_HEAD_BYTES = 4096
_TEXT_AS_PICTURES = ("tty", "bin", "xbin", "idf", "adf")
"""Formats in which libav draws text: it takes almost any text for one of them."""


@contextmanager
def open_container(path: str) -> Iterator[Any]:
    """The file at this path, for PyAV; whatever the file says, nothing else is opened.

    A name such as `cam1:12.mp4` is no protocol, and playlists that are called .mp4 get nothing: FFmpeg reads the
    file through us, and may use no protocol for another one.

    Raises:
        ValueError, OSError, av.FFmpegError: there is no such file, it is empty, or it holds no video.
    """
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise ValueError("the file is empty")
        with av.open(file, options={"protocol_whitelist": "none"}) as container:
            yield container


def video_stream(container: Any) -> Any:
    """The stream to read, decoded on one thread, since the loader's processes share the cores; else a ValueError."""
    stream = container.streams.best("video")
    if stream is None:
        raise ValueError("no video stream")
    if stream.codec_context is None:
        raise ValueError("no decoder for the video stream")
    stream.codec_context.thread_count = 1
    return stream


def is_video(path: str) -> bool:
    """Whether a file is a container with moving pictures that can be decoded.

    No name and no link within the file is followed. Pictures, sound with a picture of its cover, and text are no
    videos. Neither are streams without a container (raw H.264, MPEG-1), since almost any bytes can look like one: they
    are known by their extensions. A file that cannot be read is no video either.
    """
    try:
        if is_folder(path):
            return False
        with open(path, "rb") as file:
            if b"\0" not in file.read(_HEAD_BYTES):
                return False  # Text, also that of a playlist.
        with open_container(path) as container:
            name, flags = container.format.name, container.format.flags
            if name.endswith("_pipe") or name in _TEXT_AS_PICTURES or flags & Flags.no_timestamps.value:
                return False
            return any(
                stream.codec_context is not None  # None where there is no decoder.
                and stream.codec_context.width > 0
                and stream.frames != 1  # A single picture, as AVIF and still GIF are.
                and not stream.disposition & Disposition.attached_pic
                for stream in container.streams.video
            )
    except (AvError, OSError, ValueError, IndexError):
        return False


def orientation(frame: Any) -> tuple[bool, bool, bool]:
    """Whether a frame (PyAV) has to be transposed, then mirrored upside down, then left to right, to stand as shown.

    The display matrix of a file, which frames keep, takes (x, y) to (a x + c y, b x + d y). What is between the eight
    orientations counts as the nearest of them.
    """
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return False, False, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    if abs(a * d) >= abs(b * c):
        return False, d < 0, a < 0
    return True, b < 0, c < 0


def upright(image: np.ndarray, turns: tuple[bool, bool, bool]) -> np.ndarray:
    """(H, W, ...) turned as `orientation` says, contiguous."""
    if not any(turns):
        return image
    transposed, upside_down, mirrored = turns
    image = image.swapaxes(0, 1) if transposed else image
    return np.ascontiguousarray(image[:: -1 if upside_down else 1, :: -1 if mirrored else 1])
