"""From the views of a video to the video."""

from collections.abc import Callable

import torch
from torch import Tensor

from nonlocal_video.metrics.topk import ranks_of

COMBINE: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda scores: scores.mean(dim=0),
    "max": lambda scores: scores.amax(dim=0),
}
"""The scores of views (V, K) -> (K,): probabilities are averaged, not logits (Sec. 4.1)."""


def combine_views(scores: Tensor, how: str) -> Tensor:
    """The scores (V, K) of the views -> (K,), in float64.

    Args:
        how: a key of `COMBINE`.
    """
    return COMBINE[how](scores.double())


def label_ranks(scores: Tensor, label: int, *, num_clips: int, how: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many classes are scored above the label, by each clip alone and by the first 1, 2, ..., V' clips together.

    Args:
        scores: (V, K) clip after clip.
        num_clips: V'; a clip has V / V' views.

    Raises:
        ValueError: a score that is not finite.
    """
    clips = scores.unflatten(0, (num_clips, -1))  # (V', V / V', K)
    alone = torch.stack([combine_views(clip, how) for clip in clips])  # (V', K)
    together = torch.stack([combine_views(clips[: end + 1].flatten(0, 1), how) for end in range(num_clips)])  # (V', K)
    labels = torch.full((num_clips,), label)
    return tuple(ranks_of(alone, labels).tolist()), tuple(ranks_of(together, labels).tolist())
