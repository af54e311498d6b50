"""Videos in pieces, with the times of their clips: the frames of an hour do not fit into the memory."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from nonlocal_video.data.dataset import Started, TestingVideos
from nonlocal_video.data.transforms import resize, short_side_size
from nonlocal_video.types import Entry, Failure, TestItem, Views

PIECE_FRAMES = 512
"""Different frames that are decoded together, at most, unless one clip has more: 134 MB of 340x256 pixels."""


NUM_STILLS = 8
"""Frames that show what a video is about."""
STILL_SIDE = 160
"""Their short side in pixels."""


class Still(NamedTuple):
    """A frame of a video."""

    time_s: float
    image: np.ndarray
    """(H, W, 3) uint8."""


class Piece(NamedTuple):
    """Some consecutive clips of a video."""

    item: TestItem
    start_s: np.ndarray
    """(V',) when the first frame of each clip is shown; NaN where nobody knows."""
    end_s: np.ndarray
    """(V',) when its latest one is."""
    num_pieces: int
    """Of the whole video."""
    shown: tuple[tuple[float, int], ...]
    """The times in the video that this piece shows stills of, and the row of the frame that is nearest to each."""

    def stills(self) -> tuple[Still, ...]:
        """What this piece shows of the `NUM_STILLS` frames that are spread over the whole video."""
        assert isinstance(self.item.views, Views)
        frames = self.item.views.frames
        size = short_side_size(frames.shape[1], frames.shape[2], STILL_SIDE)
        return tuple(Still(time_s, resize(frames[row], size).numpy()) for time_s, row in self.shown)


class VideoPieces:
    """Pieces of videos, in the order given. Frames that two pieces of a video share are decoded for both.

    Args:
        pieces: the videos, and the number of a piece of each; every video has number 0.
        pick: frame indices (V, T) of all clips of a video, from the times of its frames.
        testing: makes `TestingVideos` from entries and another `pick`.
    """

    def __init__(
        self,
        pieces: Sequence[tuple[Entry, int]],
        *,
        pick: Callable[[np.ndarray], np.ndarray],
        testing: Callable[..., TestingVideos],
    ) -> None:
        self.pieces, self.pick, self.testing = pieces, pick, testing

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> Piece:
        """Piece `index`; without views if it cannot be decoded, or if its process was lost."""
        entry, number = self.pieces[index]
        facts: list[Piece] = []

        def pick(seconds: np.ndarray) -> np.ndarray:
            clips = self.pick(seconds)
            starts = _starts(clips)
            part = clips[starts[number] : (*starts, None)[number + 1]]
            times = seconds - seconds[0]
            shown = _shown(times[clips[starts, 0]], number, times[np.unique(part)], end_s=times[clips].max())
            facts.append(Piece(_UNREAD, times[part[:, 0]], times[part].max(axis=1), len(starts), shown))
            return part

        item = self.testing([entry], pick=pick).get(0, lost=lost, started=started)
        return (facts or [_NOTHING])[-1]._replace(item=item)  # A file may be read twice.

    def name(self, index: int, _attempt: int) -> str:
        """The video of an item."""
        return self.pieces[index][0].video

    def __len__(self) -> int:
        return len(self.pieces)


_UNREAD = TestItem(None, "", Failure("", ""))
_NOTHING = Piece(_UNREAD, np.empty(0), np.empty(0), 1, ())


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


def _shown(starts_s: np.ndarray, number: int, frames_s: np.ndarray, *, end_s: float) -> tuple[tuple[float, int], ...]:
    """`Piece.shown`: the middles of equal parts of the video that lie between the start of this piece and of the next.

    Args:
        starts_s: when each piece of the video starts.
        number: of this piece.
        frames_s: (U,) when its frames are shown.
        end_s: when the last frame of all is.
    """
    middles = (np.arange(NUM_STILLS) + 0.5) * end_s / NUM_STILLS
    owner = np.searchsorted(starts_s, middles, side="right") - 1
    return tuple((float(time), int(np.abs(frames_s - time).argmin())) for time in middles[owner == number])
