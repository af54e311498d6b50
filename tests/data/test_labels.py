import pytest

from nonlocal_video.data.lists.labels import classes_of, shown_between
from nonlocal_video.types import TimedLabel

TIMED = (TimedLabel(5, 1.0, 3.0), TimedLabel(2, 2.0, 2.5), TimedLabel(5, 8.0, 9.0), TimedLabel(0, 4.0, 4.0))


def test_a_video_has_the_classes_that_it_shows_at_any_time() -> None:
    assert (classes_of(TIMED), classes_of((7, 3, 7)), classes_of(()), classes_of(4), classes_of(None)) == (
        (0, 2, 5), (3, 7), (), 4, None
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first_s", "last_s", "expected"),
    [
        (0, 0.9, ()),
        (0, 1.0, (5,)),  # Times are of frames that show the class: both ends are.
        (3.0, 3.5, (5,)),
        (3.1, 3.9, ()),
        (2.4, 2.4, (2, 5)),
        (3.5, 4.5, (0,)),
        (0, 10, (0, 2, 5)),
    ],
)
def test_a_clip_has_the_classes_whose_times_it_meets(first_s: float, last_s: float, expected: tuple[int, ...]) -> None:
    assert shown_between(TIMED, first_s, last_s) == expected


def test_classes_without_times_are_shown_all_the_time() -> None:
    assert shown_between((3, 1), 100, 101) == (1, 3)
