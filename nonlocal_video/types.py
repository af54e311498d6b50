"""The vocabulary of the project: what flows from a list of videos to a loss or a score.

Shape legend, used by every docstring:
    B batch    V views of a video    C channels    T frames    H, W pixels    S crop size in pixels
    N queries (positions of x)    M keys (positions of the subsampled x)    K classes
Clips are RGB in the layout (B, C, T, H, W); they stay uint8 until they are on the device.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class TimedLabel(NamedTuple):
    """A class that a video shows from one moment to another."""

    label: int
    start_s: float
    end_s: float


Label = int | tuple[int, ...] | tuple[TimedLabel, ...] | None
"""One class, several, several with their times, or none given, as in the lists of test sets."""


class Entry(NamedTuple):
    """One video of a list."""

    video: str
    """The video as the list names it; identifies the video in every report."""
    path: str
    """Where it is: a video file, or a folder of JPEG frames."""
    label: Label
    num_frames: int | None = None
    """What the list says of a folder of frames."""


class Failure(NamedTuple):
    """A listed video that gave no clip, and why."""

    video: str
    cause: str
    by_chance: bool = False
    """A time-out or a process that died: another run may not have it, and then it sees other clips."""


class Sample(NamedTuple):
    """One training clip (1, 3, T, S, S) uint8."""

    clip: Tensor
    label: int
    video: str
    failures: tuple[Failure, ...] = ()
    """The videos that this one replaces."""


class Views(NamedTuple):
    """The testing views of a video, cut when they are needed: 30 views of 128 frames are 755 MB, their frames 80 MB."""

    frames: Tensor
    """(U, H, W, 3) uint8, each needed frame once."""
    rows: Tensor
    """(V', T) int64: the rows of `frames` that make each clip."""
    corners: tuple[tuple[int, int], ...]
    """Top and left of each crop."""
    size: int
    """S."""

    @property
    def num_views(self) -> int:
        """V = clips x crops."""
        return len(self.rows) * len(self.corners)

    def chunks(self, size: int) -> Iterator[Tensor]:
        """The views of clip after clip, crop after crop, in pieces (up to `size`, 3, T, S, S) uint8."""
        views = [(row, corner) for row in self.rows for corner in self.corners]
        for start in range(0, len(views), size):
            part = views[start : start + size]
            chunk = self.frames.new_empty((len(part), self.rows.shape[1], self.size, self.size, 3))
            for view, (row, (top, left)) in zip(chunk, part, strict=True):
                square = self.frames[:, top : top + self.size, left : left + self.size]
                torch.index_select(square, 0, row, out=view)  # Many times faster than square[row].
            yield chunk.permute(0, 4, 1, 2, 3)

    def to(self, device: torch.device) -> "Views":
        """The same on a device."""
        return self._replace(
            frames=self.frames.to(device, non_blocking=True), rows=self.rows.to(device, non_blocking=True)
        )


class TestItem(NamedTuple):
    """One video to test: its views, or why there are none."""

    label: int
    video: str
    views: Views | Failure


class Prediction(NamedTuple):
    """What the network says of one video."""

    video: str
    label: int
    scores: list[float]
    """(K,) averaged over the views."""


class Evaluation(NamedTuple):
    """The outcome of a test, of all ranks."""

    video: dict[str, float | None]
    """Accuracies of the averaged scores over the decoded videos, in percent."""
    clip: dict[str, float | None]
    """Accuracies of single views, in percent."""
    predictions: list[Prediction]
    """In the order of the videos' names, so that the number of ranks does not show."""
    failures: list[Failure]


class Batch(NamedTuple):
    """Training samples side by side: clips (B, 3, T, S, S) uint8, labels (B,) int64."""

    clips: Tensor
    labels: Tensor
    failures: tuple[Failure, ...] = ()
    videos: tuple[str, ...] = ()
    """Those of the clips, in their order."""
