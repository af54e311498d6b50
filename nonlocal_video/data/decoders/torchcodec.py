"""torchcodec in its exact mode, if it is installed beside FFmpeg's libraries; what it misreads goes to PyAV."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nonlocal_video.data.decoders.decord import CHUNK_BYTES
from nonlocal_video.data.decoders.pyav import Index, open_index, open_pyav
from nonlocal_video.data.decoders.source import Deadline, Source


def import_torchcodec() -> Any:
    """Raises: ImportError, OSError, RuntimeError: not installed, or without FFmpeg's shared libraries."""
    return importlib.import_module("torchcodec.decoders")


def misread_by_torchcodec(index: Index) -> bool:
    """Files on which torchcodec was seen to give other frames than it was asked for.

    These are MPEG-TS, AVI, and H.264 with key frames that are no IDR pictures (intra refresh).
    """
    ordinary = {"mp4", "matroska"} & set(index.container.split(","))
    return not ordinary or (index.codec == "h264" and not index.closed) or index.ticks is None


@contextmanager
def open_torchcodec(path: str, deadline: Deadline) -> Iterator[Source]:
    """Raises: ValueError, RuntimeError, OSError, av.FFmpegError: the file is damaged or no video."""
    decoders, index = import_torchcodec(), open_index(path, deadline)
    video = None
    if not misread_by_torchcodec(index):
        video = decoders.VideoDecoder(path, dimension_order="NHWC", seek_mode="exact", num_ffmpeg_threads=1)
    if video is None or len(video) != len(index.seconds):
        with open_pyav(path, deadline) as source:
            yield source
        return

    def read(wanted: list[int]) -> Iterator[np.ndarray]:
        size = max(1, CHUNK_BYTES // (video.metadata.height * video.metadata.width * 3))
        for start in range(0, len(wanted), size):
            deadline.check()
            yield from video.get_frames_at(wanted[start : start + size]).data.numpy()

    yield Source(index.seconds, read)
