"""torchcodec in its exact mode, if it is installed beside FFmpeg's libraries; what it misreads goes to PyAV."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nonlocal_video.data.decoders.fallback import CHUNK_BYTES, Frames, open_or_pyav
from nonlocal_video.data.decoders.index import open_index
from nonlocal_video.data.decoders.memory import Index
from nonlocal_video.data.decoders.source import Deadline, Source


def import_torchcodec() -> Any:
    """Raises: ImportError, OSError, RuntimeError: not installed, or without FFmpeg's shared libraries."""
    return importlib.import_module("torchcodec.decoders")


def misread_by_torchcodec(index: Index) -> bool:
    """Files on which torchcodec was seen to give other frames than it was asked for.

    These are MPEG-TS, AVI, H.264 with key frames that are no IDR pictures (intra refresh), and MPEG-4 by XviD.
    """
    return not index.starts or (index.codec in ("h264", "mpeg4") and not index.closed)


@contextmanager
def open_torchcodec(path: str, deadline: Deadline) -> Iterator[Source]:
    """Raises: ValueError, OSError, av.FFmpegError: the file is damaged or no video."""
    decoders, index = import_torchcodec(), open_index(path, deadline)

    def reader() -> Frames | None:
        local = os.path.abspath(path)
        video = decoders.VideoDecoder(local, dimension_order="NHWC", seek_mode="exact", num_ffmpeg_threads=1)
        return None if len(video) != len(index.seconds) else lambda wanted: _frames(video, wanted)

    misread = misread_by_torchcodec(index)
    with open_or_pyav(path, index, deadline, misread=misread, reader=reader, error=RuntimeError) as source:
        yield source


def _frames(video: Any, wanted: list[int]) -> Iterator[np.ndarray]:
    size = max(1, CHUNK_BYTES // (video.metadata.height * video.metadata.width * 3))
    for start in range(0, len(wanted), size):
        yield from video.get_frames_at(wanted[start : start + size]).data.numpy()
