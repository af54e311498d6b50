import torch

from nonlocal_video.metrics.classes import class_results, count_confusions, most_confused, worst_classes

LABELS = [0, 0, 0, 0, 1, 1, 2, 2, 2, 4]
BEST = [0, 1, 1, 4, 1, 1, 0, 1, 2, 0]


def confusions() -> torch.Tensor:
    return count_confusions(torch.tensor(LABELS), torch.tensor(BEST), 5)


def test_confusions_are_counted_as_a_loop_counts_them() -> None:
    labels, best = torch.randint(0, 7, (500,)), torch.randint(0, 7, (500,))
    expected = torch.zeros(7, 7, dtype=torch.int64)
    for label, predicted in zip(labels.tolist(), best.tolist(), strict=True):
        expected[label, predicted] += 1
    assert torch.equal(count_confusions(labels, best, 7), expected)


def test_a_class_has_its_accuracy_and_what_it_is_taken_for() -> None:
    results = class_results(confusions())
    assert [result.videos for result in results] == [4, 2, 3, 0, 1]
    assert [result.top1 for result in results] == [25, 100, 100 / 3, None, 0]
    assert [result.confused_with for result in results] == [1, None, 0, None, 0]
    assert [result.share for result in results] == [50, None, 100 / 3, None, 100]


def test_the_worst_classes_come_first_and_those_without_videos_not_at_all() -> None:
    results = class_results(confusions())
    assert [result.label for result in worst_classes(results, 10)] == [4, 0, 2, 1]
    assert [result.label for result in worst_classes(results, 2)] == [4, 0]


def test_the_most_confused_pairs_have_the_most_videos_then_the_larger_share() -> None:
    pairs = most_confused(confusions(), 10)
    assert [(pair.label, pair.predicted, pair.videos) for pair in pairs] == [
        (0, 1, 2), (4, 0, 1), (2, 0, 1), (2, 1, 1), (0, 4, 1)
    ]  # fmt: skip
    assert pairs[0].share == 50
    assert most_confused(confusions(), 1) == pairs[:1]
