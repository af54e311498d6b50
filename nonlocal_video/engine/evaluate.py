"""The testing loop: every listed video once, all its views together."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from nonlocal_video.distributed import is_main, local_device
from nonlocal_video.engine.step import autocast
from nonlocal_video.metrics.views import combine_views, label_ranks
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.types import Failure, Prediction, TestItem, Views

FULL = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "could not create a memory")
"""What libraries say when the memory is full, besides `torch.OutOfMemoryError`."""


class Scorer:
    """A network on all views of a video, in chunks that are halved when the memory is full.

    Views of different videos never share a chunk, so scores do not depend on the number of ranks.

    Args:
        chunk: views that run through the network together.
        precision: fp32, bf16 or fp16.
        note: hears that the chunks became smaller.
    """

    def __init__(self, model: Classifier, *, chunk: int, precision: str, note: Callable[[str], None]) -> None:
        self.model, self.chunk, self.precision, self.note = model.eval(), chunk, precision, note
        self.device = local_device()

    @torch.inference_mode()
    def __call__(self, views: Views) -> Tensor:
        """The scores (V, K) of the views, on the device.

        Raises:
            ValueError: not even one view fits into the memory.
        """
        views = views.to(self.device)
        while True:
            try:
                with autocast(self.device, self.precision):
                    return torch.cat([self.model.scores(part) for part in views.chunks(self.chunk)])
            except (RuntimeError, MemoryError) as error:
                if not is_full(error):
                    raise
                cause = str(error).splitlines()[0] if str(error) else "the memory is full"
                needed = f"{views.rows.shape[1]}x{views.size[0]}x{views.size[1]}"
            # Outside of the handler, which keeps the tensors of the failed pass alive.
            if self.chunk == 1:
                raise ValueError(f"a single view of {needed} does not fit into the memory: {cause}")
            self.chunk = min(self.chunk, views.num_views) // 2 or 1
            self.note(f"the memory is full ({cause}); from here on {self.chunk} views at a time (runtime.chunk)")
            if self.device.type == "cuda":
                torch.cuda.empty_cache()


def is_full(error: BaseException) -> bool:
    """Whether this error says that there is no memory left."""
    told = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in told for words in FULL)


class Work(NamedTuple):
    """What testing cost this process."""

    seconds: float
    waited_s: float
    """For videos."""
    pixels: int
    """That went through the network."""


def evaluate(
    scorer: Scorer,
    items: Iterable[TestItem],
    *,
    combine: str,
    keep_views: bool,
    finished: Callable[[Prediction | Failure], None],
    total: int,
) -> Work:
    """Scores every video of this rank.

    Args:
        items: in any order, each video once.
        combine: how the scores of views become those of the video: a key of `COMBINE`.
        keep_views: predictions hold the scores of every view.
        finished: hears of every video as soon as it is scored or has failed.
        total: how many videos there are, for the progress bar.

    Raises:
        ValueError: a score that is not finite, or a view that does not fit into the memory.
    """
    began, waited_s, pixels = time.perf_counter(), 0.0, 0
    queued: _Queued | None = None
    source = iter(items)
    with tqdm(total=total, unit="video", desc="test", disable=None if is_main() else True) as bar:

        def finish(outcome: Prediction | Failure) -> None:
            finished(outcome)
            bar.update()

        while True:
            asked = time.perf_counter()
            item = next(source, None)
            waited_s += time.perf_counter() - asked
            before, queued = queued, None
            if item is not None and isinstance(item.views, Views):
                pixels += item.views.num_pixels
                queued = _Queued(item.video, item.label, len(item.views.rows), scorer(item.views))
            # A GPU is at the next video while the one before is read back.
            if before is not None:
                finish(_prediction(before, combine=combine, keep_views=keep_views))
            if item is None:
                break
            if isinstance(item.views, Failure):
                finish(item.views)
    return Work(time.perf_counter() - began, waited_s, pixels)


class _Queued(NamedTuple):
    """A video that the network is at."""

    video: str
    label: int | None
    num_clips: int
    scores: Tensor


def _prediction(queued: _Queued, *, combine: str, keep_views: bool) -> Prediction:
    scores = queued.scores.double().cpu()  # (V, K)
    if not torch.isfinite(scores).all():
        raise ValueError(f"{queued.video}: a score is not finite: the weights are broken, or the precision is too low")
    ranks: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    if queued.label is not None:
        ranks = label_ranks(scores, queued.label, num_clips=queued.num_clips, how=combine)
    views = scores.float() if keep_views else None
    return Prediction(queued.video, queued.label, combine_views(scores, combine), *ranks, views)
