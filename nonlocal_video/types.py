"""The vocabulary of the project: what flows from a list of videos to a loss or a score.

Shape legend, used by every docstring:
    B batch    V views of a video    C channels    T frames    H, W pixels    S crop size in pixels
    N queries (positions of x)    M keys (positions of the subsampled x)    K classes
Clips are RGB in the layout (B, C, T, H, W); they stay uint8 until they are on the device.
"""

from typing import NamedTuple

from torch import Tensor


class Entry(NamedTuple):
    """One line of a list of videos."""

    video: str
    """The video as the list names it; identifies the video in every report."""
    path: str
    """Where the file is: the list's name, below the root."""
    label: int


class Failure(NamedTuple):
    """A listed video that gave no clip, and why."""

    video: str
    cause: str


class Sample(NamedTuple):
    """One video: its views (V, 3, T, S, S) uint8. A video that could not be decoded has V = 0."""

    clips: Tensor
    label: int
    video: str
    failures: tuple[Failure, ...] = ()
    """Testing: why V = 0. Training: the videos that this one replaces."""


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
