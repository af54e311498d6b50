"""What a compressed packet holds, by its first bits: whether packets can be taken for pictures without decoding.

Containers count packets, and state times that were copied from elsewhere; the bits of the pictures do not lie. Only
codecs that are known here can be believed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

H264_SLICES, H264_IDR, H264_SEI, H264_SETS = (1, 5, 2), 5, 6, (7, 8)
H264_444 = (44, 244)
"""Profiles with full colour. Early x264 coded them otherwise, and only the first packet of a file says that it did: a
decoder cannot begin at a later picture."""
RECOVERY_POINT = 6
"""The SEI message of H.264 that says from where on pictures are right."""
HEVC_SLICES, HEVC_KEYS, HEVC_IDRS, HEVC_SETS = range(32), range(16, 22), (19, 20), range(32, 35)
HEVC_CUTS = (16, 17, 18, 36, 37)
"""Units where streams were joined: pictures are lost there."""
VOP, USER_DATA = b"\0\0\1\xb6", b"\0\0\1\xb2"
"""The start codes of a picture of MPEG-4 Part 2, and of what its encoder says of itself."""
SMALLEST_VOP = 12
"""Bytes of a picture of MPEG-4 Part 2 that surely holds blocks: one that only says "as before" has fewer."""


class Picture(NamedTuple):
    """What a packet holds."""

    shown: int
    """Pictures that come out of the decoder; 2 where that is not certain."""
    alone: bool = True
    """Whether pictures that are shown after it lean on nothing before it. It matters for key pictures."""
    closed: bool = True
    """Whether, besides, none that follows it in the file is shown before it."""
    backward: bool = False
    """Whether it may lean on a picture that is shown after it, so that the two are stored in another order."""
    tells: bool = False
    """Whether it tells a decoder what holds for later ones, too: parameter sets, who encoded the video."""


Look = Callable[[bytes], Picture]
ORDINARY, HIDDEN, UNCERTAIN = Picture(1), Picture(0), Picture(2, False, False)


def look_for(context: Any) -> Look | None:
    """What looks at the packets of a stream; None for codecs of which packets cannot be believed.

    Args:
        context: the codec context of a stream (PyAV).
    """
    name, extradata = context.codec.canonical_name, bytes(context.extradata or b"")
    if name == "h264":
        # Pictures of interlaced video may be stored in two packets, one for each field.
        believed = len(extradata) > 8 and extradata[0] == 1 and _is_progressive(extradata[8:])
        return partial(_h264, length=(extradata[4] & 3) + 1, alone=extradata[1] not in H264_444) if believed else None
    if name == "hevc":
        believed = len(extradata) > 22 and extradata[0] == 1
        return partial(_hevc, length=(extradata[21] & 3) + 1, reorders=context.has_b_frames) if believed else None
    if context.codec.intra_only and name != "mjpeg":
        return lambda _: ORDINARY
    return {"mjpeg": _mjpeg, "mpeg4": _mpeg4, "vp8": _vp8, "vp9": _vp9, "av1": lambda _: ORDINARY}.get(name)


class _Bits:
    """Numbers in a row of bits; zeros behind its end."""

    def __init__(self, content: bytes) -> None:
        self.value, self.left = int.from_bytes(content, "big"), 8 * len(content)

    def take(self, count: int) -> int:
        """The number u(n) of so many bits."""
        if count > self.left:
            self.value, self.left = self.value << count - self.left, count
        self.left -= count
        found = self.value >> self.left
        self.value &= (1 << self.left) - 1
        return found

    def golomb(self) -> int:
        """The number ue(v) (H.264, clause 9.1)."""
        zeros = self.left - self.value.bit_length()
        self.take(zeros)
        return self.take(zeros + 1) - 1


# H.264 and HEVC: units, each behind its size in a fixed number of bytes


def _first_slices() -> list[Picture | None]:
    """What a slice of H.264 begins, by its first byte: a picture if it holds the first macroblock."""
    found = list[Picture | None]()
    for byte in range(256):
        bits = _Bits(bytes([byte]))  # The macroblock's number, 0 in one bit, then the type, in up to 7.
        begins = bits.golomb() == 0
        found.append(Picture(1, False, False, bits.golomb() % 5 == 1) if begins else None)
    return found


_FIRST_SLICES = _first_slices()


def _h264(packet: bytes, *, length: int, alone: bool) -> Picture:
    """A picture of one or more slices, as their headers say (clauses 7.3.2 and 7.3.3).

    Args:
        length: bytes of a unit's size.
        alone: whether pictures can stand alone.
    """
    picture, is_idr, recovers, tells, place, end = None, False, False, False, length, len(packet) - 1
    while place < end:
        kind = packet[place] & 31
        if kind in H264_SLICES:
            first = _FIRST_SLICES[packet[place + 1]]
            if first is not None:
                if picture is not None:
                    return UNCERTAIN
                picture, is_idr = first, kind == H264_IDR
        elif kind == H264_SEI:
            recovers = recovers or _recovers(packet[place + 1 : place + 64])
        elif kind in H264_SETS:
            tells = True
        place += length + int.from_bytes(packet[place - length : place], "big")
    if picture is None:
        return UNCERTAIN
    if is_idr or recovers or tells:
        return Picture(1, alone and (is_idr or recovers), alone and is_idr, picture.backward, tells)
    return picture


def _recovers(message: bytes) -> bool:
    """Whether SEI messages say that all that is shown from this picture on is exactly right (clause D.2.8)."""
    place = 0
    while place + 2 < len(message):
        numbers = []
        for _ in range(2):  # The kind and the size, each in steps of 255.
            number = 0
            while place < len(message) and message[place] == 255:
                number, place = number + 255, place + 1
            numbers.append(number + message[place] if place < len(message) else 0)
            place += 1
        if numbers[0] == RECOVERY_POINT:
            return place < len(message) and message[place] & 0b1100_0000 == 0b1100_0000  # After 0 frames, exactly.
        place += numbers[1]
    return False


def _is_progressive(parameters: bytes) -> bool:
    """Whether a sequence parameter set of H.264 says that pictures have no fields (clause 7.3.2.1.1)."""
    content = parameters.replace(b"\0\0\3", b"\0\0")
    bits = _Bits(content[4:])
    bits.golomb()
    if content[1] not in (66, 77, 88):  # The higher profiles say more.
        chroma = bits.golomb()
        bits.take(chroma == 3)
        bits.golomb(), bits.golomb(), bits.take(1)
        if bits.take(1):
            for number in range(12 if chroma == 3 else 8):
                _skip_scaling(bits, 16 if number < 6 else 64)
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1), bits.golomb(), bits.golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.golomb()
    bits.golomb(), bits.take(1), bits.golomb(), bits.golomb()
    return bits.take(1) == 1


def _skip_scaling(bits: _Bits, size: int) -> None:
    """A list of scaling factors, if it is there (clause 7.3.2.1.1.1)."""
    last = following = 8
    for _ in range(size if bits.take(1) else 0):
        if following:
            number = bits.golomb()
            following = (last + (number + 1) // 2 * (1 if number % 2 else -1)) % 256
        last = following or last


def _hevc(packet: bytes, *, length: int, reorders: bool) -> Picture:
    """A picture of one or more slices; random access pictures stand alone (H.265, clauses 7.3.1 and 7.3.6).

    Args:
        length: bytes of a unit's size.
        reorders: whether the sequence parameter set says that pictures are stored in another order.
    """
    kinds, tells, place, end = list[int](), False, length, len(packet) - 1
    while place < end:
        kind, first = packet[place] >> 1 & 63, packet[place + 2 : place + 3]
        if kind in HEVC_CUTS or (kind in HEVC_KEYS and first >= b"\xc0"):  # Pictures that wait are not shown any more.
            return UNCERTAIN
        if kind in HEVC_SLICES and first >= b"\x80":  # The first slice of a picture says that it is.
            kinds.append(kind)
        tells = tells or kind in HEVC_SETS
        place += length + int.from_bytes(packet[place - length : place], "big")
    if len(kinds) != 1:
        return UNCERTAIN
    return Picture(1, kinds[0] in HEVC_KEYS, kinds[0] in HEVC_IDRS, reorders, tells)


# Others


def _mpeg4(packet: bytes) -> Picture:
    """Packed streams hold two pictures in a packet, and tiny ones say "as before", which nothing is shown for."""
    start = packet.find(VOP)
    head = packet[start + 4 : start + SMALLEST_VOP]
    if start < 0 or len(head) < SMALLEST_VOP - 4 or b"\0\0" in head or packet.find(VOP, start + 4) >= 0:
        return UNCERTAIN
    kind = head[0] >> 6
    return Picture(1, kind == 0, False, kind == 2, USER_DATA in packet[:start])


def _mjpeg(packet: bytes) -> Picture:
    """An image without tables of its own leans on one before it."""
    return ORDINARY if b"\xff\xdb" in packet[:4096] else UNCERTAIN


def _vp8(packet: bytes) -> Picture:
    """Some pictures are only there for others to lean on (RFC 6386, section 9.1)."""
    return ORDINARY if packet[0] & 0b1_0000 else HIDDEN


def _vp9(packet: bytes) -> Picture:
    """The same, unless one that is shown is in the same packet (VP9, section 6.2 and annex B)."""
    shown = [
        bool(first & 0b0000_1010) or first & 0b0011_0000 == 0b0011_0000  # Profile 3 says it elsewhere.
        for first in _vp9_frames(packet)
    ]
    return ORDINARY if sum(shown) == 1 else UNCERTAIN if any(shown) else HIDDEN


def _vp9_frames(packet: bytes) -> list[int]:
    """The first bytes of the frames that an index at the end of a packet lists; that of the packet if there is none."""
    marker = packet[-1]
    count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index = len(packet) - 2 - count * width
    if marker & 0b1110_0000 != 0b1100_0000 or index < 0 or packet[index] != marker:
        return [packet[0]]
    firsts, place = [], 0
    for number in range(count):
        size = packet[index + 1 + number * width : index + 1 + (number + 1) * width]
        firsts += list(packet[place : place + 1])
        place += int.from_bytes(size, "little")
    return firsts
