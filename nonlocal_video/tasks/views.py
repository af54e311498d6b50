"""Tests a network on videos, by all the views of each together."""

import re
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nonlocal_video.metrics.views import combine_views, label_ranks
from nonlocal_video.system.distributed import local_device
from nonlocal_video.system.precision import at_precision
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
        self.run, self.chunk, self.note = at_precision(run, precision), chunk, note
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


class VideoJudge:
    """Predicts videos, one after the other.

    Args:
        combine: how the scores of views become those of the video: a key of `COMBINE`.
        keep_views: predictions hold the scores of every view.

    `pixels` counts those that went through the network.
    """

    def __init__(self, scorer: Scorer, *, combine: str, keep_views: bool) -> None:
        self.scorer, self.combine, self.keep_views = scorer, combine, keep_views
        self.pixels = 0

    def begin(self, item: TestItem) -> "_Pending | Failure":
        """Sends the views of a video through the network; a failure stays one."""
        if isinstance(item.views, Failure):
            return item.views
        self.pixels += item.views.num_pixels
        return _Pending(item.video, item.label, len(item.views.rows), self.scorer(item.views))

    def finish(self, pending: "_Pending | Failure") -> Prediction | Failure:
        """Reads the scores.

        Raises:
            ValueError: a score that is not finite.
        """
        if isinstance(pending, Failure):
            return pending
        video, label, num_clips, scores = pending
        scores = scores.double().cpu()  # (V, K)
        if not torch.isfinite(scores).all():
            raise ValueError(f"{video}: a score is not finite: the weights are broken, or the precision is too low")
        ranks: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
        if isinstance(label, int):
            ranks = label_ranks(scores, label, num_clips=num_clips, how=self.combine)
        views = scores.float() if self.keep_views else None
        return Prediction(video, label, combine_views(scores, self.combine), *ranks, views)


class _Pending(NamedTuple):
    """A video that the network is at."""

    video: str
    label: Classes | None
    num_clips: int
    scores: Tensor
