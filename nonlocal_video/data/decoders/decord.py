"""decord: the user's list of packages has it; it reads ordinary H.264 files, and the others go to PyAV."""

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nonlocal_video.data.decoders.pyav import Index, open_index, open_pyav
from nonlocal_video.data.decoders.source import Deadline, Source

CHUNK_BYTES = 2**26
"""Frames that are held at a time."""


def import_decord() -> Any:
    """Raises: ImportError, OSError: not installed, or without wheels for this machine."""
    importlib.import_module("torch")  # Imported before torch, decord can freeze a loader.
    return importlib.import_module("decord")


def misread_by_decord(index: Index) -> bool:
    """Files on which decord was seen to hang (MPEG-TS) or to give other frames than it was asked for.

    Wrong were H.264 with key frames that are no IDR pictures (open groups of pictures, intra refresh) and MPEG-4 with
    B-frames; other codecs were not tried.
    """
    ordinary = {"mp4", "matroska"} & set(index.container.split(","))
    return not ordinary or not index.closed or index.ticks is None


@contextmanager
def open_decord(path: str, deadline: Deadline) -> Iterator[Source]:
    """Raises: ValueError, RuntimeError, OSError, av.FFmpegError: the file is damaged or no video."""
    decord, index = import_decord(), open_index(path, deadline)
    reader = None if misread_by_decord(index) else _reader(decord, path)
    if reader is None or len(reader) != len(index.seconds):  # An edit list, which decord does not follow.
        with open_pyav(path, deadline) as source:
            yield source
        return

    def read(wanted: list[int]) -> Iterator[np.ndarray]:
        frame_bytes, start = None, 0
        while start < len(wanted):
            deadline.check()
            chunk = wanted[start : start + max(1, CHUNK_BYTES // frame_bytes if frame_bytes else 1)]
            try:
                frames = reader.get_batch(chunk)
            except decord.DECORDError as error:
                raise _plain(error) from error
            # pytorchvideo switches decord's output to torch tensors for the whole process.
            frames = frames.asnumpy() if hasattr(frames, "asnumpy") else frames.numpy()
            frame_bytes, start = frames[0].nbytes, start + len(chunk)
            yield from frames

    yield Source(index.seconds, read)


def _reader(decord: Any, path: str) -> Any:
    try:
        return decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    except decord.DECORDError as error:
        raise _plain(error) from error


def _plain(error: Exception) -> ValueError:
    """Without the times and the places in decord's source that its messages are full of."""
    return ValueError("decord: " + re.sub(r"\[[\d:]+\] \S+: ", "", str(error)))
