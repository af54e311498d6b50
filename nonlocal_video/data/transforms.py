"""Functions that `decode` applies to every frame, once it knows the size of the video; uint8 throughout."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def training_crop(
    height: int, width: int, *, jitter: tuple[int, int], crop: int, flip: bool, rng: np.random.Generator
) -> Callable[[Tensor], Tensor]:
    """(H, W, 3) -> (S, S, 3): short side uniform in `jitter`, random crop, random flip (Sec. 4.1); for a whole clip.

    Args:
        jitter: smallest and largest short side in pixels, both included.
        crop: S in pixels.
        flip: mirror left and right with probability 0.5.
    """
    size = short_side_size(height, width, int(rng.integers(jitter[0], jitter[1] + 1)))
    top, left = (int(rng.integers(0, side - crop + 1)) for side in size)
    mirrored = flip and rng.random() < 0.5

    def cut(frame: Tensor) -> Tensor:
        square = resize(frame, size)[top : top + crop, left : left + crop]
        return square.flip(1) if mirrored else square

    return cut


def testing_short_side(crop: int) -> int:
    """The short side for testing of a network trained on crops of this side, both in pixels: 256 for 224 (Sec. 4.1)."""
    return round(crop * 256 / 224)


def testing_frame(height: int, width: int, *, short_side: int) -> Callable[[Tensor], Tensor]:
    """(H, W, 3) -> (h, w, 3) with this short side; `testing_crops` says what of it a view shows."""
    size = short_side_size(height, width, short_side)
    return lambda frame: resize(frame, size)


def testing_crops(height: int, width: int, *, crops: str) -> tuple[tuple[tuple[int, int], ...], tuple[int, int]]:
    """The crops of a frame that the views of a clip show: top and left of each, and the height and width of all.

    Args:
        crops: "full", the whole frame (Sec. 4.1); "1", the square in the centre; or "3", squares along the longer
            side at 0, floor((L - S) / 2) and twice that, as in the released code.
    """
    if crops == "full":
        return ((0, 0),), (height, width)
    short_side = min(height, width)
    slack = [(size - short_side) // 2 for size in (height, width)]
    places = (1,) if crops == "1" else (0, 1, 2)
    return tuple((k * slack[0], k * slack[1]) for k in places), (short_side, short_side)


def short_side_size(height: int, width: int, short_side: int) -> list[int]:
    """Height and width with the short side given and the long one truncated, as in the released code."""
    size = [int(side * short_side / min(height, width)) for side in (height, width)]
    # Rounding must not shorten the short side: side * s / side can fall just below s.
    size[0 if height <= width else 1] = short_side
    return size


def resize(frame: Tensor, size: list[int]) -> Tensor:
    """(H, W, 3) -> (h, w, 3), bilinear without antialiasing, as OpenCV resizes in the released code."""
    if [*frame.shape[:2]] == size:
        return frame
    # On one thread, since PyTorch 2.6 rounds otherwise with more: a clip must not depend on which process made it.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return F.interpolate(frame[None].permute(0, 3, 1, 2), size, mode="bilinear")[0].permute(1, 2, 0)
    finally:
        torch.set_num_threads(threads)
