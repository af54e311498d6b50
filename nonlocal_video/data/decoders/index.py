"""Which frames a video file holds: as its packets say where these can be believed, else as a decode of it all shows."""

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import av
import numpy as np

from nonlocal_video.data.decoders.container import AvError, open_container, video_stream
from nonlocal_video.data.decoders.picture import Picture
from nonlocal_video.data.decoders.pictures import look_for
from nonlocal_video.data.decoders.source import Deadline

TRUE_TIMES = frozenset(["mp4", "matroska"])
"""Containers that store when a picture is shown. AVI stores when it is decoded, MPEG-TS where it is in a broadcast."""
CHANGES = ("new_extradata", "palette", "param_change")
"""Side data of a packet that hold for later packets, too."""
KEPT_BYTES = 2**24
"""The packets of a file that are held in memory while it is open, so that they are read once, have at most so many."""
REMEMBERED_FRAMES = 2**20
"""Frames of files that a process remembers: some 50 bytes for each, so that many workers do not fill the memory."""


class Index(NamedTuple):
    """The frames of a file."""

    container: str
    codec: str
    claimed: int
    """The number of frames that the container states; 0 if it states none."""
    stated_s: float | None
    """The duration that the container states."""
    seconds: np.ndarray = np.empty(0)
    """(n,) when each frame is shown; NaN where nobody knows."""
    ticks: list[int] | None = None
    """(n,) when each frame is shown, in units of the stream; None where nobody knows."""
    believed: bool = False
    """Whether the packets tell all this, and frames bear these times; all was decoded otherwise."""
    starts: Sequence[int] = ()
    """Times from which on a decode is exact, without what comes before; none if not believed."""
    closed: bool = False
    """Whether no frame leans on another beyond a key frame, which is known of H.264 and HEVC only."""


class _Stored(NamedTuple):
    """A packet of a stream."""

    tick: int | None
    """When its picture is shown."""
    is_key: bool
    is_shown: bool
    """Whether no edit list leaves it out."""
    picture: Picture


def open_index(path: str, deadline: Deadline) -> Index:
    """The index of a file; raises what `open_pyav` does if it was cut off, or if none of its frames can be decoded."""
    if (index := known(path)) is not None:
        return index
    with open_container(path) as container:
        index = read_index(container, video_stream(container), deadline)
    return index or count_frames(path, deadline)


def read_index(container: Any, stream: Any, deadline: Deadline, kept: list[Any] | None = None) -> Index | None:
    """The index that packets tell without decoding; None if they cannot be believed.

    `kept` gets all packets, unless they have more than `KEPT_BYTES`. A ValueError says that the file was cut off.
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
        look = None if packet.is_keyframe and any(map(packet.has_sidedata, CHANGES)) else look
        if look is not None:
            stored.append(_Stored(packet.pts, packet.is_keyframe, not packet.is_discard, look(bytes(packet))))
    if kept is not None and num_bytes > KEPT_BYTES:
        kept.clear()
    if not num_whole:
        raise ValueError("no frames")
    if "mp4" in names and num_whole < len(stream.index_entries):  # The index of an MP4 file lists what it shows.
        num_listed = sum(entry.size > 0 for entry in stream.index_entries)
        if num_whole < num_listed:
            raise ValueError(f"the file ends after {num_whole} of {num_listed} frames")
    ticks = _believed(stored, reorders=stream.codec_context.has_b_frames)
    if look is None or ticks is None:
        return None
    index = stated_index(container, stream)
    return index._replace(
        seconds=(np.array(ticks) - ticks[0]) * float(stream.time_base),
        ticks=ticks,
        believed=True,
        starts=_starts(stored, index.codec),
        closed=all(packet.picture.closed and not packet.picture.tells for packet in stored if packet.is_key),
    )


def _starts(stored: Sequence[_Stored], codec: str) -> list[int]:
    """The times of the key pictures that a decode can begin with."""
    # Where pictures tell what holds for later ones, too, these are only those that do. In H.264 and HEVC the first one
    # repeats what the container says.
    telling = any(packet.picture.tells for packet in stored[0 if codec == "mpeg4" else 1 :])
    keys = [packet for packet in stored if packet.is_key and packet.picture.alone]
    return sorted(key.tick for key in keys if key.tick is not None and (key.picture.tells or not telling))


def _believed(stored: Sequence[_Stored], *, reorders: bool) -> list[int] | None:
    """The times of the frames, sorted; None unless each packet is one picture that is shown when it says.

    `reorders` tells whether the decoder gives pictures in another order than that of the packets.
    """
    if not stored or not stored[0].is_key or any(packet.picture.shown > 1 for packet in stored):
        return None
    frames = [packet for packet in stored if packet.picture.shown]
    ticks = [frame.tick for frame in frames if frame.tick is not None]
    if len(ticks) < len(frames):
        return None
    orders = [place if (order := frame.picture.order) is None else order for place, frame in enumerate(frames)]
    in_order = sorted(zip(ticks, orders, strict=True))
    if not reorders and [tick for tick, _ in in_order] != ticks:
        return None
    if not all(tick < later and order < after for (tick, order), (later, after) in pairwise(in_order)):
        return None
    shown = sorted(frame.tick for frame in frames if frame.is_shown and frame.tick is not None)
    return shown if shown and shown[0] >= ticks[0] else None  # Else some may lean on what is not in the file.


def count_frames(path: str, deadline: Deadline) -> Index:
    """The index that a decode of the whole file tells; it is remembered, since it takes as long as that."""
    with open_container(path) as container:
        stream = video_stream(container)
        ticks = [frame.pts for frame in decode_all(container.demux(stream), deadline) if frame]
        index = index_frames(container, stream, ticks)
    remember(path, index)
    return index


def index_frames(container: Any, stream: Any, ticks: Sequence[int | None]) -> Index:
    """The index of the frames that a decode of the whole file gave, by the times of these, in whatever order."""
    if not ticks:
        raise ValueError("no frame can be decoded")
    index, distinct = stated_index(container, stream), sorted({tick for tick in ticks if tick is not None})
    if len(distinct) < len(ticks):
        rate = float(stream.average_rate or stream.guessed_rate or np.nan)
        return index._replace(seconds=np.arange(len(ticks)) / rate)
    if ticks != distinct:  # Packets bear the times of their decoding: put in order, they are those of the pictures.
        distinct = [tick - distinct[0] for tick in distinct]
    return index._replace(seconds=(np.array(distinct) - distinct[0]) * float(stream.time_base), ticks=distinct)


def decode_all(packets: Iterable[Any], deadline: Deadline) -> Iterator[Any]:
    """The frames that come out of the decoder for packets; None where something cannot be decoded."""
    for packet in packets:
        deadline.check()
        try:
            frames = packet.decode()
        except AvError:
            # An empty one repeats the frame before (Theora), and nothing comes out for it. The last has no buffer.
            frames = () if not packet.size and packet.buffer_ptr else (None,)
        yield from frames


def stated_index(container: Any, stream: Any) -> Index:
    """An index with what the container states, without the frames."""
    stated = stream.duration * stream.time_base if stream.duration else Fraction(container.duration or 0, av.time_base)
    codec = stream.codec_context.codec.canonical_name
    return Index(container.format.name, codec, claimed=stream.frames, stated_s=float(stated) or None)


_kept = OrderedDict[tuple[str, int, int], Index]()
"""Indices that a process remembers, of files that are not changed; those that were used last are kept."""


def remember(path: str, index: Index) -> None:
    """Keeps an index for as long as the file is not changed."""
    forget(path)
    _kept[_key(path)] = index
    while len(_kept) > 1 and sum(len(kept.seconds) for kept in _kept.values()) > REMEMBERED_FRAMES:
        _kept.popitem(last=False)


def known(path: str) -> Index | None:
    """The index that was kept of a file."""
    key = _key(path)
    if key in _kept:
        _kept.move_to_end(key)
    return _kept.get(key)


def forget(path: str) -> None:
    """Drops the index that was kept of a file."""
    _kept.pop(_key(path), None)


def _key(path: str) -> tuple[str, int, int]:
    status = os.stat(path)
    return path, status.st_size, status.st_mtime_ns
