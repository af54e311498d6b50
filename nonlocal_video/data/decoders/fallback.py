"""decord and torchcodec for the files that they were seen to read right, and PyAV for the others."""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import numpy as np

from nonlocal_video.data.decoders.container import open_container, orientation, video_stream
from nonlocal_video.data.decoders.index import Index, open_index
from nonlocal_video.data.decoders.pyav import open_pyav
from nonlocal_video.data.decoders.source import Deadline, Source

CHUNK_BYTES = 2**26
"""Frames that a library gives at a time."""

Frames = Callable[[list[int]], Iterator[np.ndarray]]
"""The frames of sorted indices, as another library gives them."""
Reader = Callable[[str], tuple[int, Frames]]
"""Opens a file with that library: the number of its frames, and what gives them."""


def import_decord() -> Any:
    """Raises: ImportError, OSError: not installed, or without wheels for this machine."""
    importlib.import_module("torch")  # Imported before torch, decord can freeze a loader.
    return importlib.import_module("decord")


def open_decord(path: str, deadline: Deadline) -> AbstractContextManager[Source]:
    """A file for decord, which the user's list of packages has, if it is ordinary H.264.

    Others were seen to hang (MPEG-TS) or to give other frames than it was asked for: H.264 with key frames that are no
    IDR pictures (open groups of pictures, intra refresh), HEVC, and MPEG-4 with B-frames. Nothing else was tried.
    """
    decord, index = import_decord(), open_index(path, deadline)

    def reader(local: str) -> tuple[int, Frames]:
        video = decord.VideoReader(local, ctx=decord.cpu(0), num_threads=1)

        def frames(wanted: list[int]) -> Iterator[np.ndarray]:
            size, start = 1, 0
            while start < len(wanted):
                chunk = video.get_batch(wanted[start : start + size])
                # pytorchvideo switches decord's output to torch tensors for the whole process.
                chunk = chunk.asnumpy() if hasattr(chunk, "asnumpy") else chunk.numpy()
                start, size = start + size, max(1, CHUNK_BYTES // chunk[0].nbytes)
                yield from chunk

        return len(video), frames

    misread = index.codec != "h264" or not index.closed or not index.starts
    return _open_or_pyav(path, index, deadline, misread=misread, reader=reader, error=decord.DECORDError)


def import_torchcodec() -> Any:
    """Raises: ImportError, OSError, RuntimeError: not installed, or without FFmpeg's shared libraries."""
    return importlib.import_module("torchcodec.decoders")


def open_torchcodec(path: str, deadline: Deadline) -> AbstractContextManager[Source]:
    """A file for torchcodec in its exact mode, unless it was seen to misread such files.

    These are MPEG-TS, AVI, H.264 with key frames that are no IDR pictures (intra refresh), and MPEG-4 by XviD.
    """
    decoders, index = import_torchcodec(), open_index(path, deadline)

    def reader(local: str) -> tuple[int, Frames]:
        video = decoders.VideoDecoder(local, dimension_order="NHWC", seek_mode="exact", num_ffmpeg_threads=1)

        def frames(wanted: list[int]) -> Iterator[np.ndarray]:
            size = max(1, CHUNK_BYTES // (video.metadata.height * video.metadata.width * 3))
            for start in range(0, len(wanted), size):
                yield from video.get_frames_at(wanted[start : start + size]).data.numpy()

        return len(video), frames

    misread = not index.starts or (index.codec in ("h264", "mpeg4") and not index.closed)
    return _open_or_pyav(path, index, deadline, misread=misread, reader=reader, error=RuntimeError)


@contextmanager
def _open_or_pyav(
    path: str, index: Index, deadline: Deadline, *, misread: bool, reader: Reader, error: type[Exception]
) -> Iterator[Source]:
    """A file for a library, unless it is known to misread such files.

    Where it raises `error`, PyAV reads the rest, which tells damaged files from those that the library does not take.
    """
    num_frames, frames = 0, None
    if not misread and not _is_mirrored(path):
        with suppress(error):
            num_frames, frames = reader(os.path.abspath(path))
    if frames is None or num_frames != len(index.seconds):  # Decord does not follow edit lists.
        with open_pyav(path, deadline) as source:
            yield source
        return

    def read(wanted: list[int], frames: Frames = frames) -> Iterator[np.ndarray]:
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


def _is_mirrored(path: str) -> bool:
    """Whether a file says that its frames are to be mirrored: libraries turn them only."""
    with open_container(path) as container:
        frame = next(container.decode(video_stream(container)), None)
        return frame is not None and sum(orientation(frame)) % 2 == 1
