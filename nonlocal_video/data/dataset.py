"""One item is one video: decoded once, all its views cut from that."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from nonlocal_video.data.decode import Decoded, DecodeError, decode
from nonlocal_video.types import Entry, Failure, Sample

_SHUFFLE, _SAMPLE = 1, 2  # Keep the two streams of one seed apart.
MAX_ATTEMPTS = 10
"""Videos that may fail one after the other before training stops."""


class TrainingVideos(Dataset[Sample]):
    """The endless training stream: sample i is a pure function of (seed, i).

    The list is shuffled anew in every pass. A video that cannot be decoded is replaced by another,
    drawn from (seed, i, attempt), and reported in `Sample.failures`.

    Args:
        pick: frame indices (1, T) from the number of frames and a generator `rng`.
        view: a clip (1, 3, T, S, S) from decoded frames and a generator `rng`.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        seed: int,
        pick: Callable[..., np.ndarray],
        view: Callable[..., Tensor],
        decoder: str,
    ) -> None:
        self.entries, self.seed, self.pick, self.view, self.decoder = entries, seed, pick, view, decoder

    def __getitem__(self, index: int) -> Sample:
        """Raises: DecodeError after `MAX_ATTEMPTS` videos in a row that cannot be decoded."""
        failures: list[Failure] = []
        for attempt in range(MAX_ATTEMPTS):
            rng = np.random.default_rng((_SAMPLE, self.seed, index, attempt))
            row = self._row(index) if attempt == 0 else int(rng.integers(len(self.entries)))
            entry = self.entries[row]
            try:
                decoded = decode(entry.path, partial(self.pick, rng=rng), decoder=self.decoder)
            except DecodeError as error:
                failures.append(Failure(entry.video, str(error)))
                continue
            return Sample(self.view(decoded, rng=rng), entry.label, entry.video, tuple(failures))
        causes = "\n".join(f"  {failure.cause}" for failure in failures)
        raise DecodeError(f"{MAX_ATTEMPTS} videos in a row cannot be decoded:\n{causes}")

    def _row(self, index: int) -> int:
        num_pass, position = divmod(index, len(self.entries))
        return int(_shuffled(len(self.entries), self.seed, num_pass)[position])


@lru_cache(maxsize=2)
def _shuffled(num_entries: int, seed: int, num_pass: int) -> np.ndarray:
    return np.random.default_rng((_SHUFFLE, seed, num_pass)).permutation(num_entries)


class EvaluationVideos(Dataset[Sample]):
    """The listed videos in order, each with all its testing views; V = 0 for one that cannot be decoded.

    Args:
        pick: frame indices (V, T) from the number of frames.
        views: the views (V', 3, T, S, S) from decoded frames.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        pick: Callable[[int], np.ndarray],
        views: Callable[[Decoded], Tensor],
        decoder: str,
    ) -> None:
        self.entries, self.pick, self.views, self.decoder = entries, pick, views, decoder

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        entry = self.entries[index]
        try:
            decoded = decode(entry.path, self.pick, decoder=self.decoder)
        except DecodeError as error:
            return Sample(torch.empty(0), entry.label, entry.video, (Failure(entry.video, str(error)),))
        return Sample(self.views(decoded), entry.label, entry.video)
