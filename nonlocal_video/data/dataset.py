"""One item is one video: decoded once, everything that is needed cut from that."""

import pickle
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nonlocal_video.data.decode import Decoded, DecodeError, DecodeTimeoutError, Fit, Pick, decode
from nonlocal_video.data.lists.labels import classes_of
from nonlocal_video.data.transforms import Crops
from nonlocal_video.types import Entry, Failure, Label, Sample, TestItem, Views

TRAIN, PRECISE_BN, VALIDATE = 1, 3, 5
"""Streams of random numbers from one seed; the first two have the next number as well: one is for the order of the
videos, one for their clips."""
MAX_ATTEMPTS = 10
"""Videos that may fail one after the other before training stops."""

Started = Callable[[int], None]
"""Hears the number of each attempt at an item before it begins."""
Target = Callable[[Label, np.ndarray], Tensor]
"""From the label of a video and the times (T,) of a clip's frames to what the clip is taught; of a task."""


class SharedEntries(Sequence[Entry]):
    """A list of videos that worker processes share: 240,000 entries are 100 MB in each process that holds its own."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        pickled = [pickle.dumps(tuple(entry)) for entry in entries]
        self.ends = torch.tensor([len(one) for one in pickled]).cumsum(0).share_memory_()
        self.bytes = torch.frombuffer(bytearray(b"".join(pickled)), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> Entry:  # type: ignore[override]
        start = int(self.ends[row - 1]) if row else 0
        return Entry(*pickle.loads(self.bytes[start : int(self.ends[row])].numpy().tobytes()))


class TrainingVideos:
    """An endless stream of training clips: sample i is a pure function of (stream, seed, i).

    The list is shuffled anew in every pass. A video that cannot be decoded is replaced by another,
    drawn from (stream, seed, i, attempt), and reported in `Sample.failures`.

    Args:
        stream: TRAIN, or PRECISE_BN for the statistics of batch normalisation.
        pick: frame indices (1, T) from the times of the frames and a generator `rng`.
        fit: from a video's height and width and a generator `rng` to what becomes of each frame.
        target: what each clip is taught.
        decode: reads a file; `decode.decode` with its settings.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        seed: int,
        pick: Callable[..., np.ndarray],
        fit: Callable[..., Callable[[Tensor], Tensor]],
        target: Target,
        decode: Callable[..., Decoded] = decode,
        stream: int = TRAIN,
    ) -> None:
        self.entries, self.seed = SharedEntries(entries), seed
        self.pick, self.fit, self.target, self.decode = pick, fit, target, decode
        self.stream = stream

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> Sample:
        """Sample `index`.

        Args:
            lost: attempts at this sample in which a process was lost, and what is said of them.

        Raises:
            DecodeError: `MAX_ATTEMPTS` videos in a row cannot be decoded.
        """
        failures: list[Failure] = []
        for attempt in range(MAX_ATTEMPTS):
            if attempt in lost:
                failures.append(lost[attempt])
                continue
            started(attempt)
            entry, rng = self._draw(index, attempt)
            try:
                decoded = self.decode(entry.path, *_chosen(self.pick, self.fit, rng))
            except DecodeError as error:
                failures.append(_failure(entry, error))
                continue
            return Sample(_clip(decoded), self.target(entry.label, decoded.seconds[0]), entry.video, tuple(failures))
        causes = "\n".join(f"  {failure.cause}" for failure in failures)
        raise DecodeError(f"{MAX_ATTEMPTS} videos in a row cannot be decoded:\n{causes}")

    def name(self, index: int, attempt: int) -> str:
        """The video of an attempt at a sample."""
        return self._draw(index, attempt)[0].video

    def _draw(self, index: int, attempt: int) -> tuple[Entry, np.random.Generator]:
        rng = np.random.default_rng((self.stream + 1, self.seed, index, attempt))
        num_pass, position = divmod(index, len(self))
        order = _shuffled(len(self), self.stream, self.seed, num_pass)
        return self.entries[int(order[position] if attempt == 0 else rng.integers(len(self)))], rng

    def __len__(self) -> int:
        """The videos of one pass."""
        return len(self.entries)


@lru_cache(maxsize=2)
def _shuffled(num_entries: int, stream: int, seed: int, num_pass: int) -> np.ndarray:
    return np.random.default_rng((stream, seed, num_pass)).permutation(num_entries)


class ValidationVideos:
    """The listed videos in order, each with one clip as in training (released code): pure functions of (seed, i).

    Every validation sees the same clips. A video that cannot be decoded is a failure.

    Args:
        pick, fit, target, decode: as in `TrainingVideos`.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        seed: int,
        pick: Callable[..., np.ndarray],
        fit: Callable[..., Callable[[Tensor], Tensor]],
        target: Target,
        decode: Callable[..., Decoded] = decode,
    ) -> None:
        self.entries, self.seed = SharedEntries(entries), seed
        self.pick, self.fit, self.target, self.decode = pick, fit, target, decode

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> Sample | Failure:
        """The clip of video `index`; why there is none if it cannot be decoded, or if its process was lost."""
        if lost:
            return lost[0]
        started(0)
        entry, rng = self.entries[index], np.random.default_rng((VALIDATE, self.seed, index))
        try:
            decoded = self.decode(entry.path, *_chosen(self.pick, self.fit, rng))
        except DecodeError as error:
            return _failure(entry, error)
        return Sample(_clip(decoded), self.target(entry.label, decoded.seconds[0]), entry.video)

    def name(self, index: int, _attempt: int) -> str:
        """The video of an item."""
        return self.entries[index].video

    def __len__(self) -> int:
        return len(self.entries)


class TestingVideos:
    """The listed videos in order, each with all its testing views.

    Args:
        pick: frame indices (V', T) from the times of the frames.
        fit: from a video's height and width to what becomes of each frame.
        crops: from the height and width of these frames to what of them the views show.
        flips: whether they are seen mirrored, too.
        decode: reads a file; `decode.decode` with its settings.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        pick: Callable[[np.ndarray], np.ndarray],
        fit: Callable[[int, int], Callable[[Tensor], Tensor]],
        crops: Callable[[int, int], Crops],
        flips: bool = False,
        decode: Callable[..., Decoded] = decode,
    ) -> None:
        self.entries, self.pick, self.fit = SharedEntries(entries), pick, fit
        self.crops, self.flips, self.decode = crops, flips, decode

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> TestItem:
        """Video `index`; without views if it cannot be decoded, or if its process was lost."""
        entry = self.entries[index]
        if lost:
            return TestItem(classes_of(entry.label), entry.video, lost[0])
        started(0)
        try:
            frames, rows, _ = self.decode(entry.path, self.pick, self.fit)
        except DecodeError as error:
            return TestItem(classes_of(entry.label), entry.video, _failure(entry, error))
        views = Views(frames, rows, *self.crops(*frames.shape[1:3]), flips=self.flips)
        return TestItem(classes_of(entry.label), entry.video, views)

    def name(self, index: int, _attempt: int) -> str:
        """The video of an item."""
        return self.entries[index].video

    def __len__(self) -> int:
        return len(self.entries)


def _chosen(pick: Callable[..., np.ndarray], fit: Callable[..., Any], rng: np.random.Generator) -> tuple[Pick, Fit]:
    """The same two without `rng`: the frames are drawn from it, then what becomes of each.

    Both begin anew with each choice of frames, since a file may turn out to be other than it seemed.
    """
    beginning = rng.bit_generator.state

    def pick_frames(seconds: np.ndarray) -> np.ndarray:
        rng.bit_generator.state = beginning
        return pick(seconds, rng=rng)

    return pick_frames, partial(fit, rng=rng)


def _clip(decoded: Decoded) -> Tensor:
    """(1, 3, T, S, S), without copying the frames of a clip that does not wrap round."""
    frames, row = decoded.frames, decoded.rows[0]
    if not torch.equal(row, torch.arange(len(frames))):
        frames = frames.index_select(0, row)
    return frames.permute(3, 0, 1, 2)[None]


def _failure(entry: Entry, error: DecodeError) -> Failure:
    return Failure(entry.video, str(error), by_chance=isinstance(error, DecodeTimeoutError))
