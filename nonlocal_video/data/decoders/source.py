"""An open video as every decoder gives it, what is refused, and how long that may take."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

MAX_ASPECT = 32
"""The long side of a frame over its short side. A file that says more would fill the memory when its short side is
enlarged."""


class Source(NamedTuple):
    """A video that is open."""

    seconds: np.ndarray
    """(n,) float64: when each of its n frames is shown; NaN where nobody says."""
    read: Callable[[list[int]], Iterator[np.ndarray]]
    """Frames (H, W, 3) uint8 RGB, upright, of sorted indices, one after the other; ends early if they do not come.
    Raises `MisreadError`, ValueError, or what the library raises."""


class MisreadError(Exception):
    """The file is other than it seemed, and nothing that was read is to be used; opened again, it gives the frames."""


class Deadline:
    """A limit in seconds for one video; None for none."""

    def __init__(self, limit_s: float | None) -> None:
        self.limit_s = limit_s
        self.end = None if limit_s is None else time.monotonic() + limit_s

    def check(self) -> None:
        """Raises: TimeoutError when the time is up."""
        if self.end is not None and time.monotonic() > self.end:
            raise TimeoutError(f"not decoded within {self.limit_s:g} s (data.decode_limit_s)")


def size_fault(size: tuple[int, int], first: tuple[int, int]) -> str:
    """Why a frame of this height and width is refused in a video whose first one has the size `first`; "" if not."""
    if size != first:
        return f"the size changes from {first[1]} x {first[0]} to {size[1]} x {size[0]}"
    if max(size) > MAX_ASPECT * min(size):
        return f"frames of {size[1]} x {size[0]} pixels are longer than {MAX_ASPECT} : 1"
    return ""


def cause_of(error: Exception) -> str:
    """One line on why a file cannot be read."""
    cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(cause.split())[:300]


def is_folder(path: str) -> bool:
    """Whether this is a folder of frames, and no video file; a ValueError if it is neither."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError("neither a regular file nor a folder of frames")  # Opening a fifo would wait for ever.
    return stat.S_ISDIR(mode)
