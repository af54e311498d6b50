"""What a compressed packet holds, by its first bits: whether packets can be taken for pictures without decoding.

Containers count packets, and state times that were copied from elsewhere; the bits of the pictures do not lie. Only
codecs that are in `LOOKS` can be believed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

H264_SLICES, H264_IDR, H264_SEI = (1, 2, 5), 5, 6
HEVC_SLICES, HEVC_KEYS, HEVC_IDRS = range(32), range(16, 22), (19, 20)
H264_444 = (44, 244)
"""Profiles with full colour. Early x264 coded them otherwise, and only the first packet of a file says that it did: a
decoder cannot begin at a later picture."""
RECOVERY_POINT = 6
"""The SEI message of H.264 that says from where on pictures are right."""
VOP = b"\0\0\1\xb6"
"""The start code of a picture of MPEG-4 Part 2."""
SMALLEST_VOP = 12
"""Bytes of a picture of MPEG-4 Part 2 that surely holds blocks: one that only says "as before" has fewer."""


UNCERTAIN = 2


class Picture(NamedTuple):
    """What a packet holds."""

    shown: int
    """Pictures that come out of the decoder; more than one, too, where that is not certain."""
    alone: bool = True
    """Whether pictures that are shown after it lean on nothing before it. It matters for key pictures."""
    closed: bool = True
    """Whether, besides, none that follows it in the file is shown before it."""
    backward: bool = False
    """Whether it may lean on a picture that is shown after it, so that the two are stored in another order."""


Look = Callable[[bytes], Picture]
_ORDINARY = Picture(1)


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
    if context.codec.intra_only:
        return lambda _: _ORDINARY
    return _LOOKS.get(name)


def _units(packet: bytes, length: int) -> list[int]:
    """Where the units of an H.264 or HEVC packet begin, each behind its size in `length` bytes."""
    starts, place, end = [], 0, len(packet)
    while place + length < end:
        starts.append(place + length)
        place += length + int.from_bytes(packet[place : place + length], "big")
    return starts


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


def _h264(packet: bytes, *, length: int, alone: bool) -> Picture:
    """A picture begins with a slice of its first macroblock; its slices say their type next.

    Args:
        alone: whether a picture can stand alone.
    """
    pictures, idr, recovery, backward = 0, False, False, False
    for start in _units(packet, length):
        kind = packet[start] & 31
        if kind in H264_SLICES:
            header = _Bits(packet[start + 1 : start + 9])
            pictures += header.golomb() == 0
            idr |= kind == H264_IDR
            backward |= header.golomb() % 5 == 1
        elif kind == H264_SEI:
            recovery |= _recovers(packet[start + 1 : start + 64])
    return Picture(pictures or UNCERTAIN, alone and (idr or recovery), alone and idr, backward)


def _recovers(message: bytes) -> bool:
    """Whether SEI messages say that all that is shown from this picture on is exactly right (H.264, clause D.2.8)."""
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


def _hevc(packet: bytes, *, length: int, reorders: bool) -> Picture:
    """A picture begins with a slice that says that it is the first; random access pictures stand alone.

    Args:
        reorders: whether the sequence parameter set says that pictures are stored in another order.
    """
    pictures, alone, closed = 0, False, False
    for start in _units(packet, length):
        kind = packet[start] >> 1 & 63
        if kind in HEVC_SLICES:
            pictures += packet[start + 2 : start + 3] >= b"\x80"
            alone |= kind in HEVC_KEYS
            closed |= kind in HEVC_IDRS
    return Picture(pictures or UNCERTAIN, alone, closed, reorders)


def _mpeg4(packet: bytes) -> Picture:
    """Packed streams hold two pictures in a packet, and tiny ones say "as before", which nothing is shown for."""
    start = packet.find(VOP)
    if start < 0 or len(packet) - start < SMALLEST_VOP or packet.find(VOP, start + 4) >= 0:
        return Picture(UNCERTAIN, False, False)
    kind = packet[start + 4] >> 6
    return Picture(1, kind == 0, False, kind == 2)


def _vp8(packet: bytes) -> Picture:
    """Some pictures are only there for others to lean on (RFC 6386, section 9.1)."""
    return Picture(packet[0] >> 4 & 1)


def _vp9(packet: bytes) -> Picture:
    """The same, unless they are in one packet with a picture that is shown (VP9, section 6.2 and annex B)."""
    together = packet[-1] & 0b1110_0000 == 0b1100_0000
    low_profile = packet[0] & 0b0011_0000 != 0b0011_0000
    hidden = low_profile and not together and not packet[0] & 0b1000 and not packet[0] & 0b0010
    return Picture(int(not hidden))


_LOOKS: dict[str, Look] = {"mpeg4": _mpeg4, "vp8": _vp8, "vp9": _vp9, "av1": lambda _: _ORDINARY}
