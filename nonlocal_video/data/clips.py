"""Which frames make a clip: pure index arithmetic, as in the released code.

Indices beyond the last frame wrap round to the first, so that short videos loop.
"""

import numpy as np


def random_clip(num_frames: int, *, length: int, stride: int, rng: np.random.Generator) -> np.ndarray:
    """Frame indices (1, T) of a training clip: every stride-th of length x stride frames from a random start."""
    last_start = max(num_frames - length * stride, 0)
    start = rng.integers(0, last_start + 1)
    return ((start + np.arange(length) * stride) % num_frames)[None]


def uniform_clips(num_frames: int, *, num_clips: int, length: int, stride: int) -> np.ndarray:
    """Frame indices (V, T) of clips that start at int(n / V * j) mod n, j = 0..V-1.

    The released code computes the start in float32 and lets late clips wrap round to the first
    frames; it neither clamps nor spreads the starts over n - window.
    """
    step = np.float32(num_frames) / np.float32(num_clips)
    starts = (step * np.arange(num_clips, dtype=np.float32)).astype(np.int64)
    return (starts[:, None] + np.arange(length) * stride) % num_frames
