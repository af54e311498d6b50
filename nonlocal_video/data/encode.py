"""Writes video files (PyAV)."""

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import Interpolation, VideoReformatter

UNFINISHED = ".unfinished"
"""How the names of half written videos end."""


def write_video(path: Path, frames: Iterable[np.ndarray], *, fps: int = 30, gop: int = 30, crf: int = 20) -> None:
    """Writes RGB frames (H, W, 3) uint8 of equal, even size as H.264; equal frames give equal bytes.

    Args:
        gop: frames from one key frame to the next.
        crf: x264's constant rate factor; lower is better.
    """
    with av.open(str(path), "w") as container:
        stream = None
        for frame in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=fps)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                # On small frames what x264's assembly makes of macroblock trees depends on what else is in the memory.
                stream.options = {**_x264(gop, crf), "x264-params": "asm=0"}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if stream is None:
            raise ValueError(f"{path}: a video needs at least one frame")
        container.mux(stream.encode())


def _x264(gop: int, crf: int) -> dict[str, object]:
    # One thread: x264's rate control is deterministic only then.
    return {"preset": "veryfast", "crf": str(crf), "g": str(gop), "threads": "1"}


# Re-encoding


class Encoding(NamedTuple):
    """How videos are re-encoded."""

    short_side: int = 256
    """Pixels; smaller videos keep their size."""
    gop: int = 32
    """Frames from one key frame to the next, at most."""
    crf: int = 18
    """x264's constant rate factor; lower is better."""


_RGB, _UNSPECIFIED = 0, 2
"""libav's numbers for the colour space of a frame."""


class _NoTimesError(ValueError):
    """The frames of the source have no times, or times that do not rise."""


def reencode(source: Path, target: Path, encoding: Encoding) -> bool:
    """Writes a video anew as a small H.264 MP4; the target appears only when it is whole and checked.

    Frame k of the target is frame k of the source at the same time, upright, in 8 bits (yuv420p),
    without sound. Frames shrink by swscale's bicubic filter, which covers all the pixels that fall
    into one; it is the ffmpeg program's own choice.

    Returns:
        Whether the times are the source's. Where those are absent or do not rise, it is its average rate.

    Raises:
        ValueError: the source cannot be read to its end, or the target would hold other frames.
        OSError: the target cannot be written.
    """
    if not stat.S_ISREG(source.stat().st_mode):
        raise ValueError(f"{source}: not a regular file")
    # A name of its own, so that a process that outlived a killed run cannot spoil this one.
    unfinished = target.with_name(f"{target.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        try:
            kept, times = True, _convert(source, unfinished, encoding, keep_times=True)
        except _NoTimesError:
            kept, times = False, _convert(source, unfinished, encoding, keep_times=False)
        _check(unfinished, times)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    except (av.FFmpegError, ValueError) as error:
        number, cause = getattr(error, "errno", 0), getattr(error, "strerror", str(error))
        if number in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(number, cause, str(target)) from None
        raise ValueError(f"{source}: {cause or type(error).__name__}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return kept


def _convert(source: Path, target: Path, encoding: Encoding, *, keep_times: bool) -> list[Fraction]:
    """Writes the target and returns the times of its frames, in seconds."""
    times: list[Fraction] = []
    # The index in front spares a reader one seek to the end.
    with (
        av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as container,
        av.open(source) as old,
    ):
        stream, convert = None, _Converter(encoding.short_side)
        for frame, time in _timed_frames(old, keep_times=keep_times):
            if times and time <= times[-1]:
                raise _NoTimesError
            times.append(time)
            upright = convert(frame)
            if stream is None:
                stream = _add_stream(container, upright, frame, old.streams.best("video"), encoding)
            container.mux(stream.encode(upright))
        if stream is None:
            raise ValueError("no frames")
        container.mux(stream.encode())
    return times


def _timed_frames(container: Any, *, keep_times: bool) -> Iterator[tuple[av.VideoFrame, Fraction]]:
    stream = container.streams.best("video")
    if stream is None or stream.codec_context is None:
        raise ValueError("no video that can be decoded")
    stream.codec_context.thread_count = 1  # The processes share the cores.
    rate = stream.average_rate or stream.guessed_rate or Fraction(30)
    for count, frame in enumerate(container.decode(stream)):
        if not keep_times:
            frame.pts, frame.time_base = count, 1 / rate
        elif frame.pts is None:
            raise _NoTimesError
        yield frame, frame.pts * frame.time_base


def _add_stream(container: Any, upright: av.VideoFrame, frame: av.VideoFrame, old: Any, encoding: Encoding) -> Any:
    stream = container.add_stream("libx264", rate=old.average_rate or old.guessed_rate or 30)
    stream.width, stream.height, stream.pix_fmt = upright.width, upright.height, "yuv420p"
    stream.options = _x264(encoding.gop, encoding.crf)
    context = stream.codec_context
    context.time_base = stream.time_base = frame.time_base
    # Decoders turn YUV to RGB by these.
    context.colorspace, context.color_range = upright.colorspace, upright.color_range
    context.color_primaries, context.color_trc = upright.color_primaries, upright.color_trc
    ratio = old.sample_aspect_ratio
    if ratio:
        context.sample_aspect_ratio = 1 / ratio if _quarter_turns(frame) % 2 else ratio
    return stream


class _Converter:
    """Frames to upright yuv420p, all of the size of the first one."""

    def __init__(self, short_side: int) -> None:
        self.short_side = short_side
        self.size: tuple[int, int] | None = None
        self.reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        turns = _quarter_turns(frame)
        height, width = self.size = self.size or small_size(frame.height, frame.width, self.short_side)
        small = self.reformatter.reformat(
            frame, width=width, height=height, format="yuv420p", interpolation=Interpolation.BICUBIC, threads=1
        )
        if turns:
            small = _turned(small, turns)
        small.pts, small.time_base = frame.pts, frame.time_base
        if small.colorspace == _RGB:
            small.colorspace = _UNSPECIFIED  # The source's pixels were RGB, these are YUV.
        small.pict_type = PictureType.NONE  # Otherwise x264 repeats the source's key frames.
        return small


def small_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """The even height and width of a video whose shorter side is at most `short_side` pixels."""
    shorter = min(height, width)
    if shorter <= short_side:
        return max(2, height // 2 * 2), max(2, width // 2 * 2)
    return round(height * short_side / shorter / 2) * 2, round(width * short_side / shorter / 2) * 2


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise, to turn a frame upright as its file says."""
    return round(frame.rotation / 90) % 4


def _turned(frame: av.VideoFrame, turns: int) -> av.VideoFrame:
    """A yuv420p frame of even size, turned."""
    planes = frame.to_ndarray()  # (H + H/2, W): Y above, then U and V, each in H/4 full rows
    height, width = frame.height, frame.width
    luma, chroma = planes[:height], planes[height:].reshape(2, height // 2, width // 2)
    parts = [np.rot90(luma, turns), *(np.rot90(plane, turns) for plane in chroma)]
    flat = np.concatenate([part.ravel() for part in parts])
    turned = av.VideoFrame.from_ndarray(flat.reshape(-1, parts[0].shape[1]), format="yuv420p")
    turned.colorspace, turned.color_range = frame.colorspace, frame.color_range
    turned.color_primaries, turned.color_trc = frame.color_primaries, frame.color_trc
    return turned


def _check(path: Path, times: list[Fraction]) -> None:
    """Fails unless the file holds one frame at each of these times."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size and not packet.is_discard]
        written = sorted(packet.pts * packet.time_base for packet in packets if packet.pts is not None)
    if len(packets) != len(times):
        raise ValueError(f"{len(packets)} frames were written, expected {len(times)}")
    if written != times:
        raise ValueError("the frames were written with other times than the source's")
