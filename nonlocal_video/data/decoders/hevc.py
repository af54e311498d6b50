"""Packets of HEVC looked at for pictures, by the headers of their units."""

from collections.abc import Iterator

from nonlocal_video.data.decoders.picture import PERIOD, UNCERTAIN, Bits, Picture, order_of, plain, units

SLICES, KEYS, IDRS = range(32), range(16, 22), (19, 20)
UNREFERRED = (0, 2, 4, 6, 7, 8, 9, 10, 12, 14)
"""Units of pictures that do not count when the order of others is found (H.265, clause 8.3.1)."""
CUTS = (16, 17, 18, 36, 37)
"""Units where streams were joined: pictures are lost there."""
SEQUENCE, PARAMETERS, SETS = 33, 34, range(32, 35)
HEADER = 18
"""Bytes that hold a slice's header up to the order of its picture, without its two first."""


class Hevc:
    """Looks at the packets of a file, each of which holds units behind their sizes."""

    def __init__(self, extradata: bytes) -> None:
        """Raises: ValueError: what holds for all pictures is not there, or packets cannot be believed."""
        if len(extradata) < 23 or extradata[0] != 1:
            raise ValueError("expected parameter sets")
        self.length = (extradata[21] & 3) + 1
        self.order_bits: int | None = None
        """The size of the number that says when a picture is shown; None until a sequence parameter set says it."""
        self.further_bits: int | None = None
        """Bits that a slice's header has besides; None until a picture parameter set says it."""
        self.period = self.latest = 0
        if not all(map(self._learn, _sets(extradata))):
            raise ValueError("the order of the pictures is not known")

    def __call__(self, packet: bytes) -> Picture:
        """A picture of one or more slices; random access pictures stand alone (clauses 7.3.1 and 7.3.6)."""
        first, tells = 0, False
        for place, end in units(packet, self.length):
            kind, head = packet[place] >> 1 & 63, packet[place + 2 : place + 3]
            if kind in CUTS or (kind in KEYS and head >= b"\xc0"):  # Pictures that wait are not shown any more.
                return UNCERTAIN
            if kind in SLICES and head >= b"\x80":  # The first slice of a picture says that it is.
                if first:
                    return UNCERTAIN
                first = place
            elif kind in SETS:
                tells = True
                if not self._learn(packet[place:end]):
                    return UNCERTAIN
        order = self._order(packet, first) if first else None
        if order is None:
            return UNCERTAIN
        kind = packet[first] >> 1 & 63
        return Picture(1, kind in KEYS, kind in IDRS, tells, order)

    def _learn(self, unit: bytes) -> bool:
        """Takes in a parameter set; whether all say the same."""
        if len(unit) < 3:
            return False
        kind, bits = unit[0] >> 1 & 63, Bits(plain(unit[2:]))
        if kind == SEQUENCE:
            known, self.order_bits = self.order_bits, _order_bits(bits)
            return self.order_bits in range(17) and known in (None, self.order_bits)
        if kind == PARAMETERS:
            bits.golomb(), bits.golomb(), bits.take(1)
            may_hide, further = bits.take(1), bits.take(3)
            known, self.further_bits = self.further_bits, further
            return not may_hide and known in (None, further)
        return True

    def _order(self, packet: bytes, place: int) -> int | None:
        """When the picture is shown whose first slice begins there (clause 8.3.1); None if it does not say."""
        kind, size = packet[place] >> 1 & 63, self.order_bits
        if size is None or self.further_bits is None:
            return None
        if kind in IDRS:
            self.period += PERIOD
            self.latest = 0
            return self.period
        bits = Bits(plain(packet[place + 2 : place + 2 + HEADER]))
        bits.take(2 if kind in KEYS else 1), bits.golomb(), bits.take(self.further_bits), bits.golomb()
        order = order_of(bits.take(size), size, latest=self.latest)
        if kind not in UNREFERRED and packet[place + 1] & 7 == 1:  # Of the lowest temporal layer.
            self.latest = order
        return self.period + order


def _sets(extradata: bytes) -> Iterator[bytes]:
    """The units in what an MP4 or Matroska file says of a stream (ISO/IEC 14496-15, clause 8.3.3.1)."""
    place = 23
    for _ in range(extradata[22]):
        count, place = int.from_bytes(extradata[place + 1 : place + 3], "big"), place + 3
        for _ in range(count):
            size, place = int.from_bytes(extradata[place : place + 2], "big"), place + 2
            unit, place = extradata[place : place + size], place + size
            if len(unit) > 2:
                yield unit


def _order_bits(bits: Bits) -> int | None:
    """The size that a sequence parameter set says (clause 7.3.2.2.1); None if colours are separate pictures."""
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 96)
    present = [(bits.take(1), bits.take(1)) for _ in range(8 if layers else 0)][:layers]
    for profile, level in present:
        bits.take(88 * profile + 8 * level)
    bits.golomb()
    if bits.golomb() == 3 and bits.take(1):
        return None
    bits.golomb(), bits.golomb()
    if bits.take(1):
        for _ in range(4):
            bits.golomb()
    bits.golomb(), bits.golomb()
    return bits.golomb() + 4
