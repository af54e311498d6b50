"""Packets of H.264 looked at for pictures, by the headers of their units."""

from nonlocal_video.data.decoders.picture import PERIOD, UNCERTAIN, Bits, Picture, order_of, plain, units

SLICES, IDR, SEI, SEQUENCE, SETS = (1, 5, 2), 5, 6, 7, (7, 8)
FULL_COLOUR = (44, 244)
"""Profiles of 4:4:4. Early x264 coded them otherwise, and only the first packet of a file says that it did: a decoder
cannot begin at a later picture."""
RECOVERY_POINT = 6
"""The SEI message that says from where on pictures are right."""
HEADER = 17
"""Bytes that hold a slice's header up to the order of its picture."""


class H264:
    """Looks at the packets of a file, each of which holds units behind their sizes."""

    def __init__(self, extradata: bytes) -> None:
        """Raises: ValueError: what holds for all pictures is not there, or packets cannot be believed."""
        if len(extradata) < 9 or extradata[0] != 1 or extradata[5] & 31 != 1:
            raise ValueError("expected one sequence parameter set")
        self.sequence = read_sequence(extradata[8 : 8 + int.from_bytes(extradata[6:8], "big")])
        self.number_bits, order_kind, self.order_bits, progressive = self.sequence
        if not progressive or order_kind not in (0, 2) or max(self.number_bits, self.order_bits) > 16:
            raise ValueError("pictures may have fields, or an order that their bits do not tell")
        self.length, self.alone = (extradata[4] & 3) + 1, extradata[1] not in FULL_COLOUR
        self.period = self.latest = 0

    def __call__(self, packet: bytes) -> Picture:
        """A picture of one or more slices (clauses 7.3.2 and 7.3.3)."""
        first, recovers, tells = 0, False, False
        for place, end in units(packet, self.length):
            kind = packet[place] & 31
            if kind in SLICES:
                if packet[place + 1] & 128:  # The number of its first macroblock is 0.
                    if first:
                        return UNCERTAIN
                    first = place
            elif kind == SEI:
                recovers = recovers or _recovers(packet[place + 1 : place + 64])
            elif kind in SETS:
                tells = True
                if kind == SEQUENCE and read_sequence(packet[place:end]) != self.sequence:
                    return UNCERTAIN
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
        size = self.order_bits
        if not size:
            self.latest += 1
            return self.period + self.latest
        bits = Bits(plain(packet[place + 1 : place + HEADER]))
        bits.take(1), bits.golomb(), bits.golomb(), bits.take(self.number_bits)
        if is_idr:
            bits.golomb()
        if bits.left < size:
            return None
        order = order_of(bits.take(size), size, latest=self.latest)
        if packet[place] & 96:  # Others lean on it.
            self.latest = order
        return self.period + order


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


def read_sequence(unit: bytes) -> tuple[int, int, int, bool]:
    """Facts of a sequence parameter set on pictures (clause 7.3.2.1.1); they have fields if it is cut off.

    The bits of a picture's number; how it says when it is shown: 0 by another number, 2 by its place in the file; the
    bits of that number; and whether pictures have no fields, which may be stored in two packets.
    """
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
    return number_bits, kind, order_bits, bits.take(1) == 1


def _skip_scaling(bits: Bits, size: int) -> None:
    """A list of scaling factors, if it is there (clause 7.3.2.1.1.1)."""
    last = following = 8
    for _ in range(size if bits.take(1) else 0):
        if following:
            number = bits.golomb()
            following = (last + (number + 1) // 2 * (1 if number % 2 else -1)) % 256
        last = following or last
