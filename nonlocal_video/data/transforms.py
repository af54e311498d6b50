"""From decoded frames to the square views that a network sees; uint8 throughout."""

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from nonlocal_video.data.decode import Decoded


def training_view(
    decoded: Decoded, *, jitter: tuple[int, int], crop: int, flip: bool, rng: np.random.Generator
) -> Tensor:
    """One random view (1, 3, T, S, S) uint8: short side uniform in `jitter`, random crop, random flip (Sec. 4.1).

    Args:
        jitter: smallest and largest short side in pixels, both included.
        crop: S in pixels.
        flip: mirror left and right with probability 0.5, the whole clip at once.
    """
    frames = resize_short_side(decoded.frames, int(rng.integers(jitter[0], jitter[1] + 1)))  # (U, H, W, 3)
    top, left = (int(rng.integers(0, size - crop + 1)) for size in frames.shape[1:3])
    view = _cut(frames, decoded.rows, top, left, crop)
    return view.flip(-1) if flip and rng.random() < 0.5 else view


def testing_views(decoded: Decoded, *, short_side: int, num_crops: int) -> Tensor:
    """The testing views (V x crops, 3, T, S, S) uint8 of each clip, S = the short side.

    Args:
        num_crops: 1, the centre, or 3 along the longer side: at 0, floor((L - S) / 2) and twice
            that, as in the released code.
    """
    frames = resize_short_side(decoded.frames, short_side)  # (U, H, W, 3)
    slack = [(size - short_side) // 2 for size in frames.shape[1:3]]
    offsets = [(k * slack[0], k * slack[1]) for k in ((1,) if num_crops == 1 else (0, 1, 2))]
    views = [_cut(frames, decoded.rows, top, left, short_side) for top, left in offsets]
    return torch.stack(views, dim=1).flatten(0, 1)  # (V, crops, ...) -> (V crops, ...)


def resize_short_side(frames: np.ndarray, short_side: int) -> Tensor:
    """(U, H, W, 3) uint8 -> the same with the short side given, the long one truncated; bilinear.

    As OpenCV resizes in the released code: without antialiasing. On one thread, since PyTorch 2.6 rounds
    otherwise with more: a clip must not depend on whether a loader process or the main one made it.
    """
    height, width = frames.shape[1:3]
    size = [int(side * short_side / min(height, width)) for side in (height, width)]
    # Rounding must not shorten the short side: side * s / side can fall just below s.
    size[0 if height <= width else 1] = short_side
    images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return F.resize(images, size, antialias=False).permute(0, 2, 3, 1)
    finally:
        torch.set_num_threads(threads)


def _cut(frames: Tensor, rows: np.ndarray, top: int, left: int, crop: int) -> Tensor:
    """Frames (U, H, W, 3), rows (V, T) -> views (V, 3, T, S, S), channels last in memory."""
    square = frames[:, top : top + crop, left : left + crop].contiguous()
    return square[torch.from_numpy(rows)].permute(0, 4, 1, 2, 3)
