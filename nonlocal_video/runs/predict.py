"""Predictions of videos: `for video, result in Predictor("nl_i3d.safetensors")("videos/"): ...`."""

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nonlocal_video.data.clips import sliding_clips
from nonlocal_video.data.decode import check_decoder
from nonlocal_video.data.lists.classes import KINETICS400, read_classes
from nonlocal_video.data.lists.manifest import Videos, find_entries
from nonlocal_video.data.loader import Loader
from nonlocal_video.data.pieces import Piece, Still, VideoPieces
from nonlocal_video.data.transforms import testing_short_side
from nonlocal_video.models.nonlocal_block import Pairwise
from nonlocal_video.models.weights.file import load_model, read_model_file
from nonlocal_video.models.weights.given import check_network, in_run
from nonlocal_video.reports.test.timeline import Timeline
from nonlocal_video.runs.videos import clips_of, views_of
from nonlocal_video.settings import ProtocolConfig, ReadConfig, RuntimeConfig
from nonlocal_video.settings.values import expect
from nonlocal_video.system.distributed import local_device, set_threads
from nonlocal_video.tasks.views import Scorer, combine_views
from nonlocal_video.types import Entry, Failure


class Result(NamedTuple):
    """The scores that a network gives one video, or why there are none."""

    classes: Sequence[str]
    """The names of the classes; their numbers where nobody knows the names."""
    scores: Tensor | None
    """(K,) float64, of all views together."""
    error: str | None = None
    timeline: Timeline | None = None
    """The scores along the video, if they were asked for."""

    def top(self, k: int) -> list[tuple[str, float]]:
        """The k best classes with their scores, the best first; of equals the lower one leads."""
        if self.scores is None:
            return []
        order = self.scores.argsort(descending=True, stable=True)[:k]
        return [(self.classes[label], float(self.scores[label])) for label in order.tolist()]


class ClipFeatures(NamedTuple):
    """The pooled features of a video's clips, or why there are none."""

    features: Tensor | None
    """(V', C) float32: of each clip the output of res5, averaged over time, space and its views (crops, flips)."""
    start_s: np.ndarray
    """(V',) when the first frame of each clip is shown; NaN where nobody knows."""
    error: str | None = None


class Predictor:
    """The network of a file of weights, for videos that nobody has labelled.

    Args:
        weights: a .safetensors file, or the folder of a run that is trained.
        pairwise: the pairwise function, where the project does not have it: files do not name code.
        protocol: which views of a video; the paper's 10 clips of the whole frame if None.
        data: how videos are read, and the names of the classes.
        runtime: workers, threads, precision, channels_last and chunk. None has no workers: with some, a script has to
            be safe to import (`if __name__ == "__main__":`), as always with processes.

    `classes` are the names of the classes, and `note` says where they come from if the file does not tell them.

    Raises:
        ValueError: no such file of weights, or an impossible setting.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str],
        *,
        pairwise: Pairwise | None = None,
        protocol: ProtocolConfig | None = None,
        data: ReadConfig | None = None,
        runtime: RuntimeConfig | None = None,
    ) -> None:
        self.protocol, self.data = protocol or ProtocolConfig(), data or ReadConfig()
        self.runtime = runtime or RuntimeConfig(workers=0)
        expect(self.runtime.devices in (None, 1), "runtime.devices", self.runtime.devices, "1 to predict")
        weights = in_run(Path(weights))
        check_network(weights)
        self.model = load_model(weights, pairwise=pairwise)
        options = self.model.options
        if self.protocol.short_side is None:
            self.protocol = replace(self.protocol, short_side=testing_short_side(options.crop))
        check_decoder(self.data.decoder)
        self.names, self.note = _class_names(weights, self.data.classes, options.num_classes)
        self.classes = self.names or [str(label) for label in range(options.num_classes)]
        set_threads(self.runtime.threads)
        self.model.lay_out(channels_last=self.runtime.channels_last)
        self.model.to(local_device())

    def __call__(self, videos: Videos, *, every_s: float | None = None) -> Iterator[tuple[str, Result]]:
        """Predicts the videos of a file, a folder, a list, or several of these; see `predict` and `find_entries`."""
        return self.predict(self.find(videos), every_s=every_s)

    def find(self, videos: Videos, *, note: Callable[[str], object] = warnings.warn) -> list[Entry]:
        """The videos; see `find_entries`."""
        return find_entries(videos, root=self.data.root, classes=self.names, form=self.data.format, note=note)

    def predict(self, entries: Sequence[Entry], *, every_s: float | None = None) -> Iterator[tuple[str, Result]]:
        """Each video's name and result, in order, as soon as it is there.

        Args:
            every_s: a clip every so many seconds instead of those of the protocol; gives timelines, too. The scores
                are then those of these clips, which lie elsewhere in the video, and so differ a little.

        Raises:
            ValueError: while iterating; a score that is not finite, or a view that does not fit into the memory.
        """
        for entry, done in self._run(entries, self.model.scores, every_s):
            if isinstance(done, Failure):
                yield entry.video, Result(self.classes, None, cause_of(done, entry.path, entry.video))
                continue
            scores = combine_views(torch.cat([part.outputs for part in done]), self.protocol.combine)
            timeline = _timeline(done, self.protocol.combine) if every_s is not None else None
            yield entry.video, Result(self.classes, scores, None, timeline)

    def features(self, entries: Sequence[Entry], *, every_s: float | None = None) -> Iterator[tuple[str, ClipFeatures]]:
        """Each video's name and the features of its clips; `every_s` as in `predict`."""
        for entry, done in self._run(entries, self.model.features, every_s):
            if isinstance(done, Failure):
                yield entry.video, ClipFeatures(None, np.empty(0), cause_of(done, entry.path, entry.video))
                continue
            clips = torch.cat([part.by_clip().mean(dim=1) for part in done]).float()
            yield entry.video, ClipFeatures(clips, np.concatenate([part.start_s for part in done]))

    def _run(
        self, entries: Sequence[Entry], run: Callable[[Tensor], Tensor], every_s: float | None
    ) -> Iterator[tuple[Entry, "list[_Done] | Failure"]]:
        expect(every_s is None or every_s > 0, "every_s", every_s, "more than 0")
        chunk, precision = self.runtime.chunk, self.runtime.precision
        scorer = Scorer(run, chunk=chunk, precision=precision, note=partial(tqdm.write, file=sys.stderr))
        firsts = self._load([(entry, 0) for entry in entries], every_s)
        for entry, first in zip(entries, firsts, strict=True):
            rest = self._load([(entry, number) for number in range(1, first.num_pieces)], every_s)
            yield entry, _run_pieces(entry, chain([first], rest), scorer)

    def _load(self, pieces: Sequence[tuple[Entry, int]], every_s: float | None) -> Iterable[Piece]:
        options, protocol, data = self.model.options, self.protocol, self.data
        length, stride = options.clip_length, options.clip_stride
        if every_s is None:
            pick = clips_of(protocol, length=length, stride=stride)
        else:
            pick = partial(sliding_clips, every_s=every_s, length=length, stride=stride, fps=protocol.fps)
        videos = VideoPieces(pieces, pick=pick, testing=views_of(protocol, data))
        plan, workers = [range(i, i + 1) for i in range(len(pieces))], self.runtime.workers
        return Loader(videos, plan, collate=itemgetter(0), workers=workers, limit_s=data.decode_limit_s)


class _Done(NamedTuple):
    """A piece of a video that went through the network, without its frames."""

    outputs: Tensor
    """(V, K) or (V, C) float64, of each view."""
    start_s: np.ndarray
    end_s: np.ndarray
    stills: tuple[Still, ...]

    def by_clip(self) -> Tensor:
        """The outputs (V', views of a clip, K)."""
        return self.outputs.unflatten(0, (len(self.start_s), -1))


def _class_names(
    weights: str | os.PathLike[str], path: str | None, num_classes: int
) -> tuple[list[str] | None, str | None]:
    """The names, if somebody tells them, and what to know about them."""
    if path is not None:
        return read_classes(path, num_classes=num_classes), None
    names = read_model_file(weights, with_weights=False).classes
    if names is None and num_classes == len(KINETICS400):
        return list(KINETICS400), f"{weights} names no classes; as they are 400, they are taken for Kinetics-400's"
    return names, None if names is not None else f"{weights} names no classes; data.classes=FILE does"


def _run_pieces(entry: Entry, pieces: Iterable[Piece], scorer: Scorer) -> list[_Done] | Failure:
    done = []
    for piece in pieces:
        views = piece.item.views
        if isinstance(views, Failure):
            return views
        outputs = scorer(views).double().cpu()  # (V, K)
        if not torch.isfinite(outputs).all():
            raise ValueError(f"{entry.video}: a score is not finite: broken weights, or too low a precision")
        done.append(_Done(outputs, piece.start_s, piece.end_s, piece.stills()))
    return done


def _timeline(done: Sequence[_Done], combine: str) -> Timeline:
    scores = [combine_views(clip, combine) for part in done for clip in part.by_clip()]
    starts, ends = (np.concatenate(times) for times in zip(*((part.start_s, part.end_s) for part in done), strict=True))
    return Timeline(starts, ends, torch.stack(scores).numpy(), tuple(still for part in done for still in part.stills))


def cause_of(failure: Failure, *names: str) -> str:
    """The cause without the names of the file, one of which stands beside it."""
    cause = failure.cause
    for name in names:
        cause = cause.removeprefix(f"{name}: ")
    return cause
