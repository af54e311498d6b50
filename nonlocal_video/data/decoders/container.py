"""Video files opened as local files, and as nothing else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av

AvError = av.FFmpegError


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
    """The stream to read, decoded on one thread, since the loader's processes share the cores.

    Raises:
        ValueError: there is none, or no decoder for it.
    """
    stream = container.streams.best("video")
    if stream is None:
        raise ValueError("no video stream")
    if stream.codec_context is None:
        raise ValueError("no decoder for the video stream")
    stream.codec_context.thread_count = 1
    return stream
