"""Top-k accuracy."""

import torch
from torch import Tensor

from nonlocal_video.system.distributed import all_reduce_sum


def ranks_of(scores: Tensor, labels: Tensor) -> Tensor:
    """How many classes are scored above the label: scores (B, K), labels (B,) -> (B,). Of equals the lower class leads.

    Raises:
        ValueError: a score that is not finite.
    """
    if not torch.isfinite(scores).all():
        raise ValueError("a score is not finite: the weights are broken, or the precision is too low")
    own = scores.gather(1, labels[:, None])  # (B, 1)
    earlier = torch.arange(scores.shape[1]) < labels[:, None]
    return ((scores > own) | ((scores == own) & earlier)).sum(dim=1)


class TopK:
    """The share of items whose label is among the k best-scored classes.

    Counts are whole numbers, so the result is the same for any number of ranks.
    """

    def __init__(self, ks: tuple[int, ...] = (1, 5)) -> None:
        self.ks = ks
        self.correct = torch.zeros(len(ks), dtype=torch.int64)
        self.count = 0

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Scores (B, K), labels (B,).

        Raises:
            ValueError: a score that is not finite.
        """
        ranks = ranks_of(scores, labels)
        self.correct += torch.stack([(ranks < k).sum() for k in self.ks])
        self.count += len(labels)

    def reduce(self) -> None:
        """Adds up the ranks; called once, by all of them."""
        *correct, self.count = all_reduce_sum(torch.tensor([*self.correct.tolist(), self.count])).tolist()
        self.correct = torch.tensor(correct)

    def compute(self) -> dict[str, float | None]:
        """`top1`, `top5`, ... in percent; None without items."""
        return {
            f"top{k}": 100 * int(c) / self.count if self.count else None
            for k, c in zip(self.ks, self.correct, strict=True)
        }
