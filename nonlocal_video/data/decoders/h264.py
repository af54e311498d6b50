"""What a packet of H.264 holds, as the headers of its units say."""

from typing import NamedTuple

from nonlocal_video.data.decoders.picture import ESCAPE, PERIOD, UNCERTAIN, Bits, Picture, plain

SLICES, IDR, SEI, SEQUENCE, SETS = (1, 5, 2), 5, 6, 7, (7, 8)
FULL_COLOUR = (44, 244)
"""Profiles of 4:4:4. Early x264 coded them otherwise, and only the first packet of a file says that it did: a decoder
cannot begin at a later picture."""
RECOVERY_POINT = 6
"""The SEI message that says from where on pictures are right."""
HEADER = 17
"""Bytes that hold a slice's header up to the order of its picture."""


class Sequence(NamedTuple):
    """What a sequence parameter set says (clause 7.3.2.1.1)."""

    number_bits: int
    """Of the number of a picture."""
    order_kind: int
    """How a picture says when it is shown: 0 by a number, 2 by its place in the file."""
    order_bits: int
    """Of that number."""
    progressive: bool
    """Whether pictures have no fields, which may be stored in two packets."""


class H264:
    """Looks at the packets of a file, each of which holds units behind their sizes."""

    def __init__(self, extradata: bytes) -> None:
        """Raises: ValueError: what holds for all pictures is not there, or packets cannot be believed."""
        if len(extradata) < 9 or extradata[0] != 1 or extradata[5] & 31 != 1:
            raise ValueError("expected one sequence parameter set")
        self.sequence = read_sequence(extradata[8 : 8 + int.from_bytes(extradata[6:8], "big")])
        number_bits, order_kind, order_bits, progressive = self.sequence
        if not progressive or order_kind not in (0, 2) or max(number_bits, order_bits) > 16:
            raise ValueError("pictures may have fields, or an order that their bits do not tell")
        self.length, self.alone = (extradata[4] & 3) + 1, extradata[1] not in FULL_COLOUR
        self.period = self.latest = 0
        self.mask = (1 << order_bits) - 1
        self.middle = self.mask // 2

    def __call__(self, packet: bytes) -> Picture:
        """A picture of one or more slices (clauses 7.3.2 and 7.3.3)."""
        length, first, recovers, tells = self.length, 0, False, False
        place, end = length, len(packet) - 1
        while place < end:
            kind, following = packet[place] & 31, place + length + int.from_bytes(packet[place - length : place], "big")
            if kind in SLICES:
                if packet[place + 1] & 128:  # The number of its first macroblock is 0.
                    if first:
                        return UNCERTAIN
                    first = place
            elif kind == SEI:
                recovers = recovers or _recovers(packet[place + 1 : place + 64])
            elif kind in SETS:
                tells = True
                if kind == SEQUENCE and read_sequence(packet[place : following - length]) != self.sequence:
                    return UNCERTAIN
            place = following
        order = self._order(packet, first) if first else None
        if order is None:
            return UNCERTAIN
        is_idr = packet[first] & 31 == IDR
        return Picture(1, self.alone and (is_idr or recovers), self.alone and is_idr, tells, order)

    def _order(self, packet: bytes, place: int) -> int | None:
        """When the picture is shown whose first slice begins there (clause 8.2.1.1); None if it does not say."""
        is_idr = packet[place] & 31 == IDR
        if is_idr:
            self.period += PERIOD
            self.latest = 0
        bits = self.sequence.order_bits
        if not bits:
            self.latest += 1
            return self.period + self.latest
        head = packet[place + 1 : place + HEADER]
        behind = _BEHIND_SET[head[0]]
        if behind and not is_idr and ESCAPE not in head:  # As most are: all fields have known sizes.
            left = 8 * len(head) - behind - self.sequence.number_bits
        else:
            head = plain(head)
            left = max(0, _behind_set(head) - self.sequence.number_bits)
            if is_idr:
                left = _behind_golomb(head, left)
        if left < bits:
            return None
        number = int.from_bytes(head, "big") >> left - bits
        order = self.latest + ((number - self.latest + self.middle) & self.mask) - self.middle
        if packet[place] & 96:  # Others lean on it.
            self.latest = order
        return self.period + order


def _behind_golomb(head: bytes, left: int) -> int:
    """How many bits of a slice's header are left behind a number ue(v); none if it does not end."""
    zeros = left - (int.from_bytes(head, "big") & (1 << left) - 1).bit_length()
    return max(0, left - 2 * zeros - 1)


def _behind_set(head: bytes) -> int:
    """The same behind the number of the first macroblock, 0 in one bit, the slice's type and its parameter set."""
    return _behind_golomb(head, _behind_golomb(head, 8 * len(head) - 1))


_BEHIND_SET = [16 - left if (left := _behind_set(bytes([byte, 0]))) >= 8 else 0 for byte in range(256)]
"""Bits up to there, by a header's first byte; 0 if it does not tell."""


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


def read_sequence(unit: bytes) -> Sequence:
    """What a sequence parameter set says; pictures have fields if it is cut off."""
    content = plain(unit)
    bits = Bits(content[4:])
    bits.golomb()
    if content[1:2] not in (b"\x42", b"\x4d", b"\x58"):  # The profiles above Baseline, Main, Extended say more.
        chroma = bits.golomb()
        bits.take(chroma == 3)
        bits.golomb(), bits.golomb(), bits.take(1)
        if bits.take(1):
            for number in range(12 if chroma == 3 else 8):
                _skip_scaling(bits, 16 if number < 6 else 64)
    number_bits, kind, order_bits = bits.golomb() + 4, bits.golomb(), 0
    if kind == 0:
        order_bits = bits.golomb() + 4
    elif kind == 1:
        bits.take(1), bits.golomb(), bits.golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.golomb()
    bits.golomb(), bits.take(1), bits.golomb(), bits.golomb()
    return Sequence(number_bits, kind, order_bits, bits.take(1) == 1)


def _skip_scaling(bits: Bits, size: int) -> None:
    """A list of scaling factors, if it is there (clause 7.3.2.1.1.1)."""
    last = following = 8
    for _ in range(size if bits.take(1) else 0):
        if following:
            number = bits.golomb()
            following = (last + (number + 1) // 2 * (1 if number % 2 else -1)) % 256
        last = following or last
