import pytest
import torch

from nonlocal_video.metrics.topk import TopK, ranks_of


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


def test_rank_is_the_place_of_the_label_among_sorted_scores() -> None:
    scores, labels = torch.randint(0, 4, (100, 9)).double(), torch.randint(0, 9, (100,))  # Many scores are equal.
    for row, label, rank in zip(scores, labels, ranks_of(scores, labels), strict=True):
        order = sorted(range(9), key=lambda c: (-row[c].item(), c))
        assert order.index(int(label)) == int(rank)
        assert (int(rank) == 0) == (int(row.argmax()) == int(label))


def test_no_items_give_no_number() -> None:
    assert TopK((1, 5)).compute() == {"top1": None, "top5": None}


def test_scores_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(ValueError, match="not finite"):
        TopK((1,)).update(torch.tensor([[0.0, float("nan")]]), torch.tensor([0]))
