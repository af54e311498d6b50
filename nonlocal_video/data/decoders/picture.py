"""Compressed packets in the words of all codecs, and the bits that say what they hold."""

from collections.abc import Callable, Iterator
from typing import NamedTuple


class Picture(NamedTuple):
    """The content of a packet."""

    shown: int
    """Pictures that come out of the decoder; 2 where that is not certain."""
    alone: bool = True
    """Whether pictures that are shown after it lean on nothing before it. It matters for key pictures."""
    closed: bool = True
    """Whether, besides, none that follows it in the file is shown before it."""
    tells: bool = False
    """Whether it tells a decoder what holds for later ones, too: parameter sets, who encoded the video."""
    order: int | None = None
    """A number that rises in the order in which pictures are shown; None if that is the order of the file."""


Look = Callable[[bytes], Picture]
"""A look at the packets of a stream, one after another in the order of the file."""

ORDINARY, HIDDEN, UNCERTAIN = Picture(1), Picture(0), Picture(2, False, False)

PERIOD = 2**40
"""In H.264 and HEVC pictures are counted anew from each IDR picture on."""


class Bits:
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
        self.left -= zeros
        return self.take(zeros + 1) - 1


def plain(content: bytes) -> bytes:
    """The content of a unit without the bytes that only keep it from looking like a start code (H.264, 7.4.1)."""
    return content.replace(b"\0\0\3", b"\0\0")


def units(packet: bytes, length: int) -> Iterator[tuple[int, int]]:
    """The places where units of H.264 or HEVC begin and end in a packet; `length` bytes before each say its size."""
    place, last = length, len(packet) - 1
    while place < last:
        end = place + int.from_bytes(packet[place - length : place], "big")
        yield place, end
        place = end + length


def order_of(number: int, bits: int, *, latest: int) -> int:
    """The order of a picture by its last bits, next to the order `latest` (H.264, 8.2.1.1; H.265, 8.3.1)."""
    mask = (1 << bits) - 1
    return latest + ((number - latest + mask // 2) & mask) - mask // 2
