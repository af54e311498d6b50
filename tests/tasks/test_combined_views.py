import pytest
import torch

from nonlocal_video.tasks.views import combine_views, label_ranks


def test_probabilities_are_averaged_not_logits() -> None:
    logits = torch.tensor([[4.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    scores = combine_views(logits.softmax(1), "mean")
    assert scores.dtype == torch.float64
    assert scores.sum().item() == pytest.approx(1)
    assert scores.tolist() == pytest.approx(torch.stack([row.softmax(0) for row in logits]).mean(0).tolist())


def test_the_largest_score_of_a_class_is_its_maximum() -> None:
    assert combine_views(torch.tensor([[0.2, 0.8], [0.7, 0.3]]), "max").tolist() == pytest.approx([0.7, 0.8])


@pytest.mark.parametrize("how", ["mean", "max"])
def test_ranks_are_those_of_each_clip_and_of_the_first_clips_together(how: str) -> None:
    """Three clips of two views, by the definition: each class that scores above the label counts once."""
    views, label = torch.rand(6, 5, dtype=torch.float64), 2
    combined = {"mean": lambda part: sum(part) / len(part), "max": max}[how]

    def rank(part: torch.Tensor) -> int:
        scores = [combined([view[c].item() for view in part]) for c in range(5)]
        return sum(score > scores[label] for score in scores)

    alone, together = label_ranks(views, label, num_clips=3, how=how)
    assert alone == tuple(rank(views[2 * clip : 2 * clip + 2]) for clip in range(3))
    assert together == tuple(rank(views[: 2 * clip + 2]) for clip in range(3))
