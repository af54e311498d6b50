import pytest
import torch

from nonlocal_video.metrics.topk import TopK
from nonlocal_video.metrics.views import average_views


def test_topk_equals_torchs_topk_on_distinct_scores() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(200, 20), torch.randint(0, 20, (200,))
    metric = TopK((1, 5))
    metric.update(scores[:150], labels[:150])
    metric.update(scores[150:], labels[150:])
    expected = [100 * (scores.topk(k).indices == labels[:, None]).any(1).double().mean().item() for k in (1, 5)]
    assert list(metric.compute().values()) == pytest.approx(expected)


def test_equal_scores_do_not_count_as_correct_for_every_class() -> None:
    metric = TopK((1,))
    metric.update(torch.zeros(4, 4), torch.arange(4))
    assert metric.compute() == {"top1": 25.0}


def test_no_items_give_no_number() -> None:
    assert TopK((1, 5)).compute() == {"top1": None, "top5": None}


def test_scores_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(ValueError, match="not finite"):
        TopK((1,)).update(torch.tensor([[0.0, float("nan")]]), torch.tensor([0]))


def test_probabilities_are_averaged_not_logits() -> None:
    logits = torch.tensor([[4.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    scores = average_views(logits.softmax(1))
    assert scores.dtype == torch.float64
    assert scores.sum().item() == pytest.approx(1)
    assert scores.tolist() == pytest.approx(torch.stack([row.softmax(0) for row in logits]).mean(0).tolist())
