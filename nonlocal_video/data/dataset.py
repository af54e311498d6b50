"""One item is one video: decoded once, everything that is needed cut from that."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from nonlocal_video.data.decode import Decoded, DecodeError, DecodeTimeoutError, Fit, Pick, decode
from nonlocal_video.data.lists.labels import classes_of
from nonlocal_video.types import Entry, Failure, ImageSample, Label, Sample, TestItem, Views

TRAIN, PRECISE_BN, VALIDATE = 1, 3, 5
"""Streams of random numbers from one seed; the first two have the next number as well: one is for the order of the
videos, one for their clips."""
MAX_ATTEMPTS = 10
"""Videos that may fail one after the other before training stops."""

Started = Callable[[int], None]
"""Hears the number of each attempt at an item before it begins."""
Target = Callable[[Label, np.ndarray], Tensor]
"""A task's target of a clip, from the label of its video and the times (T,) of its frames."""


Item = TypeVar("Item", bound=tuple[Any, ...])
OneSample = TypeVar("OneSample", Sample, ImageSample)


class SharedItems(Sequence[Item]):
    """A list of named tuples that worker processes share: 240,000 videos are 100 MB in each process with its own."""

    def __init__(self, items: Sequence[Item], kind: Callable[..., Item]) -> None:
        self.kind = kind
        pickled = [pickle.dumps(tuple(item)) for item in items]
        self.ends = torch.tensor([len(content) for content in pickled]).cumsum(0).share_memory_()
        self.bytes = torch.frombuffer(bytearray(b"".join(pickled)), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> Item:  # type: ignore[override]
        start = int(self.ends[row - 1]) if row else 0
        return self.kind(*pickle.loads(self.bytes[start : int(self.ends[row])].numpy().tobytes()))


@dataclass
class _OneClipEach:
    """Listed videos, of each of which a sample shows one clip."""

    entries: Sequence[Entry]
    _: KW_ONLY
    seed: int
    pick: Callable[..., np.ndarray]
    """Frame indices (1, T) from the times of a video's frames and a generator `rng`."""
    fit: Callable[..., Callable[[Tensor], Tensor]]
    """A function for each frame, from the height and width of the video and a generator `rng`."""
    target: Target
    decode: Callable[..., Decoded] = decode

    def __post_init__(self) -> None:
        self.entries = SharedItems(self.entries, Entry)


@dataclass
class TrainingVideos(_OneClipEach):
    """An endless stream of training clips: sample i is a pure function of (stream, seed, i).

    The list is shuffled anew in every pass. A video that cannot be decoded is replaced by another, drawn from (stream,
    seed, i, attempt), and reported in `Sample.failures`.
    """

    _: KW_ONLY
    stream: int = TRAIN
    """TRAIN, or PRECISE_BN for the statistics of batch normalisation."""

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> Sample:
        """Sample `index`, with the failures in `lost` at attempts in which a process was lost.

        Raises:
            DecodeError: `MAX_ATTEMPTS` files in a row cannot be decoded.
        """
        return first_readable(lambda attempt: _sample(self, *self._draw(index, attempt)), lost=lost, started=started)

    def name(self, index: int, attempt: int) -> str:
        """The video of an attempt at a sample."""
        return self._draw(index, attempt)[0].video

    def _draw(self, index: int, attempt: int) -> tuple[Entry, np.random.Generator]:
        rng, num_entries = np.random.default_rng((self.stream + 1, self.seed, index, attempt)), len(self.entries)
        num_pass, position = divmod(index, num_entries)
        order = shuffled(num_entries, self.stream, (self.seed,), num_pass)
        return self.entries[int(order[position] if attempt == 0 else rng.integers(num_entries))], rng


@lru_cache(maxsize=4)
def shuffled(number: int, stream: int, seed: tuple[int, ...], num_pass: int) -> np.ndarray:
    """The order of a pass over so many items."""
    return np.random.default_rng((stream, *seed, num_pass)).permutation(number)


def first_readable(
    read: Callable[[int], OneSample | Failure], *, lost: Mapping[int, Failure], started: Started
) -> OneSample:
    """The first of a sample's attempts that can be read, with the failures before it, which `lost` may know already.

    Raises:
        DecodeError: `MAX_ATTEMPTS` files in a row cannot be read.
    """
    failures = list[Failure]()
    for attempt in range(MAX_ATTEMPTS):
        if attempt in lost:
            failures.append(lost[attempt])
            continue
        started(attempt)
        found = read(attempt)
        if not isinstance(found, Failure):
            return found._replace(failures=tuple(failures))
        failures.append(found)
    causes = "\n".join(f"  {failure.cause}" for failure in failures)
    raise DecodeError(f"{len(failures)} files in a row cannot be decoded:\n{causes}")


@dataclass
class ValidationVideos(_OneClipEach):
    """The listed videos in order, each with one clip as in training (released code): pure functions of (seed, i).

    Every validation sees the same clips. A video that cannot be decoded is a failure.
    """

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> Sample | Failure:
        """The clip of video `index`; why there is none if it cannot be decoded, or if its process was lost."""
        if lost:
            return lost[0]
        started(0)
        return _sample(self, self.entries[index], np.random.default_rng((VALIDATE, self.seed, index)))

    def name(self, index: int, _attempt: int) -> str:
        return self.entries[index].video

    def __len__(self) -> int:
        return len(self.entries)


@dataclass
class TestingVideos:
    """The listed videos in order, each with all its testing views."""

    entries: Sequence[Entry]
    _: KW_ONLY
    pick: Pick
    """Frame indices (V', T) from the times of a video's frames."""
    fit: Fit
    """A function for each frame, from the height and width of the video."""
    crops: Callable[[int, int], tuple[tuple[tuple[int, int], ...], tuple[int, int]]]
    """The corners and the size of what the views show of these frames, from their height and width."""
    flips: bool = False
    """Whether they are seen mirrored, too."""
    decode: Callable[..., Decoded] = decode

    def __post_init__(self) -> None:
        self.entries = SharedItems(self.entries, Entry)

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> TestItem:
        """Video `index`; without views if it cannot be decoded, or if its process was lost."""
        entry = self.entries[index]
        label = classes_of(entry.label)
        if lost:
            return TestItem(label, entry.video, lost[0])
        started(0)
        try:
            frames, rows, _ = self.decode(entry.path, self.pick, self.fit)
        except DecodeError as error:
            return TestItem(label, entry.video, _failure(entry, error))
        return TestItem(label, entry.video, Views(frames, rows, *self.crops(*frames.shape[1:3]), flips=self.flips))

    def name(self, index: int, _attempt: int) -> str:
        return self.entries[index].video


def _sample(videos: _OneClipEach, entry: Entry, rng: np.random.Generator) -> Sample | Failure:
    """A clip whose frames are drawn from `rng`, then what becomes of each; or why there is none."""
    beginning = rng.bit_generator.state

    def pick(seconds: np.ndarray) -> np.ndarray:
        rng.bit_generator.state = beginning  # With each choice of frames: a file may be other than it seemed.
        return videos.pick(seconds, rng=rng)

    try:
        frames, rows, seconds = videos.decode(entry.path, pick, partial(videos.fit, rng=rng))
    except DecodeError as error:
        return _failure(entry, error)
    if not torch.equal(rows[0], torch.arange(len(frames))):  # Frames of a clip that does not wrap are not copied.
        frames = frames.index_select(0, rows[0])
    return Sample(frames.permute(3, 0, 1, 2)[None], videos.target(entry.label, seconds[0]), entry.video)


def _failure(entry: Entry, error: DecodeError) -> Failure:
    return Failure(entry.video, str(error), transient=isinstance(error, DecodeTimeoutError))
