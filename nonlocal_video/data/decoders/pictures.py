"""Compressed packets looked at by their first bits: whether they can be taken for pictures without decoding.

Containers count packets, and state times that were copied from elsewhere; the bits of the pictures do not lie. Only
codecs that are known here can be believed.
"""

from collections.abc import Iterator
from typing import Any

from nonlocal_video.data.decoders.h264 import H264
from nonlocal_video.data.decoders.hevc import Hevc
from nonlocal_video.data.decoders.picture import HIDDEN, ORDINARY, UNCERTAIN, Look, Picture

VOP, USER_DATA = b"\0\0\1\xb6", b"\0\0\1\xb2"
"""The start codes of a picture of MPEG-4 Part 2, and of what its encoder says of itself."""
SMALLEST_VOP = 12
"""Bytes of a picture of MPEG-4 Part 2 that surely holds blocks: one that only says "as before" has fewer."""
B_FRAME, MOST_B_FRAMES = 2, 2**20
SEQUENCE_HEADER, FRAME_HEADERS = 1, (3, 6)
"""Units of AV1: what holds for all frames, and what begins one."""


def look_for(context: Any) -> Look | None:
    """The look at the packets of a stream with this codec context (PyAV); None if packets cannot be believed."""
    name, extradata = context.codec.canonical_name, bytes(context.extradata or b"")
    if name in ("h264", "hevc"):
        try:
            return H264(extradata) if name == "h264" else Hevc(extradata)
        except ValueError:
            return None
    if context.codec.intra_only and name != "mjpeg":
        return lambda _: ORDINARY
    others: dict[str, Look] = {
        # An image without tables of its own leans on one before it.
        "mjpeg": lambda packet: ORDINARY if b"\xff\xdb" in packet[:4096] else UNCERTAIN,
        "mpeg4": Mpeg4(),
        # Some pictures are only there for others to lean on (RFC 6386, section 9.1).
        "vp8": lambda packet: ORDINARY if packet[0] & 0b1_0000 else HIDDEN,
        "vp9": _vp9,
        "av1": _av1,
    }
    return others.get(name)


class Mpeg4:
    """Looks at MPEG-4 Part 2: packed streams hold two pictures in a packet; tiny ones, "as before", show nothing."""

    def __init__(self) -> None:
        self.order = 0

    def __call__(self, packet: bytes) -> Picture:
        """A picture, and what stands before it; of B-frames, each is shown before the last picture that is none."""
        start = packet.find(VOP)
        head = packet[start + 4 : start + SMALLEST_VOP]
        if start < 0 or len(head) < SMALLEST_VOP - 4 or b"\0\0" in head or packet.find(VOP, start + 4) >= 0:
            return UNCERTAIN
        kind = head[0] >> 6
        if kind == B_FRAME:
            self.order += 1
            return Picture(1, False, False, order=self.order)
        self.order += MOST_B_FRAMES - self.order % MOST_B_FRAMES
        return Picture(1, kind == 0, False, USER_DATA in packet[:start], self.order + MOST_B_FRAMES - 1)


def _vp9(packet: bytes) -> Picture:
    """A picture that is shown, or one for others to lean on, unless it shares its packet with one that is shown."""
    # An index at the end of a packet lists the frames in it (VP9, section 6.2 and annex B).
    marker, firsts, place = packet[-1], [packet[0]], 0
    count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index = len(packet) - 2 - count * width
    if marker & 0b1110_0000 == 0b1100_0000 and index >= 0 and packet[index] == marker:
        firsts = []
        for number in range(count):
            size = packet[index + 1 + number * width : index + 1 + (number + 1) * width]
            firsts += packet[place : place + 1]
            place += int.from_bytes(size, "little")
    # Profile 3 says elsewhere whether a frame is shown.
    shown = sum(bool(first & 0b0000_1010) or first & 0b0011_0000 == 0b0011_0000 for first in firsts)
    return ORDINARY if shown == 1 else UNCERTAIN if shown else HIDDEN


def _av1(packet: bytes) -> Picture:
    """A frame that is shown, or one from before that is shown now (AV1, sections 5.3 and 5.9.2)."""
    shown, is_key, tells = 0, False, False
    for kind, first in _av1_units(packet):
        if kind == SEQUENCE_HEADER:
            tells = True
        elif kind in FRAME_HEADERS:
            is_new, is_shown = first < 128, bool(first & 0b1001_0000)
            shown += is_shown
            is_key = is_key or (is_new and is_shown and not first & 0b0110_0000)
    return Picture(shown, is_key, is_key, tells) if shown < 2 else UNCERTAIN


def _av1_units(packet: bytes) -> Iterator[tuple[int, int]]:
    """The kind and the first byte of each unit of AV1."""
    place = 0
    while place < len(packet):
        header, size, shift = packet[place], 0, 0
        place += 2 if header & 4 else 1
        if not header & 2:  # The last one has no size.
            size = len(packet) - place
        while header & 2 and place < len(packet):
            byte = packet[place]
            size, shift, place = size | (byte & 127) << shift, shift + 7, place + 1
            if byte < 128:
                break
        if place < len(packet):
            yield header >> 3 & 15, packet[place]
        place += size
