"""The testing loop: every listed video once, all its views together."""

import re
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from nonlocal_video.engine.step import autocast
from nonlocal_video.metrics.views import combine_views, label_ranks
from nonlocal_video.system.distributed import is_main, local_device
from nonlocal_video.types import Classes, Failure, Prediction, TestItem, Views

FULL = re.compile(
    "can't allocate memory|not enough memory|out of memory|bad_alloc|could not create a memory"
    "|could not create a primitive(?! descriptor)",
    re.IGNORECASE,
)
"""What libraries say when the memory is full, besides `torch.OutOfMemoryError`. "Could not create a primitive" is what
oneDNN says when there is no room for the code that it generates; where it knows no way at all, "descriptor" follows."""


GPU_VIEWS, CPU_PIXELS = 10, 2**19
"""What runs together unless it is said: on a GPU so many views; on a CPU so many pixels of all frames, or one view.
Larger maps are slower there, since the system hands out their memory anew each time: see docs/benchmark_test.md."""


class Scorer:
    """A network on all views of a video, in chunks that are halved when the memory is full.

    Views of different videos never share a chunk, so scores do not depend on the number of ranks.

    Args:
        run: from views (B, 3, T, h, w) to what is wanted of each (B, ...): a network's `scores`, in testing mode.
        chunk: views that run through the network together; if None, what suits the device and the size of the views.
        precision: fp32, bf16 or fp16.
        note: hears that the chunks became smaller.
    """

    def __init__(
        self, run: Callable[[Tensor], Tensor], *, chunk: int | None, precision: str, note: Callable[[str], None]
    ) -> None:
        self.run, self.chunk, self.precision, self.note = run, chunk, precision, note
        self.device = local_device()

    @torch.inference_mode()
    def __call__(self, views: Views) -> Tensor:
        """What `run` gives of the views, such as their scores (V, K), on the device.

        Raises:
            ValueError: not even one view fits into the memory.
        """
        views = views.to(self.device)
        chunk = self.chunk or self._suitable(views)
        while True:
            try:
                with autocast(self.device, self.precision):
                    return torch.cat([self.run(part) for part in views.chunks(chunk)])
            except (RuntimeError, MemoryError) as error:
                if not is_full(error):
                    raise
                cause = str(error).splitlines()[0] if str(error) else "the memory is full"
                needed = f"{views.rows.shape[1]}x{views.size[0]}x{views.size[1]}"
            # Outside of the handler, which keeps the tensors of the failed pass alive.
            if chunk == 1:
                raise ValueError(f"a single view of {needed} does not fit into the memory: {cause}")
            self.chunk = chunk = min(chunk, views.num_views) // 2 or 1
            self.note(f"the memory is full ({cause}); from here on {chunk} views at a time (runtime.chunk)")
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _suitable(self, views: Views) -> int:
        pixels = views.num_pixels // views.num_views
        return max(1, CPU_PIXELS // pixels) if self.device.type == "cpu" else GPU_VIEWS


def is_full(error: BaseException) -> bool:
    """Whether this error says that there is no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or FULL.search(str(error)) is not None


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
    label: Classes | None
    num_clips: int
    scores: Tensor


def _prediction(queued: _Queued, *, combine: str, keep_views: bool) -> Prediction:
    scores = queued.scores.double().cpu()  # (V, K)
    if not torch.isfinite(scores).all():
        raise ValueError(f"{queued.video}: a score is not finite: the weights are broken, or the precision is too low")
    ranks: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    if isinstance(queued.label, int):
        ranks = label_ranks(scores, queued.label, num_clips=queued.num_clips, how=combine)
    views = scores.float() if keep_views else None
    return Prediction(queued.video, queued.label, combine_views(scores, combine), *ranks, views)
