"""From the views of a video to the video."""

from torch import Tensor


def average_views(scores: Tensor) -> Tensor:
    """The mean of the views' scores (V, K) -> (K,), in float64: probabilities are averaged, not logits (Sec. 4.1)."""
    return scores.double().mean(dim=0)
