"""PyAV, the decoder that was right on every file we know."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import dropwhile
from typing import Any, NoReturn

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from nonlocal_video.data.decoders.container import AvError, open_container, video_stream
from nonlocal_video.data.decoders.index import count_frames, decode_all, decode_packet, read_index
from nonlocal_video.data.decoders.memory import Index, forget, known, remember
from nonlocal_video.data.decoders.orientation import orientation, upright
from nonlocal_video.data.decoders.source import Deadline, MisreadError, Source


@contextmanager
def open_pyav(path: str, deadline: Deadline) -> Iterator[Source]:
    """Raises: ValueError, OSError, av.FFmpegError: the file is damaged or no video."""
    index = known(path)
    if index is None or index.believed:
        with open_container(path) as container:
            kept = list[Any]()
            believed = index or read_index(container, video_stream(container), deadline, kept)
            if believed is not None:
                read = partial(_read_believing, path, believed, container, kept, deadline)
                yield Source(believed.seconds, read)
                return
        index = count_frames(path, deadline)
    yield Source(index.seconds, partial(_read_counting, path, deadline))


def _read_believing(
    path: str, index: Index, container: Any, kept: list[Any], deadline: Deadline, wanted: list[int]
) -> Iterator[np.ndarray]:
    """The frames at these sorted indices, by the times that the packets promise.

    Raises:
        MisreadError: another reading may give them.
        ValueError, av.FFmpegError: the file is damaged.
    """
    stream, times = video_stream(container), index.ticks or []
    ticks = [times[row] for row in wanted]
    start = bisect_right(index.starts, ticks[0]) - 1
    try:
        if start >= 0:
            packets = kept or _sought(container, stream, index.starts[start])
            yield from _read_from(packets, stream, index.starts[start], ticks, deadline)
        else:
            yield from _read_whole(path, ticks, deadline)
    except (_StrayError, AvError) as error:
        _learn(path, index._replace(starts=[]), error, sought=start >= 0, deadline=deadline)


class _StrayError(Exception):
    """A reading that gives other frames than those asked for; the message says what is damaged, if something is."""


def _learn(path: str, index: Index, error: _StrayError | AvError, *, sought: bool, deadline: Deadline) -> NoReturn:
    """Keeps for the next reading of a file what a failed one tells.

    Args:
        index: that of the file, for readings from its beginning.
        sought: whether the reading began somewhere else.

    Raises:
        MisreadError: another reading may give the frames.
        ValueError, av.FFmpegError: the file is damaged, since a decode from its beginning says so.
    """
    if sought:
        remember(path, index)
    elif not str(error):  # Its packets promised other frames than there are.
        count_frames(path, deadline)
    else:
        forget(path)
        raise error if isinstance(error, AvError) else ValueError(str(error))
    raise MisreadError from error


def _read_whole(path: str, ticks: list[int], deadline: Deadline) -> Iterator[np.ndarray]:
    """The frames with these presentation times, by a decode from the beginning of the file."""
    with open_container(path) as container:
        stream = video_stream(container)
        yield from _pick(_decode(container.demux(stream), stream, ticks, deadline), ticks, stream)


def _sought(container: Any, stream: Any, start: int) -> Iterator[Any]:
    """The packets from a place at or before the key picture that is shown at `start`."""
    container.seek(start, stream=stream)
    yield from container.demux(stream)


def _read_from(
    packets: Iterable[Any], stream: Any, start: int, ticks: list[int], deadline: Deadline
) -> Iterator[np.ndarray]:
    """The same by a decode of packets from the key picture that is shown at `start`, at or before the first of them."""
    behind = dropwhile(lambda packet: not (packet.is_keyframe and packet.pts == start), packets)
    yield from _pick(_decode(behind, stream, ticks, deadline), ticks, stream)


def _decode(packets: Iterable[Any], stream: Any, ticks: list[int], deadline: Deadline) -> Iterator[Any]:
    """The frames of these packets; None where something cannot be decoded.

    H.264 frames that no other frame refers to are not decoded unless they are wanted.
    """
    context, wanted = stream.codec_context, set(ticks)
    for packet in packets:
        deadline.check()
        if context.name == "h264":
            context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in wanted else "NONREF"
        yield from decode_packet(packet)


def _pick(frames: Iterator[Any], ticks: list[int], stream: Any) -> Iterator[np.ndarray]:
    """Those of the frames that are shown at these times.

    Raises:
        _StrayError: one does not come, frames are out of order, or one is damaged that those could lean on.
    """
    to_rgb, damage, left, latest = _ToRgb(), _Damage(), deque(ticks), None
    for frame in frames:
        if damage.in_group(frame, wanted=frame is not None and frame.pts == left[0]):
            raise _StrayError(f"the frame at {float((latest or left[0]) * stream.time_base):.2f} s is damaged")
        if frame is None:
            continue
        if frame.pts is None or frame.pts > left[0] or (latest is not None and frame.pts <= latest):
            break
        latest = frame.pts
        if frame.pts == left[0]:
            yield to_rgb(frame)
            left.popleft()
            if not left:
                return
    raise _StrayError(f"the frame at {float(left[0] * stream.time_base):.2f} s cannot be decoded" if damage.any else "")


def _read_counting(path: str, deadline: Deadline, wanted: list[int]) -> Iterator[np.ndarray]:
    """The frames at these sorted indices, counted from the beginning of the file.

    Raises:
        ValueError: one is damaged that those could lean on.
    """
    to_rgb, damage, rows, count = _ToRgb(), _Damage(), set(wanted), 0
    with open_container(path) as container:
        for frame in decode_all(container, video_stream(container), deadline):
            if damage.in_group(frame, wanted=frame is not None and count in rows):
                raise ValueError(f"frame {count} is damaged")
            if frame is None:
                continue
            if count in rows:
                yield to_rgb(frame)
            count += 1
            if count > wanted[-1]:
                return


class _Damage:
    """Damage goes on up to the next key picture; other frames of the group lean on it, also some shown before it."""

    def __init__(self) -> None:
        self.any = self.damaged = self.wanted = False

    def in_group(self, frame: Any, *, wanted: bool) -> bool:
        """Whether a group of pictures that has wanted ones is damaged.

        Args:
            frame: the next one, or None if something could not be decoded.
            wanted: whether this one is.
        """
        if frame is not None and frame.key_frame:
            self.damaged, self.wanted = False, False
        self.damaged |= frame is None or bool(frame.is_corrupt)
        self.any |= self.damaged
        self.wanted |= wanted
        return self.damaged and self.wanted


class _ToRgb:
    """Frames to (H, W, 3) uint8, upright: PyAV leaves what a file says of turning and mirroring to us.

    One reformatter for all frames, on one thread: `frame.to_ndarray(format="rgb24")` sets up a
    threaded converter for every frame, which takes 8 to 20 times as long.
    """

    def __init__(self) -> None:
        self.reformatter = VideoReformatter()
        self.turns: tuple[bool, bool, bool] | None = None
        """What the file says, which is the same for all its frames."""

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        self.turns = self.turns or orientation(frame)
        return upright(self.reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray(), self.turns)
