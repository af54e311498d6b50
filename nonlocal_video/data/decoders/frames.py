"""Folders of JPEG frames, as mmaction2's rawframes and Charades' are."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from nonlocal_video.data.decoders.source import Deadline, Source

_FRAME = re.compile(r"(.*?)(\d+)\.jpe?g", re.IGNORECASE)


@contextmanager
def open_frames(path: str, deadline: Deadline, *, rate: float | None = None) -> Iterator[Source]:
    """The numbered JPEG files of a folder, in the order of their numbers.

    Args:
        rate: frames a second, where somebody knows.

    Raises:
        ValueError: no frames, a number missing among them, or several series of frames but none called `img_`.
    """
    names = list_frames(path)

    def read(wanted: list[int]) -> Iterator[np.ndarray]:
        for index in wanted:
            deadline.check()
            yield _read_jpeg(os.path.join(path, names[index]))

    yield Source(np.full(len(names), np.nan) if rate is None else np.arange(len(names)) / rate, read)


def list_frames(path: str) -> list[str]:
    """The names of a folder's frames, in order; see `open_frames`."""
    series: dict[str, dict[int, str]] = {}
    with os.scandir(path) as files:
        for file in files:
            match = _FRAME.fullmatch(file.name)
            if match and file.is_file():
                series.setdefault(match[1], {})[int(match[2])] = file.name
    if not series:
        raise ValueError("no JPEG frames in this folder")
    if len(series) > 1 and "img_" not in series:  # Beside img_00001.jpg lie often flow_x_00001.jpg.
        raise ValueError(f"got several series of frames, {sorted(series)}, expected one, or one called img_")
    frames = series["img_"] if len(series) > 1 else next(iter(series.values()))
    numbers = sorted(frames)
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    if missing:
        raise ValueError(
            f"{len(missing)} of {numbers[-1] - numbers[0] + 1} frames are missing, the first: {missing[0]}"
        )
    return [frames[number] for number in numbers]


def _read_jpeg(path: str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except OSError as error:
        raise ValueError(f"{os.path.basename(path)}: {error}") from error
