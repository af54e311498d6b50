"""PyAV, the decoder that was right on every file we know."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import dropwhile
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from nonlocal_video.data.decoders.container import AvError, open_container, orientation, upright, video_stream
from nonlocal_video.data.decoders.index import Index, count_frames, decode_all, forget, known, read_index, remember
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
                yield Source(believed.seconds, partial(_read_believing, path, believed, container, kept, deadline))
                return
        index = count_frames(path, deadline)
    yield Source(index.seconds, partial(_read_counting, path, deadline))


def _read_believing(
    path: str, index: Index, container: Any, kept: list[Any], deadline: Deadline, wanted: list[int]
) -> Iterator[np.ndarray]:
    """The frames at these sorted indices, by the times that the packets promise."""
    times = index.ticks or []
    ticks = [times[row] for row in wanted]
    start = bisect_right(index.starts, ticks[0]) - 1
    try:
        if start >= 0:
            yield from _read_from(container, kept, index.starts[start], ticks, deadline)
        else:
            with open_container(path) as anew:
                stream = video_stream(anew)
                yield from _pick(anew.demux(stream), stream, ticks, deadline)
    except (_StrayError, AvError) as error:
        if start >= 0:  # The next reading begins at the beginning of the file.
            remember(path, index._replace(starts=()))
        elif not str(error):  # The packets promised other frames than there are.
            count_frames(path, deadline)
        else:  # A decode from the beginning says that the file is damaged.
            forget(path)
            if isinstance(error, AvError):
                raise
            raise ValueError(str(error)) from error
        raise MisreadError from error


class _StrayError(Exception):
    """A reading that gives other frames than those asked for; the message says what is damaged, if something is."""


def _read_from(
    container: Any, kept: list[Any], start: int, ticks: list[int], deadline: Deadline
) -> Iterator[np.ndarray]:
    """The frames with these times, by a decode from the key picture at `start`, sought unless packets were kept."""
    stream = video_stream(container)
    if not kept:
        container.seek(start, stream=stream)
    packets = kept or container.demux(stream)
    behind = dropwhile(lambda packet: not (packet.is_keyframe and packet.pts == start), packets)
    yield from _pick(behind, stream, ticks, deadline)


def _sparing(packets: Iterable[Any], context: Any, ticks: list[int]) -> Iterator[Any]:
    """The packets, told to the decoder: H.264 frames that nothing refers to are decoded only if they are wanted."""
    wanted = set(ticks)
    for packet in packets:
        if context.name == "h264":
            context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in wanted else "NONREF"
        yield packet


def _pick(packets: Iterable[Any], stream: Any, ticks: list[int], deadline: Deadline) -> Iterator[np.ndarray]:
    """The frames that are shown at these times; a `_StrayError` if one is missing, misplaced or in a damaged group."""
    to_rgb, damage, left, latest = _ToRgb(), _Damage(), deque(ticks), None
    for frame in decode_all(_sparing(packets, stream.codec_context, ticks), deadline):
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
    """The frames at these sorted indices, counted from the beginning of the file; a ValueError if one is damaged."""
    to_rgb, damage, rows, count = _ToRgb(), _Damage(), set(wanted), 0
    with open_container(path) as container:
        for frame in decode_all(container.demux(video_stream(container)), deadline):
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
        """Whether the next frame, None if something could not be decoded, is in a damaged group with wanted frames."""
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
        """The orientation that the file says, for all its frames."""

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        self.turns = self.turns or orientation(frame)
        return upright(self.reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray(), self.turns)
