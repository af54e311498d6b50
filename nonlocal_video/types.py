"""The vocabulary of the project: what flows from a list of videos to a loss or a score.

Shape legend, used by every docstring:
    B batch    V views of a video    C channels    T frames    H, W pixels    S crop size in pixels
    N queries (positions of x)    M keys (positions of the subsampled x)    K classes
Clips are RGB in the layout (B, C, T, H, W); they stay uint8 until they are on the device.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class TimedLabel(NamedTuple):
    """A class that a video shows from one moment to another."""

    label: int
    start_s: float
    end_s: float


Label = int | tuple[int, ...] | tuple[TimedLabel, ...] | None
"""One class, several, several with their times, or none given, as in the lists of test sets."""

Classes = int | tuple[int, ...]
"""The class of a video, or all of several that it shows: sorted, perhaps none."""


class Entry(NamedTuple):
    """One video of a list."""

    video: str
    """The video as the list names it; identifies the video in every report."""
    path: str
    """The path of the video file, or of the folder of frames."""
    label: Label
    num_frames: int | None = None
    """The number of frames that the list says a folder of frames has."""


class Failure(NamedTuple):
    """A listed video that gave no clip, and why."""

    video: str
    cause: str
    transient: bool = False
    """Transient, as a time-out or a process that died: another run may not have it, and then it sees other clips."""


class Sample(NamedTuple):
    """One training clip (1, 3, T, S, S) uint8."""

    clip: Tensor
    target: Tensor
    """() int64, the class; or (K,) float32, 1 for every class that is shown."""
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
    size: tuple[int, int]
    """Height and width of each crop."""
    flips: bool = False
    """Whether each crop is seen mirrored left and right, too."""

    @property
    def num_views(self) -> int:
        """V = clips x crops, twice with flips."""
        return len(self.rows) * len(self.corners) * (2 if self.flips else 1)

    @property
    def num_pixels(self) -> int:
        """Pixels of all frames of all views, which the network sees."""
        return self.num_views * self.rows.shape[1] * self.size[0] * self.size[1]

    def chunks(self, size: int) -> Iterator[Tensor]:
        """The views of clip after clip, crop after crop, in pieces (up to `size`, 3, T, h, w) uint8."""
        sides = (False, True) if self.flips else (False,)
        views = [(row, corner, mirrored) for row in self.rows for corner in self.corners for mirrored in sides]
        height, width = self.size
        for start in range(0, len(views), size):
            part = views[start : start + size]
            chunk = self.frames.new_empty((len(part), self.rows.shape[1], height, width, 3))
            for view, (row, (top, left), mirrored) in zip(chunk, part, strict=True):
                cut = self.frames[:, top : top + height, left : left + width]
                torch.index_select(cut, 0, row, out=view)  # Many times faster than cut[row].
                if mirrored:
                    view.copy_(view.flip(2))
            yield chunk.permute(0, 4, 1, 2, 3)

    def to(self, device: torch.device) -> "Views":
        """The views on a device."""
        frames, rows = (tensor.to(device, non_blocking=True) for tensor in (self.frames, self.rows))
        return self._replace(frames=frames, rows=rows)


class TestItem(NamedTuple):
    """One video to test: its views, or why there are none."""

    label: Classes | None
    video: str
    views: Views | Failure


class Prediction(NamedTuple):
    """The scores of one video, and how well they do."""

    video: str
    label: Classes | None
    scores: Tensor
    """(K,) float64, of all views together."""
    clip_ranks: tuple[int, ...] = ()
    """(V',) how many classes each clip by itself scores above the label; empty without a label, or with several."""
    running_ranks: tuple[int, ...] = ()
    """(V',) such ranks of the first 1, 2, ..., V' clips together; the last is the video's."""
    views: Tensor | None = None
    """(V, K) float32, if they were asked for."""

    @property
    def name(self) -> str:
        """The video."""
        return self.video

    def to_json(self) -> dict[str, Any]:
        """The prediction as a line of a journal; every digit of the scores is kept."""
        plain = {key: value for key, value in self._asdict().items() if key != "views" or value is not None}
        return {key: value.tolist() if isinstance(value, Tensor) else value for key, value in plain.items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Prediction":
        """The prediction that `to_json` gave. Raises KeyError, TypeError, ValueError: something else."""
        views = torch.tensor(plain["views"], dtype=torch.float32) if "views" in plain else None
        clip_ranks, running_ranks = (tuple(map(int, plain[key])) for key in ("clip_ranks", "running_ranks"))
        scores = torch.tensor(plain["scores"], dtype=torch.float64)
        label = tuple(map(int, plain["label"])) if isinstance(plain["label"], list) else plain["label"]
        return cls(plain["video"], label, scores, clip_ranks, running_ranks, views)


class Evaluation(NamedTuple):
    """The outcome of a test, of all ranks."""

    predictions: list[Prediction]
    """In the order of the videos' names, so that the number of ranks does not show."""
    failures: list[Failure]


class ClipBatch(NamedTuple):
    """Training samples side by side: clips (B, 3, T, S, S) uint8, labels (B,) int64 or (B, K) float32 of 0 and 1."""

    clips: Tensor
    labels: Tensor
    failures: tuple[Failure, ...] = ()
    names: tuple[str, ...] = ()
    """The names of the clips' videos, in their order."""

    @property
    def size(self) -> int:
        """The number of clips, B."""
        return len(self.labels)


class ImageSample(NamedTuple):
    """An image with its objects."""

    image: Tensor
    """(3, H, W) uint8."""
    target: dict[str, Tensor]
    """`boxes` (n, 4) float32 as x1, y1, x2, y2, `labels` (n,) int64 from 1 on, perhaps `masks` (n, H, W) uint8 or
    `keypoints` (n, K, 3) float32."""
    name: str
    image_id: int
    failures: tuple[Failure, ...] = ()


class ImageBatch(NamedTuple):
    """Images (3, H, W) uint8 of any sizes, and the objects of each as in `ImageSample`."""

    images: list[Tensor]
    targets: list[dict[str, Tensor]]
    names: tuple[str, ...] = ()
    image_ids: tuple[int, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def size(self) -> int:
        """The number of images."""
        return len(self.images)


class ParameterGroup(NamedTuple):
    """Parameters of a network that are trained alike."""

    parameters: list[nn.Parameter]
    rate: float
    """Factor of the learning rate; 0: they are not trained."""
    decays: bool
    """Whether weight decay applies."""
