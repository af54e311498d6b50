"""Videos of ten kinds, broken in twenty ways with five seeds each, and what every decoder makes of them."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as OutOfTime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pebble import ProcessExpired, ProcessPool

from nonlocal_video.data.decode import DECODERS, DecodeError, decode
from nonlocal_video.data.decoders.container import READ_ERRORS
from tests.data.fuzz import Case, make, plain_decode
from tests.data.robustness import usable

LIMIT_S = 20.0
"""A file that takes longer hangs."""
NUM_FRAMES = 60
SOURCES = (
    Case("mp4", "libx264", 250, 2), Case("mp4", "libx264", 12, 0), Case("mkv", "libx264", 12, 3),
    Case("avi", "mpeg4", 12, 2), Case("avi", "mpeg4", 12, 1, "packed"), Case("ts", "libx264", 12, 2),
    Case("webm", "libvpx-vp9", 12, 0), Case("mp4", "libx265", 12, 3), Case("flv", "libx264", 12, 2),
    Case("mpg", "mpeg2video", 12, 2),
)  # fmt: skip
SEEDS = 5
Random = np.random.Generator


def _part(content: bytes, rng: Random, share: float = 0.2) -> slice:
    """A random piece of a file, of at most this share."""
    size = int(rng.integers(1, max(2, share * len(content))))
    start = int(rng.integers(0, len(content) - size))
    return slice(start, start + size)


def _replaced(content: bytes, part: slice, new: bytes) -> bytes:
    return content[: part.start] + new + content[part.stop :]


def _changed(content: bytes, places: Any, rng: Random) -> bytes:
    spoilt = bytearray(content)
    for place in places:
        spoilt[place] ^= int(rng.integers(1, 256))
    return bytes(spoilt)


def end_missing(content: bytes, rng: Random) -> bytes:
    return content[: int(rng.integers(1, len(content)))]


def last_bytes_missing(content: bytes, rng: Random) -> bytes:
    return content[: -int(rng.integers(1, 2000))]


def start_missing(content: bytes, rng: Random) -> bytes:
    return content[_part(content, rng).stop :]


def piece_missing(content: bytes, rng: Random) -> bytes:
    return _replaced(content, _part(content, rng), b"")


def one_byte_missing(content: bytes, rng: Random) -> bytes:
    place = int(rng.integers(0, len(content)))
    return _replaced(content, slice(place, place + 1), b"")


def one_byte_more(content: bytes, rng: Random) -> bytes:
    place = int(rng.integers(0, len(content)))
    return _replaced(content, slice(place, place), rng.bytes(1))


def piece_twice(content: bytes, rng: Random) -> bytes:
    part = _part(content, rng)
    return _replaced(content, part, 2 * content[part])


def hole(content: bytes, rng: Random) -> bytes:
    part = _part(content, rng)
    return _replaced(content, part, bytes(part.stop - part.start))


def noise(content: bytes, rng: Random) -> bytes:
    part = _part(content, rng)
    return _replaced(content, part, rng.bytes(part.stop - part.start))


def pieces_exchanged(content: bytes, rng: Random) -> bytes:
    a, b, c = sorted(int(place) for place in rng.integers(0, len(content), 3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def sectors_of_zeros(content: bytes, rng: Random) -> bytes:
    """Sectors of 512 bytes that a disk could not read."""
    for place in rng.integers(0, len(content) // 512, 3):
        content = _replaced(content, slice(512 * int(place), 512 * int(place) + 512), bytes(512))
    return content


def one_bit(content: bytes, rng: Random) -> bytes:
    spoilt = bytearray(content)
    spoilt[int(rng.integers(0, len(content)))] ^= 1 << int(rng.integers(0, 8))
    return bytes(spoilt)


def few_bytes(content: bytes, rng: Random) -> bytes:
    return _changed(content, rng.integers(0, len(content), rng.integers(2, 21)), rng)


def many_bytes(content: bytes, rng: Random) -> bytes:
    return _changed(content, rng.integers(0, len(content), len(content) // 100), rng)


def head_changed(content: bytes, rng: Random) -> bytes:
    return _changed(content, rng.integers(0, 1000, 5), rng)


def tail_changed(content: bytes, rng: Random) -> bytes:
    """Where most MP4 files have their index."""
    return _changed(content, len(content) - rng.integers(1, 1500, 5), rng)


def noise_behind(content: bytes, rng: Random) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 50_000)))


def noise_in_front(content: bytes, rng: Random) -> bytes:
    return rng.bytes(int(rng.integers(1, 2000))) + content


def newlines_translated(content: bytes, _rng: Random) -> bytes:
    """A transfer as text."""
    return content.replace(b"\n", b"\r\n")


def head_of_another(content: bytes, rng: Random) -> bytes:
    """The first bytes are those of a file of another kind."""
    other = SOURCES[int(rng.integers(len(SOURCES)))]
    size = int(rng.integers(16, 3000))
    return source(other)[:size] + content[size:]


WAYS: tuple[Callable[[bytes, Random], bytes], ...] = (
    end_missing, last_bytes_missing, start_missing, piece_missing, one_byte_missing, one_byte_more, piece_twice, hole,
    noise, pieces_exchanged, sectors_of_zeros, one_bit, few_bytes, many_bytes, head_changed, tail_changed, noise_behind,
    noise_in_front, newlines_translated, head_of_another,
)  # fmt: skip
TRIALS = list(itertools.product(range(SEEDS), WAYS, SOURCES))


@cache
def source(case: Case) -> bytes:
    """A whole file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"video.{case.container}"
        assert make(path, case, num_frames=NUM_FRAMES), f"{case} cannot be made here"
        return path.read_bytes()


@cache
def whole_pictures(case: Case) -> list[np.ndarray]:
    """The pictures of a whole file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"video.{case.container}"
        path.write_bytes(source(case))
        return plain_decode(path)


@cache
def pool() -> ProcessPool:
    return ProcessPool(1)


def trial(place: Path, number: int) -> list[dict[str, Any]]:
    """One broken file, read by every decoder that is installed."""
    seed, way, case = TRIALS[number]
    path = place / f"broken.{case.container}"
    path.write_bytes(way(source(case), np.random.default_rng([seed, number])))
    plain = _apart(_pictures, path)
    plain = [] if isinstance(plain, str) else plain
    outcomes = {
        name: _apart(outcome, path, name, plain, whole_pictures(case), number)
        for name in DECODERS if usable(name)
    }  # fmt: skip
    wrong = [f"{name}: {found}" for name, found in outcomes.items() if found in ("hang", "crash", "unnamed error")]
    return [{"way": way.__name__, "source": f"{case}", "seed": seed, **outcomes, "wrong": wrong}]


def _pictures(path: Path) -> list[np.ndarray]:
    """Those of a plain decode; none where it fails."""
    try:
        return plain_decode(path)
    except (*READ_ERRORS, EOFError, AssertionError):
        return []


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives in a process of its own, or what became of that."""
    try:
        return pool().schedule(function, arguments, timeout=LIMIT_S).result()
    except OutOfTime:
        return "hang"
    except ProcessExpired:
        return "crash"


def outcome(path: Path, decoder: str, plain: Sequence[np.ndarray], whole: Sequence[np.ndarray], number: int) -> str:
    """One word for what becomes of two clips and the last frame of a file.

    "error": one of them was refused. "right": each picture is, at its place, that of a plain decode of this file or of
    the whole one. A file counts pictures that are lost, too: after them, its pictures come that much later than in a
    plain decode, which leaves them out. "other": a picture is none of these.
    """
    rng = np.random.default_rng(number)
    for first in (rng.random(), rng.random(), 1.0):
        try:
            rows, frames, num_frames = _read(path, decoder, first)
        except DecodeError as error:
            return "error" if str(path) in str(error) else "unnamed error"
        lost = range(max(0, num_frames - len(plain)) + 1)
        for row, frame in zip(rows, frames, strict=True):
            known = [plain[row - k] for k in lost if 0 <= row - k < len(plain)] + [*whole[row : row + 1]]
            if not any(np.array_equal(frame, picture) for picture in known):
                return "other"
    return "right"


def _read(path: Path, decoder: str, first: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Eight frames at a stride of 2 from this share of a video on: their numbers, they, and how many it has."""
    asked = list[tuple[np.ndarray, int]]()

    def pick(seconds: np.ndarray) -> np.ndarray:
        last = len(seconds) - 1
        asked.append((np.minimum(int(first * last) + 2 * np.arange(8), last), len(seconds)))
        return asked[-1][0][None]

    found = decode(str(path), pick, lambda _h, _w: lambda frame: frame, decoder=decoder, limit_s=LIMIT_S / 2)
    rows, num_frames = asked[-1]
    return rows, found.frames[found.rows[0]].numpy(), num_frames


def table(records: list[dict[str, Any]]) -> str:
    """How often each decoder had which outcome, and in which ways files were broken that gave other pictures."""
    decoders = [name for name in DECODERS if any(name in record for record in records)]
    words = ("error", "right", "other", "hang", "crash", "unnamed error")
    lines = [f"| {len(records)} files | " + " | ".join(words) + " |", "|---" * (len(words) + 1) + "|"]
    for name in decoders:
        counts = Counter(record[name] for record in records)
        lines.append(f"| {name} | " + " | ".join(str(counts[word]) for word in words) + " |")
    lines += ["", "| broken by | " + " | ".join(decoders) + " |", "|---" * (len(decoders) + 1) + "|"]
    for way in WAYS:
        some = [record for record in records if record["way"] == way.__name__]
        cells = [Counter(record[name] for record in some) for name in decoders]
        told = [", ".join(f"{count[word]} {word}" for word in words if count[word]) for count in cells]
        lines.append(f"| {way.__name__.replace('_', ' ')} | " + " | ".join(told) + " |")
    return "\n".join(lines)
