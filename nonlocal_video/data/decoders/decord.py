"""decord: the user's list of packages has it; it reads ordinary H.264 files, and the others go to PyAV."""

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


def import_decord() -> Any:
    """Raises: ImportError, OSError: not installed, or without wheels for this machine."""
    importlib.import_module("torch")  # Imported before torch, decord can freeze a loader.
    return importlib.import_module("decord")


def misread_by_decord(index: Index) -> bool:
    """Files on which decord was seen to hang (MPEG-TS) or to give other frames than it was asked for.

    Wrong were H.264 with key frames that are no IDR pictures (open groups of pictures, intra refresh), HEVC, and MPEG-4
    with B-frames; other codecs were not tried.
    """
    return index.codec != "h264" or not index.closed or not index.starts


@contextmanager
def open_decord(path: str, deadline: Deadline) -> Iterator[Source]:
    """Raises: ValueError, OSError, av.FFmpegError: the file is damaged or no video."""
    decord, index = import_decord(), open_index(path, deadline)

    def reader() -> Frames | None:
        video = decord.VideoReader(os.path.abspath(path), ctx=decord.cpu(0), num_threads=1)
        if len(video) != len(index.seconds):  # An edit list, which decord does not follow.
            return None
        return lambda wanted: _frames(video, wanted)

    misread = misread_by_decord(index)
    with open_or_pyav(path, index, deadline, misread=misread, reader=reader, error=decord.DECORDError) as source:
        yield source


def _frames(video: Any, wanted: list[int]) -> Iterator[np.ndarray]:
    frame_bytes, start = None, 0
    while start < len(wanted):
        chunk = wanted[start : start + max(1, CHUNK_BYTES // frame_bytes if frame_bytes else 1)]
        frames = video.get_batch(chunk)
        # pytorchvideo switches decord's output to torch tensors for the whole process.
        frames = frames.asnumpy() if hasattr(frames, "asnumpy") else frames.numpy()
        frame_bytes, start = frames[0].nbytes, start + len(chunk)
        yield from frames
