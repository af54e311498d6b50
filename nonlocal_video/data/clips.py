"""Which frames make a clip: pure index arithmetic on the times (n,) in seconds at which a video's frames are shown.

In training, `sampling` says what follows the last frame of a short video: the first (released) or the last again
(clamped). In testing, `placement` says that and where the clips start: a key of `PLACEMENTS`.
`fps` takes the frames that a clock of so many ticks a second would show, instead of those of the file (None, as in
the released code): of a video of 8 frames a second, 64 frames are 8 s, of one of 60 they are 1 s.
"""

from collections.abc import Callable

import numpy as np
import torch

ROUNDING_S = 1.1e-3
"""Two times may be so much nearer than they were: Matroska keeps whole milliseconds."""


def random_clip(
    seconds: np.ndarray,
    *,
    length: int,
    stride: int,
    sampling: str = "released",
    fps: float | None = None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Frame indices (1, T) of a training clip: every stride-th of length x stride frames from a random start."""
    frames = at_rate(seconds, fps)
    start = rng.integers(0, max(len(frames) - length * stride, 0) + 1)
    places = start + np.arange(length)[None] * stride  # (1, T)
    return frames[np.minimum(places, len(frames) - 1) if sampling == "clamped" else places % len(frames)]


def uniform_clips(
    seconds: np.ndarray,
    *,
    num_clips: int,
    length: int,
    stride: int,
    placement: str = "released",
    fps: float | None = None,
) -> np.ndarray:
    """Frame indices (V, T) of the testing clips."""
    frames = at_rate(seconds, fps)
    rate = fps or _rate(seconds, unknown=30.0)
    return frames[PLACEMENTS[placement](len(frames), rate=rate, num_clips=num_clips, length=length, stride=stride)]


def sliding_clips(
    seconds: np.ndarray, *, every_s: float, length: int, stride: int, fps: float | None = None
) -> np.ndarray:
    """Frame indices (V, T) of clips that start every `every_s` seconds, from the first frame on.

    Each begins with the frame that is shown then and spans length x stride frames; one more ends with the video if none
    does. In a video shorter than that, the only one begins again with the first frame, as the released code's do.
    A ValueError says that nobody knows when the frames are shown.
    """
    _check_times(seconds, setting="every_s")
    frames = at_rate(seconds, fps)
    possible = frames[: max(len(frames) - length * stride, 0) + 1]
    shown = seconds[possible] - seconds[0]
    ticks = np.arange(int((shown[-1] + ROUNDING_S) / every_s) + 1) * every_s
    starts = np.unique(np.append(_shown_at(ticks, shown), len(possible) - 1))
    return frames[_strided(starts, length, stride) % len(frames)]


def _released(num_frames: int, *, rate: float, num_clips: int, length: int, stride: int) -> np.ndarray:
    """At int(n / V * j), j = 0..V-1, in float32; the first frame follows the last (DecodeClipFromVideoFileFlex)."""
    step = np.float32(num_frames) / np.float32(num_clips)
    starts = (step * np.arange(num_clips, dtype=np.float32)).astype(np.int64)
    return _strided(starts, length, stride) % num_frames


def _even(num_frames: int, *, rate: float, num_clips: int, length: int, stride: int) -> np.ndarray:
    """Evenly from the first frame to n - length x stride, a single clip in the middle; the last frame is repeated."""
    room = max(num_frames - length * stride, 0)
    starts = np.linspace(0, room, num_clips).astype(np.int64) if num_clips > 1 else np.array([room // 2])
    return np.minimum(_strided(starts, length, stride), num_frames - 1)


def _pyslowfast(num_frames: int, *, rate: float, num_clips: int, length: int, stride: int) -> np.ndarray:
    """A window of length x stride frames at 30 frames a second, at (n - window) j / V, never up to the video's end."""
    # T frames from its first to its last, so a little more than `stride` apart; the last frame of the video is repeated
    # (PySlowFast's decoder.py: get_start_end_idx and temporal_sampling).
    window = max(1.0, stride * length / 30 * rate)
    starts = [max(num_frames - window, 0) * clip / num_clips for clip in range(num_clips)]
    places = torch.stack([torch.linspace(start, start + window - 1, length) for start in starts])
    return places.clamp(0, num_frames - 1).long().numpy()


def _mmaction2(num_frames: int, *, rate: float, num_clips: int, length: int, stride: int) -> np.ndarray:
    """Evenly up to the last start of (length - 1) x stride + 1 frames, a single clip in the middle."""
    # The first frame follows the last (mmaction2's SampleFrames in its testing mode).
    room = max(num_frames - (length - 1) * stride - 1, 0)
    starts = np.round(np.arange(num_clips) * (room / (num_clips - 1))) if num_clips > 1 else np.array([room // 2])
    return _strided(starts.astype(np.int64), length, stride) % num_frames


def _centred(num_frames: int, *, rate: float, num_clips: int, length: int, stride: int) -> np.ndarray:
    """Centred on V equal parts, in round(n / V * (j + 0.5)); what lies outside is the first or the last frame again."""
    # Long-term feature banks test on Charades so (charades.py: sample_center_of_segments).
    centres = np.round(num_frames / num_clips * (np.arange(num_clips) + 0.5)).astype(np.int64)
    return np.clip(_strided(centres - length * stride // 2, length, stride), 0, num_frames - 1)


def _strided(starts: np.ndarray, length: int, stride: int) -> np.ndarray:
    return starts[:, None] + np.arange(length) * stride  # (V, T)


PLACEMENTS: dict[str, Callable[..., np.ndarray]] = {
    "released": _released,
    "even": _even,
    "pyslowfast": _pyslowfast,
    "mmaction2": _mmaction2,
    "centred": _centred,
}
"""Placements of testing clips among n frames, and what follows the last frame."""


def at_rate(seconds: np.ndarray, fps: float | None) -> np.ndarray:
    """(m,) the index of the frame that is shown at each tick of a clock of `fps`; all frames in order if None."""
    if fps is None:
        return np.arange(len(seconds))
    _check_times(seconds, setting="clip.fps")
    duration = seconds[-1] - seconds[0] + 1 / _rate(seconds, unknown=fps)
    ticks = np.arange(max(1, round(duration * fps))) / fps
    return np.maximum(_shown_at(ticks, seconds - seconds[0]), 0)


def _check_times(seconds: np.ndarray, *, setting: str) -> None:
    if np.isnan(seconds).any():
        raise ValueError(f"{setting}: these frames have no times (of folders of frames set data.frame_rate)")


def _rate(seconds: np.ndarray, *, unknown: float) -> float:
    """Frames a second, or `unknown`."""
    known = len(seconds) > 1 and not np.isnan(seconds).any()
    return float((len(seconds) - 1) / (seconds[-1] - seconds[0])) if known else unknown


def _shown_at(ticks: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    return np.searchsorted(seconds, ticks + ROUNDING_S, side="right") - 1
