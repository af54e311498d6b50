"""Frames of a video by their index: one small function over all decoders."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nonlocal_video.data.decoders.container import READ_ERRORS
from nonlocal_video.data.decoders.fallback import import_decord, import_torchcodec, open_decord, open_torchcodec
from nonlocal_video.data.decoders.frames import open_frames
from nonlocal_video.data.decoders.pyav import open_pyav
from nonlocal_video.data.decoders.source import Deadline, MisreadError, Source, cause_of, is_folder, size_fault

Pick = Callable[[np.ndarray], np.ndarray]
"""From the presentation times (n,) of a video's frames, in seconds, to the indices (V, T) to read."""
Fit = Callable[[int, int], Callable[[Tensor], Tensor]]
"""From the height and width of a video to what becomes of each frame: (H, W, 3) uint8 -> (h, w, 3) uint8."""

Opener = Callable[[str, Deadline], AbstractContextManager[Source]]
DECODERS: dict[str, Opener] = {"pyav": open_pyav, "decord": open_decord, "torchcodec": open_torchcodec}
OPTIONAL: dict[str, tuple[Callable[[], object], str]] = {
    "decord": (import_decord, "It has wheels for x86-64 Linux and Windows only"),
    "torchcodec": (import_torchcodec, "It needs FFmpeg's shared libraries, and a version made for this torch"),
}
"""Decoders that not every machine has: how to import them, and what to know if that fails."""
MAX_READINGS = 3
"""A file may be read as its packets say, then from its beginning, and at last with its frames counted by a decode."""


class DecodeError(ValueError):
    """A video that cannot be read; the message names the file and the cause."""


class DecodeTimeoutError(DecodeError):
    """A video that could not be read within the limit, this time."""


class Decoded(NamedTuple):
    """Every frame that was asked for, once."""

    frames: Tensor
    """(U, h, w, 3) uint8 RGB, in the order of time."""
    rows: Tensor
    """(V, T) int64: the row of `frames` at each place of each clip."""
    seconds: np.ndarray
    """(V, T) float64: when the frame at each place is shown, since the first of the video; NaN where nobody knows."""


def decode(
    path: str,
    pick: Pick,
    fit: Fit,
    *,
    decoder: str = "pyav",
    limit_s: float | None = None,
    frame_rate: float | None = None,
) -> Decoded:
    """Reads the frames that `pick` chooses, each cut to what `fit` makes of it before the next is read.

    A file that turns out to hold other frames than its packets promised is read again: `pick` and `fit` are then asked
    anew, and have to give the same for the same arguments.

    Args:
        path: a video file, or a folder of frames.
        decoder: a key of `DECODERS`. "pyav" is exact on every file we know and reports damaged frames; the others
            hand the files that they are known to misread to it.
        limit_s: seconds after which this gives up; the loader ends a process that hangs in a library's own code.
        frame_rate: frames a second of a folder of frames; None if nobody knows.

    Raises:
        DecodeError: the file is damaged, is not a video, or holds fewer frames than it says.
        DecodeTimeoutError: the time was up.
    """
    try:
        opener = partial(open_frames, rate=frame_rate) if is_folder(path) else DECODERS[decoder]
        deadline = Deadline(limit_s)
        for _ in range(MAX_READINGS):
            with suppress(MisreadError):
                with opener(path, deadline) as source:
                    indices = pick(source.seconds)
                    wanted, rows = np.unique(indices, return_inverse=True)
                    frames = _fitted(source.read(wanted.tolist()), fit, num_frames=len(wanted))
                seconds = (source.seconds - source.seconds[0])[indices]
                return Decoded(frames, torch.from_numpy(rows.reshape(indices.shape)), seconds)
        raise ValueError("the file changes while it is read")
    except READ_ERRORS as error:
        kind = DecodeTimeoutError if isinstance(error, TimeoutError) else DecodeError
        raise kind(f"{path}: {cause_of(error)}") from error


def _fitted(images: Iterator[np.ndarray], fit: Fit, *, num_frames: int) -> Tensor:
    """(U, h, w, 3). One frame of full size is held at a time: 32 frames of an 8K video are 3 GB."""
    first, frames, count = None, torch.empty(0), 0
    for image in images:
        size = image.shape[0], image.shape[1]
        if fault := size_fault(size, first or size):
            raise ValueError(fault)
        if first is None:
            first, apply = size, fit(*size)
        frame = apply(torch.from_numpy(image))
        frames = frames if count else torch.empty((num_frames, *frame.shape), dtype=torch.uint8)
        frames[count] = frame
        count += 1
    if count < num_frames:
        raise ValueError(f"only {count} of the {num_frames} frames asked for can be decoded")
    return frames


def check_decoder(decoder: str) -> None:
    """Raises: ValueError: an unknown name, or a library that cannot be imported on this machine, and why."""
    if decoder not in DECODERS:
        raise ValueError(f"data.decoder: got {decoder!r}, expected one of {', '.join(DECODERS)}")
    if decoder in OPTIONAL:
        import_it, hint = OPTIONAL[decoder]
        try:
            import_it()
        except (ImportError, OSError, RuntimeError) as error:
            cause = str(error).strip().split("\n")[0][:200]
            raise ValueError(
                f"data.decoder={decoder}: {decoder} cannot be imported ({cause}). {hint}; use data.decoder=pyav"
            ) from error
