"""Which frames a video file holds: as its packets say where these can be believed, else as a decode of it all shows."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import av
import numpy as np

from nonlocal_video.data.decoders.container import AvError, open_container, video_stream
from nonlocal_video.data.decoders.memory import Index, known, remember
from nonlocal_video.data.decoders.picture import Picture
from nonlocal_video.data.decoders.pictures import look_for
from nonlocal_video.data.decoders.source import Deadline

TRUE_TIMES = frozenset(["mp4", "matroska"])
"""Containers that store when a picture is shown. AVI stores when it is decoded, MPEG-TS where it is in a broadcast."""
CHANGES = ("new_extradata", "palette", "param_change")
"""What a packet may bring beside its bytes that holds for later packets, too."""
KEPT_BYTES = 2**24
"""Of the packets of a file that are held in memory while it is open, so that they are read once."""


class _Stored(NamedTuple):
    """A packet of a stream."""

    tick: int | None
    """When it is shown."""
    is_key: bool
    is_shown: bool
    """Whether no edit list leaves it out."""
    picture: Picture


def open_index(path: str, deadline: Deadline) -> Index:
    """The index of a file.

    Raises:
        ValueError, OSError, av.FFmpegError: the file was cut off, holds no frame that can be decoded, or is no video.
    """
    if (index := known(path)) is not None:
        return index
    with open_container(path) as container:
        index = read_index(container, video_stream(container), deadline)
    return index or count_frames(path, deadline)


def read_index(container: Any, stream: Any, deadline: Deadline, kept: list[Any] | None = None) -> Index | None:
    """What the packets tell without decoding; None if they cannot be believed.

    Args:
        kept: gets all packets, unless they have more than `KEPT_BYTES`.

    Raises:
        ValueError: no packets, or a file that was cut off.
    """
    names, num_whole, num_bytes, stored = container.format.name.split(","), 0, 0, list[_Stored]()
    look = None if TRUE_TIMES.isdisjoint(names) else look_for(stream.codec_context)
    for packet in container.demux(stream):
        deadline.check()
        num_bytes += packet.size
        if kept is not None and num_bytes <= KEPT_BYTES:
            kept.append(packet)
        if not packet.size or packet.is_corrupt:
            continue
        num_whole += 1
        if packet.is_keyframe and any(map(packet.has_sidedata, CHANGES)):
            look = None
        if look is not None:
            stored.append(_Stored(packet.pts, packet.is_keyframe, not packet.is_discard, look(bytes(packet))))
    if kept is not None and num_bytes > KEPT_BYTES:
        kept.clear()
    if not num_whole:
        raise ValueError("no frames")
    if "mp4" in names:
        _check_end(stream, num_whole)
    ticks = _believed(stored, reorders=stream.codec_context.has_b_frames)
    if look is None or ticks is None:
        return None
    index = describe(container, stream)
    return index._replace(
        seconds=(np.array(ticks) - ticks[0]) * float(stream.time_base),
        ticks=ticks,
        believed=True,
        starts=_starts(stored, index.codec),
        closed=all(one.picture.closed and not one.picture.tells for one in stored if one.is_key),
    )


def _check_end(stream: Any, num_whole: int) -> None:
    """Raises: ValueError: an MP4 file, whose index lists what it shows, ends before all of that."""
    if num_whole < len(stream.index_entries):
        num_listed = sum(entry.size > 0 for entry in stream.index_entries)
        if num_whole < num_listed:
            raise ValueError(f"the file ends after {num_whole} of {num_listed} frames")


def _starts(stored: Sequence[_Stored], codec: str) -> list[int]:
    """The times of the key pictures that a decode can begin with.

    Where pictures tell what holds for later ones, too, these are only those that do. In H.264 and HEVC the first one
    repeats what the container says.
    """
    telling = any(one.picture.tells for one in stored[0 if codec == "mpeg4" else 1 :])
    keys = [one for one in stored if one.is_key and one.picture.alone and (one.picture.tells or not telling)]
    return sorted(one.tick for one in keys if one.tick is not None)


def _believed(stored: Sequence[_Stored], *, reorders: bool) -> list[int] | None:
    """The times of the frames, sorted; None unless each packet is one picture that is shown when it says.

    Args:
        reorders: whether the decoder gives pictures in another order than that of the packets.
    """
    if not stored or not stored[0].is_key or any(one.picture.shown > 1 for one in stored):
        return None
    frames = [one for one in stored if one.picture.shown]
    ticks = [one.tick for one in frames if one.tick is not None]
    if len(ticks) < len(frames):
        return None
    orders = [place if (order := one.picture.order) is None else order for place, one in enumerate(frames)]
    in_order = sorted(zip(ticks, orders, strict=True))
    if not reorders and [tick for tick, _ in in_order] != ticks:
        return None
    if not all(one < other and a < b for (one, a), (other, b) in pairwise(in_order)):
        return None
    shown = sorted(one.tick for one in frames if one.is_shown and one.tick is not None)
    return shown if shown and shown[0] >= ticks[0] else None  # Else some may lean on what is not in the file.


def count_frames(path: str, deadline: Deadline) -> Index:
    """What a decode of the whole file tells; it is remembered, since it takes as long as that.

    Raises:
        ValueError, OSError, av.FFmpegError: no frame can be decoded.
    """
    with open_container(path) as container:
        stream = video_stream(container)
        index = index_frames(container, stream, [one.pts for one in decode_all(container, stream, deadline) if one])
    remember(path, index)
    return index


def index_frames(container: Any, stream: Any, ticks: Sequence[int | None]) -> Index:
    """The index of frames that a decode of the whole file gave, by the times that came with them, in whatever order.

    Raises:
        ValueError: there are none.
    """
    if not ticks:
        raise ValueError("no frame can be decoded")
    index, distinct = describe(container, stream), sorted({tick for tick in ticks if tick is not None})
    if len(distinct) < len(ticks):
        rate = float(stream.average_rate or stream.guessed_rate or np.nan)
        return index._replace(seconds=np.arange(len(ticks)) / rate)
    if ticks != distinct:  # Packets bear the times of their decoding: put in order, they are those of the pictures.
        distinct = [tick - distinct[0] for tick in distinct]
    return index._replace(seconds=(np.array(distinct) - distinct[0]) * float(stream.time_base), ticks=distinct)


def decode_all(container: Any, stream: Any, deadline: Deadline) -> Iterator[Any]:
    """The frames of a plain decode; None where something cannot be decoded."""
    for packet in container.demux(stream):
        deadline.check()
        yield from decode_packet(packet)


def decode_packet(packet: Any) -> Sequence[Any]:
    """The frames that come out of the decoder for a packet; None if it cannot be decoded."""
    try:
        frames: Sequence[Any] = packet.decode()
    except AvError:
        # An empty one repeats the frame before (Theora), and nothing comes out for it. The last of all has no buffer.
        return () if not packet.size and packet.buffer_ptr else (None,)
    return frames


def describe(container: Any, stream: Any) -> Index:
    """What the container says, without the frames."""
    stated = stream.duration * stream.time_base if stream.duration else Fraction(container.duration or 0, av.time_base)
    return Index(
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        claimed=stream.frames,
        stated_s=float(stated) or None,
        seconds=np.empty(0),
        ticks=None,
        believed=False,
        starts=[],
        closed=False,
    )
