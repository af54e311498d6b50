"""Videos whose packets are other than they seem, as old encoders and careless tools write them."""

from pathlib import Path
from typing import NamedTuple

import av


class Stored(NamedTuple):
    """A packet to write."""

    content: bytes
    is_key: bool
    pts: int
    dts: int


AS_BEFORE = b"\0\0\1\xb6\x50\x4f"
"""A picture of MPEG-4 Part 2 that is not coded."""


SEQUENCE_ENDS = b"\0\0\0\2\x48\1"
"""A unit of HEVC, behind its size."""


def _packed(packets: list[Stored]) -> list[Stored]:
    """B-frames ride with the picture that they wait for, as XviD and DivX write them; a stub takes the free place."""
    kinds = [packet.content[packet.content.index(b"\0\0\1\xb6") + 4] >> 6 for packet in packets]
    contents, k = list[bytes](), 0
    while k < len(packets):
        behind = next((n for n in range(k + 1, len(packets)) if kinds[n] != 2), len(packets))
        group = [packet.content for packet in packets[k:behind]]
        contents += [group[0] + group[1], *group[2:], AS_BEFORE] if len(group) > 1 else group
        k = behind
    head, picture = packets[0].content, packets[0].content.index(b"\0\0\1\xb6")
    contents[0] = head[:picture] + b"\0\0\1\xb2DivX503b1393p" + contents[0][picture:]
    return [packet._replace(content=content, pts=packet.dts) for packet, content in zip(packets, contents, strict=True)]


def _dropped(packets: list[Stored]) -> list[Stored]:
    return [
        packet._replace(content=AS_BEFORE) if k % 7 == 3 and not packet.is_key else packet
        for k, packet in enumerate(packets)
    ]


def _padded(packets: list[Stored]) -> list[Stored]:
    """Dropped pictures, which are filled up with zeros."""
    return [
        packet._replace(content=packet.content + bytes(20)) if packet.content == AS_BEFORE else packet
        for packet in _dropped(packets)
    ]


def _joined(packets: list[Stored]) -> list[Stored]:
    """HEVC that says before each key frame but the first that a sequence ends, as programs that join videos do."""
    ends = [after.is_key for after in packets[1:]] + [False]
    return [
        packet._replace(content=packet.content + SEQUENCE_ENDS) if end else packet
        for packet, end in zip(packets, ends, strict=True)
    ]


def _decoding_times(packets: list[Stored]) -> list[Stored]:
    return [packet._replace(pts=packet.dts) for packet in packets]


def _exchanged(packets: list[Stored]) -> list[Stored]:
    """Two pictures that follow each other in the file get each other's times of display."""
    changed = list(packets)
    for k in range(3, len(packets) - 1, 7):
        one, other = packets[k : k + 2]
        if min(one.pts, other.pts) >= other.dts:  # No picture can be shown before it is decoded.
            changed[k : k + 2] = [one._replace(pts=other.pts), other._replace(pts=one.pts)]
    assert changed != packets
    return changed


def _merged(packets: list[Stored]) -> list[Stored]:
    """Two pictures in every tenth packet, which bears the time of the first."""
    merged = list[Stored]()
    for k, packet in enumerate(packets):
        if k % 10 == 5 and not packet.is_key:
            merged[-1] = merged[-1]._replace(content=merged[-1].content + packet.content)
        else:
            merged.append(packet)
    return merged


def _cut(packets: list[Stored]) -> list[Stored]:
    return packets[5:]


CHANGES = {
    "packed": _packed,
    "dropped": _dropped,
    "decoding times": _decoding_times,
    "exchanged": _exchanged,
    "merged": _merged,
    "joined": _joined,
    "padded": _padded,
    "cut": _cut,
}


def rewrite(source: Path, target: Path, change: str) -> None:
    """Copies a video with its packets changed; `change` is a key of `CHANGES`."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream, opaque=True)
        packets = [packet for packet in container.demux(stream) if packet.size]
        stored = [Stored(bytes(p), p.is_keyframe, p.pts or p.dts, p.dts) for p in packets]
        for changed in CHANGES[change](stored):
            packet = av.Packet(changed.content)
            packet.stream, packet.time_base = copy, stream.time_base
            packet.pts, packet.dts, packet.is_keyframe = changed.pts, changed.dts, changed.is_key
            out.mux(packet)
