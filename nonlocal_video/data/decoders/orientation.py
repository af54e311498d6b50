"""How a file says that its frames are to be turned and mirrored."""

import struct
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type


def orientation(frame: Any) -> tuple[bool, bool, bool]:
    """Whether a frame has to be transposed, then mirrored upside down, then left to right, to stand as it is shown.

    The display matrix of a file takes (x, y) to (a x + c y, b x + d y). What is between the eight orientations counts
    as the nearest of them.

    Args:
        frame: a decoded frame (PyAV), which keeps the matrix.
    """
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return False, False, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    if abs(a * d) >= abs(b * c):
        return False, d < 0, a < 0
    return True, b < 0, c < 0


def upright(image: np.ndarray, turns: tuple[bool, bool, bool]) -> np.ndarray:
    """(H, W, ...) as `orientation` says, contiguous."""
    if not any(turns):
        return image
    transposed, upside_down, mirrored = turns
    image = image.swapaxes(0, 1) if transposed else image
    return np.ascontiguousarray(image[:: -1 if upside_down else 1, :: -1 if mirrored else 1])
