"""Which frames make a clip: pure index arithmetic.

`sampling` says where testing clips start among n frames, and what follows the last frame:
    released: as in the released code; at int(n / V * j), j = 0..V-1, and the first frame follows the last.
    clamped: as most other code bases do; evenly from 0 to n - length x stride, and the last frame is repeated.
`fps` takes the frames that a clock of so many ticks a second would show, instead of those of the file (None, as in
the released code): of a video of 8 frames a second, 64 frames are 8 s, of one of 60 they are 1 s.
"""

import numpy as np

ROUNDING_S = 1.1e-3
"""Two times may be so much nearer than they were: Matroska keeps whole milliseconds."""
SAMPLING = ("released", "clamped")


def random_clip(
    seconds: np.ndarray,
    *,
    length: int,
    stride: int,
    sampling: str = "released",
    fps: float | None = None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Frame indices (1, T) of a training clip: every stride-th of length x stride frames from a random start.

    Args:
        seconds: (n,) when each frame of the video is shown.
    """
    frames = at_rate(seconds, fps)
    start = rng.integers(0, max(len(frames) - length * stride, 0) + 1)
    return _clips_from(np.array([start]), frames, length=length, stride=stride, sampling=sampling)


def uniform_clips(
    seconds: np.ndarray,
    *,
    num_clips: int,
    length: int,
    stride: int,
    sampling: str = "released",
    fps: float | None = None,
) -> np.ndarray:
    """Frame indices (V, T) of the testing clips.

    The released code computes the start in float32 and lets late clips wrap round to the first frames.

    Args:
        seconds: (n,) when each frame of the video is shown.
    """
    frames = at_rate(seconds, fps)
    if sampling == "clamped":
        starts = np.linspace(0, max(len(frames) - length * stride, 0), num_clips).astype(np.int64)
    else:
        step = np.float32(len(frames)) / np.float32(num_clips)
        starts = (step * np.arange(num_clips, dtype=np.float32)).astype(np.int64)
    return _clips_from(starts, frames, length=length, stride=stride, sampling=sampling)


def _clips_from(starts: np.ndarray, frames: np.ndarray, *, length: int, stride: int, sampling: str) -> np.ndarray:
    places = starts[:, None] + np.arange(length) * stride  # (V, T)
    last = len(frames) - 1
    return frames[np.minimum(places, last) if sampling == "clamped" else places % len(frames)]


def at_rate(seconds: np.ndarray, fps: float | None) -> np.ndarray:
    """(m,) the index of the frame that is shown at each tick of a clock of `fps`; all frames in order if None.

    Args:
        seconds: (n,) when each frame is shown.

    Raises:
        ValueError: nobody knows when the frames are shown.
    """
    if fps is None:
        return np.arange(len(seconds))
    if np.isnan(seconds).any():
        raise ValueError("clip.fps: these frames have no times (a folder of frames, or no frame rate)")
    rate = (len(seconds) - 1) / (seconds[-1] - seconds[0]) if len(seconds) > 1 else fps
    duration = seconds[-1] - seconds[0] + 1 / rate
    ticks = np.arange(max(1, round(duration * fps))) / fps
    shown = np.searchsorted(seconds - seconds[0], ticks + ROUNDING_S, side="right") - 1
    return np.maximum(shown, 0)
