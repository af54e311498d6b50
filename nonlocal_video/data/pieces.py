"""Videos in pieces, with the times of their clips: the frames of an hour do not fit into the memory."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import numpy as np

from nonlocal_video.data.dataset import Started, TestingVideos
from nonlocal_video.data.decode import Pick
from nonlocal_video.data.transforms import resize, short_side_size
from nonlocal_video.types import Entry, Failure, TestItem, Views

PIECE_FRAMES = 512
"""Different frames that are decoded together, at most, unless one clip has more: 134 MB of 340x256 pixels."""
NUM_STILLS = 8
"""Frames that show what a video is about."""
STILL_SIDE = 160
"""The short side of these frames in pixels."""


class Still(NamedTuple):
    """A frame of a video."""

    time_s: float
    image: np.ndarray
    """(H, W, 3) uint8."""


class Piece(NamedTuple):
    """Some consecutive clips of a video."""

    item: TestItem
    start_s: np.ndarray = np.empty(0)
    """(V',) when the first frame of each clip is shown; NaN where nobody knows."""
    end_s: np.ndarray = np.empty(0)
    """(V',) when the latest frame of each clip is shown."""
    num_pieces: int = 1
    """The pieces of the whole video."""
    shown: tuple[tuple[float, int], ...] = ()
    """The times in the video that this piece shows stills of, and the row of the frame that is nearest to each."""

    def stills(self) -> tuple[Still, ...]:
        """The stills in this piece of the `NUM_STILLS` that are spread over the whole video."""
        assert isinstance(self.item.views, Views)
        frames = self.item.views.frames
        size = short_side_size(frames.shape[1], frames.shape[2], STILL_SIDE)
        return tuple(Still(time_s, resize(frames[row], size).numpy()) for time_s, row in self.shown)


@dataclass
class VideoPieces:
    """Pieces of videos, in the order given. Frames that two pieces of a video share are decoded for both."""

    pieces: Sequence[tuple[Entry, int]]
    """The videos, and the number of a piece of each; every video has number 0."""
    _: KW_ONLY
    pick: Pick
    """Frame indices (V, T) of all clips of a video, from the times of its frames."""
    testing: Callable[..., TestingVideos]
    """Makes `TestingVideos` from entries and another `pick`."""

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> Piece:
        """Piece `index`; without views if it cannot be decoded, or if its process was lost."""
        entry, number = self.pieces[index]
        facts = dict[str, Any]()  # Those of the last reading: a file may be read twice.

        def pick(seconds: np.ndarray) -> np.ndarray:
            clips, times = self.pick(seconds), seconds - seconds[0]
            starts = _starts(clips)
            part = clips[starts[number] : (*starts, None)[number + 1]]
            middles = (np.arange(NUM_STILLS) + 0.5) * times[clips].max() / NUM_STILLS
            owner = np.searchsorted(times[clips[starts, 0]], middles, side="right") - 1
            frames = times[np.unique(part)]
            shown = tuple((float(time), int(np.abs(frames - time).argmin())) for time in middles[owner == number])
            facts.update(start_s=times[part[:, 0]], end_s=times[part].max(axis=1), num_pieces=len(starts), shown=shown)
            return part

        item = self.testing([entry], pick=pick).get(0, lost=lost, started=started)
        return Piece(item)._replace(**facts)

    def name(self, index: int, _attempt: int) -> str:
        return self.pieces[index][0].video


def _starts(clips: np.ndarray) -> list[int]:
    """The number of the first clip of each piece of clips (V, T)."""
    starts, together = [0], set[int]()
    for number, clip in enumerate(clips.tolist()):
        fresh = set(clip) - together
        if together and len(together) + len(fresh) > PIECE_FRAMES:
            starts.append(number)
            fresh, together = set(clip), set()
        together |= fresh
    return starts
