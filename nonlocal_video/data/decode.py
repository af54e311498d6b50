"""Frames of a video file by their index: the only file that knows the video libraries."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter

Pick = Callable[[int], np.ndarray]
"""From the number of frames of a video to the indices (V, T) to read."""


class DecodeError(ValueError):
    """A video that cannot be read; the message names the file and the cause."""


class Decoded(NamedTuple):
    """Every frame that was asked for, once."""

    frames: np.ndarray
    """(U, H, W, 3) uint8 RGB, in the order of time."""
    rows: np.ndarray
    """(V, T): the row of `frames` at each place of each clip."""


def decode(path: str, pick: Pick, *, decoder: str = "pyav") -> Decoded:
    """Reads the frames that `pick` chooses from the number of frames in the file.

    Args:
        decoder: a key of `DECODERS`. "pyav" is exact on every file we know; "decord" is an
            alternative for ordinary H.264 (it hangs on MPEG-TS and shuffles frames of open GOPs).

    Raises:
        DecodeError: the file is damaged, is not a video, or holds fewer frames than it says.
    """
    try:
        return DECODERS[decoder](path, pick)
    except (av.FFmpegError, RuntimeError, OSError, ValueError) as error:
        # RuntimeError is decord's when it opens a file.
        raise DecodeError(f"{path}: {' '.join(str(error).split())[:300] or type(error).__name__}") from error


def check_decoder(decoder: str) -> None:
    """Fails early, with the reason, if this decoder cannot be used on this machine.

    Raises:
        ValueError: an unknown name, or a library that is not installed.
    """
    if decoder not in DECODERS:
        raise ValueError(f"data.decoder: got {decoder!r}, expected one of {', '.join(DECODERS)}")
    if decoder == "decord":
        try:
            _import_decord()
        except (ImportError, OSError) as error:
            raise ValueError(
                f"data.decoder=decord: decord cannot be imported ({error}). It has wheels for x86-64 Linux and "
                "Windows only; use data.decoder=pyav"
            ) from error


def _decode_pyav(path: str, pick: Pick) -> Decoded:
    with av.open(path) as container:
        stream = _video_stream(container)
        # Containers lie about the number of frames; packets do not, and cost no decoding.
        times = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
        if not times:
            raise ValueError("no frames")
        wanted, rows = _unique(pick(len(times)))
        frames = None
        if None not in times and len(set(times)) == len(times):
            ordered = sorted(time for time in times if time is not None)
            frames = _read_at(container, stream, [ordered[i] for i in wanted])
    if frames is None:
        frames = _read_counting(path, wanted, num_frames=len(times))
    return Decoded(np.stack(frames), rows)


def _video_stream(container: Any) -> Any:
    stream = container.streams.best("video")
    if stream is None:
        raise ValueError("no video stream")
    stream.codec_context.thread_count = 1  # The loader's processes share the cores.
    return stream


def _read_at(container: Any, stream: Any, times: list[int]) -> list[np.ndarray] | None:
    """The frames with these presentation times, from one seek; None if one of them does not come."""
    container.seek(times[0], stream=stream)
    wanted, to_rgb, at_keyframe = set(times), _ToRgb(), False
    frames: list[np.ndarray] = []
    for frame in container.decode(stream):
        if not at_keyframe:
            # Frames before the first key frame lean on a group of pictures that was not decoded.
            at_keyframe = bool(frame.key_frame)
            if at_keyframe and frame.pts is not None and frame.pts > times[0]:
                return None
        if at_keyframe and frame.pts in wanted:
            frames.append(to_rgb(frame))
            if len(frames) == len(times):
                return frames
    return None


def _read_counting(path: str, wanted: list[int], *, num_frames: int) -> list[np.ndarray]:
    """The frames at these sorted indices, counted from the start; every frame of the file must come."""
    to_rgb, count, rows = _ToRgb(), 0, set(wanted)
    frames: list[np.ndarray] = []
    with av.open(path) as container:
        for frame in container.decode(_video_stream(container)):
            if count in rows:
                frames.append(to_rgb(frame))
            count += 1
    if count != num_frames:
        raise ValueError(f"{count} of {num_frames} frames can be decoded")
    return frames


class _ToRgb:
    """Frames to (H, W, 3) uint8, upright: PyAV leaves the rotation that a phone notes in the file to us.

    One reformatter for all frames, on one thread: `frame.to_ndarray(format="rgb24")` sets up a
    threaded converter for every frame, which takes 8 to 20 times as long.
    """

    def __init__(self) -> None:
        self.reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        image = self.reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return np.rot90(image, frame.rotation // 90) if frame.rotation else image


def _decode_decord(path: str, pick: Pick) -> Decoded:
    decord = _import_decord()
    try:
        reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        wanted, rows = _unique(pick(len(reader)))
        frames = reader.get_batch(wanted)
    except decord.DECORDError as error:
        raise ValueError(f"decord: {error}") from error
    # pytorchvideo switches decord's output to torch tensors for the whole process.
    return Decoded(frames.asnumpy() if hasattr(frames, "asnumpy") else frames.numpy(), rows)


def _import_decord() -> Any:
    importlib.import_module("torch")  # Imported before torch, decord can freeze a loader.
    return importlib.import_module("decord")


def _unique(indices: np.ndarray) -> tuple[list[int], np.ndarray]:
    wanted, rows = np.unique(indices, return_inverse=True)
    return wanted.tolist(), rows.reshape(indices.shape)


DECODERS: dict[str, Callable[[str, Pick], Decoded]] = {"pyav": _decode_pyav, "decord": _decode_decord}
