"""Writes video files (PyAV)."""

import errno
import os
import secrets
import stat
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import Interpolation, VideoReformatter

from nonlocal_video.data.decoders.container import open_container, orientation, upright, video_stream
from nonlocal_video.data.decoders.index import Index, count_frames, decode_all, open_index
from nonlocal_video.data.decoders.source import Deadline

UNFINISHED = ".unfinished"
"""How the names of half written videos end."""
_RGB, _UNSPECIFIED = 0, 2
"""libav's numbers for the colour space of a frame."""


def write_video(path: Path, frames: Iterable[np.ndarray], *, fps: int = 30, gop: int = 30, crf: int = 20) -> None:
    """Writes RGB frames (H, W, 3) uint8 of equal, even size as H.264; equal frames give equal bytes.

    A key frame comes every `gop` frames; of `crf`, x264's constant rate factor, a lower one is better.
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


class Encoding(NamedTuple):
    """How videos are re-encoded."""

    short_side: int = 256
    """Pixels; smaller videos keep their size."""
    gop: int = 32
    """Frames from one key frame to the next, at most."""
    crf: int = 18
    """x264's constant rate factor; lower is better."""


def reencode(source: Path, target: Path, encoding: Encoding) -> bool:
    """Writes a video anew, small, as H.264 in MP4; the target appears only when it is whole and checked.

    Frame k of the target is frame k of the source at the same time, as it is to be shown, in 8 bits (yuv420p), without
    sound. Frames shrink by swscale's bicubic filter, the ffmpeg program's own choice, over all pixels that fall in one.

    Returns:
        Whether the times are the source's. Where nobody knows them, it is its average rate.

    Raises:
        ValueError: the source cannot be read to its end, or the target would hold other frames.
        OSError: the target cannot be written.
    """
    if not stat.S_ISREG(source.stat().st_mode):
        raise ValueError(f"{source}: not a regular file")
    # A name of its own, so that a process that outlived a killed run cannot spoil this one.
    unfinished = target.with_name(f"{target.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        index = open_index(str(source), Deadline(None))
        times = _convert(source, unfinished, encoding, index)
        if len(times) != len(index.seconds):  # The packets promised others.
            index = count_frames(str(source), Deadline(None))
            times = _convert(source, unfinished, encoding, index)
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
    return index.ticks is not None


def _convert(source: Path, target: Path, encoding: Encoding, index: Index) -> list[Fraction]:
    """Writes the target and returns the times of its frames, in seconds."""
    times, stream, reformatter = list[Fraction](), None, VideoReformatter()
    with open_container(str(source)) as old:
        old_stream = video_stream(old)
        # The index in front spares a reader one seek to the end. Where the first frame is shown late, that is noted in
        # ticks of the movie: of thousandths of a second, unless it is said.
        options = {"movflags": "faststart", "movie_timescale": str(min(old_stream.time_base.denominator, 2**31 - 1))}
        with av.open(str(target), "w", format="mp4", options=options) as container:
            for number, frame in enumerate(decode_all(old.demux(old_stream), Deadline(None))):
                if frame is None:
                    raise ValueError(f"what follows frame {number - 1} cannot be decoded")
                if number == 0:
                    size = small_size(frame.height, frame.width, encoding.short_side)
                small = _converted(frame, size, reformatter)
                small.pts, small.time_base = _time_of(number, old_stream, index)
                times.append(small.pts * small.time_base)
                if stream is None:
                    stream = _add_stream(container, small, old_stream, encoding, transposed=orientation(frame)[0])
                container.mux(stream.encode(small))
            if stream is None:
                raise ValueError("no frames")
            container.mux(stream.encode())
    return times


def _time_of(number: int, old: Any, index: Index) -> tuple[int, Fraction]:
    """When a frame is shown, in units of so many seconds."""
    if index.ticks is None:
        return number, 1 / (old.average_rate or old.guessed_rate or Fraction(30))
    # Frames that were not promised come last, and are noticed later.
    return index.ticks[number] if number < len(index.ticks) else index.ticks[-1] + number, old.time_base


def _add_stream(container: Any, small: av.VideoFrame, old: Any, encoding: Encoding, *, transposed: bool) -> Any:
    stream = container.add_stream("libx264", rate=old.average_rate or old.guessed_rate or 30)
    stream.width, stream.height, stream.pix_fmt = small.width, small.height, "yuv420p"
    stream.options = _x264(encoding.gop, encoding.crf)
    context = stream.codec_context
    context.time_base = stream.time_base = small.time_base
    _copy_colours(small, context)
    if ratio := old.sample_aspect_ratio:
        context.sample_aspect_ratio = 1 / ratio if transposed else ratio
    return stream


def _copy_colours(source: Any, target: Any) -> None:
    """Decoders turn YUV to RGB by these."""
    for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
        setattr(target, name, getattr(source, name))


def _converted(frame: av.VideoFrame, size: tuple[int, int], reformatter: VideoReformatter) -> av.VideoFrame:
    """A frame in yuv420p, of this height and width, then upright."""
    (height, width), turns = size, orientation(frame)
    small = reformatter.reformat(
        frame, width=width, height=height, format="yuv420p", interpolation=Interpolation.BICUBIC, threads=1
    )
    if any(turns):
        planes = small.to_ndarray()  # (H + H/2, W): Y above, then U and V, each in H/4 full rows
        luma, chroma = planes[:height], planes[height:].reshape(2, height // 2, width // 2)
        parts = [upright(plane, turns) for plane in (luma, *chroma)]
        flat = np.concatenate([part.ravel() for part in parts])
        turned = av.VideoFrame.from_ndarray(flat.reshape(-1, parts[0].shape[1]), format="yuv420p")
        _copy_colours(small, turned)
        small = turned
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


def _check(path: Path, times: list[Fraction]) -> None:
    """Raises: ValueError: the file does not hold one frame at each of these times."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size and not packet.is_discard]
        written = sorted(packet.pts * packet.time_base for packet in packets if packet.pts is not None)
    if len(packets) != len(times):
        raise ValueError(f"{len(packets)} frames were written, expected {len(times)}")
    if written != times:
        raise ValueError("the frames were written with other times than the source's")
