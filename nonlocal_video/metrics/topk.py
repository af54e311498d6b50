"""Top-k accuracy."""

import torch
from torch import Tensor

from nonlocal_video.system.distributed import all_reduce_sum


def ranks_of(scores: Tensor, labels: Tensor) -> Tensor:
    """How many classes are scored above the label: scores (B, K), labels (B,) -> (B,). Of equals the lower class leads.

    A score that is not finite is a ValueError.
    """
    if not torch.isfinite(scores).all():
        raise ValueError("a score is not finite: the weights are broken, or the precision is too low")
    own = scores.gather(1, labels[:, None])  # (B, 1)
    earlier = torch.arange(scores.shape[1]) < labels[:, None]
    return ((scores > own) | ((scores == own) & earlier)).sum(dim=1)


class TopK:
    """The share of items whose label is among the k best-scored classes; whole counts, so for any ranks the same."""

    def __init__(self, ks: tuple[int, ...]) -> None:
        self.ks = ks
        self.counts = torch.zeros(1 + len(ks), dtype=torch.int64)  # Items, and those that are right for each k.

    @property
    def count(self) -> int:
        """Items so far; of all ranks once they are reduced."""
        return int(self.counts[0])

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Counts items: scores (B, K), labels (B,). A score that is not finite is a ValueError."""
        ranks = ranks_of(scores, labels)
        self.counts += torch.tensor([len(labels), *(int((ranks < k).sum()) for k in self.ks)])

    def reduce(self) -> None:
        """Adds up the ranks; called once, by all of them."""
        self.counts = all_reduce_sum(self.counts)

    def compute(self) -> dict[str, float | None]:
        """`top1`, `top5`, ... in percent; None without items."""
        total, *correct = self.counts.tolist()
        return {f"top{k}": 100 * c / total if total else None for k, c in zip(self.ks, correct, strict=True)}
