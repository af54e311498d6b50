"""Tests a network on videos, by all the views of each together."""

import re
from collections.abc import Callable

import torch
from torch import Tensor

from nonlocal_video.metrics.topk import ranks_of
from nonlocal_video.system.distributed import at_precision, local_device
from nonlocal_video.types import Classes, Failure, Prediction, TestItem, Views

FULL = re.compile(
    "can't allocate memory|not enough memory|out of memory|bad_alloc|could not create a memory"
    "|could not create a primitive(?! descriptor)",
    re.IGNORECASE,
)
"""The words of libraries when the memory is full, besides `torch.OutOfMemoryError`. "Could not create a primitive" is
oneDNN's, when there is no room for the code that it generates; where it knows no way at all, "descriptor" follows."""
GPU_VIEWS, CPU_PIXELS = 10, 2**19
"""The size of a chunk unless it is set: on a GPU so many views; on a CPU so many pixels of all frames, or one view.
Larger maps are slower there, since the system hands out their memory anew each time: see docs/benchmark_test.md."""
Pending = tuple[str, Classes | None, int, Tensor]
"""A video that the network is at: its name, its label, the number of its clips, and the scores of its views."""


def combine_views(scores: Tensor, how: str) -> Tensor:
    """The scores (V, K) of views -> (K,) in float64, by mean or max: probabilities, not logits (Sec. 4.1)."""
    return scores.double().mean(dim=0) if how == "mean" else scores.double().amax(dim=0)


def label_ranks(scores: Tensor, label: int, *, num_clips: int, how: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many classes are scored above the label, by each clip alone and by the first 1, 2, ..., V' clips together.

    The scores (V, K) are those of V / V' views of clip after clip, combined as `how` says; V' is `num_clips`. A score
    that is not finite is a ValueError.
    """
    clips = scores.unflatten(0, (num_clips, -1))  # (V', V / V', K)
    alone = torch.stack([combine_views(clip, how) for clip in clips])  # (V', K)
    together = torch.stack([combine_views(clips[: end + 1].flatten(0, 1), how) for end in range(num_clips)])  # (V', K)
    labels = torch.full((num_clips,), label)
    return tuple(ranks_of(alone, labels).tolist()), tuple(ranks_of(together, labels).tolist())


class Scorer:
    """A network on all views of a video, in chunks that are halved when the memory is full.

    Views of different videos never share a chunk, so scores do not depend on the number of ranks. `run` makes of views
    (B, 3, T, h, w) what is wanted of each (B, ...), such as a network's `scores` in testing mode. A chunk of None suits
    the device and the size of the views; `note` hears that chunks became smaller.
    """

    def __init__(
        self, run: Callable[[Tensor], Tensor], *, chunk: int | None, precision: str, note: Callable[[str], None]
    ) -> None:
        self.run, self.chunk, self.note = at_precision(run, precision), chunk, note
        self.device = local_device()

    @torch.inference_mode()
    def __call__(self, views: Views) -> Tensor:
        """The results of `run`, such as scores (V, K), on the device; a single view without room is a ValueError."""
        views = views.to(self.device)
        pixels = views.num_pixels // views.num_views
        chunk = self.chunk or (max(1, CPU_PIXELS // pixels) if self.device.type == "cpu" else GPU_VIEWS)
        while True:
            try:
                return torch.cat([self.run(part) for part in views.chunks(chunk)])
            except (RuntimeError, MemoryError) as error:
                if not is_full(error):
                    raise
                cause = str(error).splitlines()[0] if str(error) else "the memory is full"
            # Outside of the handler, which keeps the tensors of the failed pass alive.
            if chunk == 1:
                needed = f"{views.rows.shape[1]}x{views.size[0]}x{views.size[1]}"
                raise ValueError(f"a single view of {needed} does not fit into the memory: {cause}")
            self.chunk = chunk = min(chunk, views.num_views) // 2 or 1
            self.note(f"the memory is full ({cause}); from here on {chunk} views at a time (runtime.chunk)")
            if self.device.type == "cuda":
                torch.cuda.empty_cache()


def is_full(error: BaseException) -> bool:
    """Whether this error says that there is no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or FULL.search(str(error)) is not None


class VideoJudge:
    """Predicts videos, one after another, whose views it combines by mean or max; predictions may keep their scores.

    `pixels` counts those that went through the network.
    """

    def __init__(self, scorer: Scorer, *, combine: str, keep_views: bool) -> None:
        self.scorer, self.combine, self.keep_views = scorer, combine, keep_views
        self.pixels = 0

    def begin(self, item: TestItem) -> Pending | Failure:
        """Sends the views of a video through the network; a failure stays one."""
        if isinstance(item.views, Failure):
            return item.views
        self.pixels += item.views.num_pixels
        return item.video, item.label, len(item.views.rows), self.scorer(item.views)

    def finish(self, pending: Pending | Failure) -> Prediction | Failure:
        """Reads the scores; one that is not finite is a ValueError."""
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
