"""PyAV, the decoder that was right on every file we know, and the one that counts frames for the others."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from nonlocal_video.data.decoders.source import Deadline, Source

AvError = av.FFmpegError


class Index(NamedTuple):
    """What the packets of a file tell without decoding."""

    container: str
    codec: str
    claimed: int
    """The number of frames that the container states; 0 if it states none."""
    stated_s: float | None
    """The duration that it states."""
    ticks: list[int] | None
    """The presentation times, sorted, in units of the stream; None unless every frame has one of its own."""
    seconds: np.ndarray
    """(n,) the same in seconds from the first frame."""
    closed: bool
    """Whether it is H.264 in which no frame leans on another beyond a key frame: all of them are IDR pictures."""


@contextmanager
def open_pyav(path: str, deadline: Deadline) -> Iterator[Source]:
    """Raises: ValueError, OSError, av.FFmpegError: the file is damaged or no video."""
    with av.open(path) as container:
        stream = _video_stream(container)
        index = read_index(container, stream, deadline)

        def read(wanted: list[int]) -> Iterator[np.ndarray]:
            if index.ticks is None:
                yield from _read_counting(path, wanted, num_frames=len(index.seconds), deadline=deadline)
                return
            times, done = [index.ticks[i] for i in wanted], 0
            for frame in _read_at(container, stream, times, deadline=deadline, seek=True):
                yield frame
                done += 1
            if done < len(times):  # A seek that went astray: from the start, then.
                with av.open(path) as again:
                    yield from _read_at(again, _video_stream(again), times[done:], deadline=deadline, seek=False)

        yield Source(index.seconds, read)


def open_index(path: str, deadline: Deadline) -> Index:
    """The index of a file; see `open_pyav` for what it raises."""
    with av.open(path) as container:
        return read_index(container, _video_stream(container), deadline)


def read_index(container: Any, stream: Any, deadline: Deadline) -> Index:
    """Counts the packets of a stream: containers lie about the number of frames, packets do not.

    No frames are packets that need a key frame before the first one, that an edit list discards, or that the end of
    the file cuts off.

    Raises:
        ValueError: no frames, none that can be decoded, or a file that was cut off.
    """
    times: list[int | None] = []
    first_key, closed, num_whole = None, stream.codec_context.name == "h264", 0
    for packet in container.demux(stream):
        deadline.check()
        if not packet.size or packet.is_corrupt:
            continue
        num_whole += 1
        if packet.is_keyframe:
            first_key = first_key or packet
            closed = closed and _has_idr(bytes(packet))
        if first_key is None or packet.is_discard:
            continue
        if packet.pts is None or first_key.pts is None or packet.pts >= first_key.pts:
            times.append(packet.pts)
    if not times:
        raise ValueError("no frames" if first_key else "no key frame, so that no frame can be decoded")
    if "mp4" in container.format.name and num_whole < stream.frames:  # The index in front lists every frame.
        raise ValueError(f"the file ends after {num_whole} of {stream.frames} frames")
    known = sorted(time for time in times if time is not None)
    exact = len(set(known)) == len(times)
    if exact:
        seconds = (np.array(known) - known[0]) * float(stream.time_base)
    else:
        seconds = np.arange(len(times)) / float(stream.average_rate or np.nan)
    stated = stream.duration * stream.time_base if stream.duration else Fraction(container.duration or 0, av.time_base)
    return Index(
        container.format.name,
        stream.codec_context.name,
        stream.frames,
        float(stated) or None,
        known if exact else None,
        seconds,
        closed,
    )


def _has_idr(packet: bytes) -> bool:
    """Whether an H.264 packet of an MP4 or Matroska file (units behind lengths of 4 bytes) holds an IDR slice."""
    start = 0
    while start + 4 < len(packet):
        if packet[start + 4] & 31 == 5:
            return True
        start += 4 + int.from_bytes(packet[start : start + 4], "big")
    return False


def _video_stream(container: Any) -> Any:
    stream = container.streams.best("video")
    if stream is None:
        raise ValueError("no video stream")
    if stream.codec_context is None:
        raise ValueError("no decoder for the video stream")
    stream.codec_context.thread_count = 1  # The loader's processes share the cores.
    return stream


def _read_at(container: Any, stream: Any, times: list[int], *, deadline: Deadline, seek: bool) -> Iterator[np.ndarray]:
    """The frames with these presentation times, up to the first that does not come.

    Raises:
        ValueError: a frame of a group of pictures that has wanted ones is damaged.
    """
    if seek:
        container.seek(times[0], stream=stream)
    to_rgb, wanted, left = _ToRgb(), set(times), deque(times)
    damaged, in_group = False, False
    for frame in _frames_for(container, stream, times, deadline=deadline, seek=seek):
        if frame.key_frame:
            damaged, in_group = False, False
        damaged |= bool(frame.is_corrupt)
        in_group |= frame.pts in wanted
        if damaged and in_group:  # Others of the group lean on a damaged frame, also some shown before it.
            raise ValueError(f"the frame at {float(frame.pts * stream.time_base):.2f} s is damaged")
        if frame.pts == left[0]:
            yield to_rgb(frame)
            left.popleft()
        elif frame.pts is not None and frame.pts > left[0]:
            return
        if not left:
            return


def _frames_for(container: Any, stream: Any, times: list[int], *, deadline: Deadline, seek: bool) -> Iterator[Any]:
    """The decoded frames from the first key frame on; none if a seek led to one behind the first wanted frame.

    H.264 frames that no other frame refers to are not decoded unless they are wanted.
    """
    context, wanted, started = stream.codec_context, set(times), False
    for packet in container.demux(stream):
        deadline.check()
        if not started:
            if not packet.is_keyframe:
                continue  # It leans on a group of pictures that was not decoded.
            if seek and (packet.pts is None or packet.pts > times[0]):
                return
            started = True
        if context.name == "h264":
            context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in wanted else "NONREF"
        yield from packet.decode()


def _read_counting(path: str, wanted: list[int], *, num_frames: int, deadline: Deadline) -> Iterator[np.ndarray]:
    """The frames at these sorted indices, counted from the start; every frame of the file must come, and whole."""
    to_rgb, count, rows = _ToRgb(), 0, set(wanted)
    with av.open(path) as container:
        for frame in container.decode(_video_stream(container)):
            deadline.check()
            if frame.is_corrupt:
                raise ValueError(f"frame {count} is damaged")
            if count in rows:
                yield to_rgb(frame)
            count += 1
    if count != num_frames:
        raise ValueError(f"{count} of {num_frames} frames can be decoded")


class _ToRgb:
    """Frames to (H, W, 3) uint8, upright: PyAV leaves the rotation that a phone notes in the file to us.

    One reformatter for all frames, on one thread: `frame.to_ndarray(format="rgb24")` sets up a
    threaded converter for every frame, which takes 8 to 20 times as long.
    """

    def __init__(self) -> None:
        self.reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        image = self.reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(np.rot90(image, frame.rotation // 90)) if frame.rotation else image
