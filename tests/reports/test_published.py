"""A measured accuracy beside the published one."""

from typing import Any

import pytest

from nonlocal_video.reports.test.published import compare_published

PROTOCOL = {
    "name": "10x3", "num_clips": 10, "placement": "released", "crops": "3", "short_side": 256, "flips": False,
    "combine": "mean", "fps": None,
}  # fmt: skip
PUBLISHED = {
    "name": "caffe2_nl_i3d_r50_32x2", "format": "caffe2", "protocol": PROTOCOL, "data": "kinetics400",
    "top1": 74.9, "top5": 91.6, "note": None,
}  # fmt: skip


def report(published: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "published": {**PUBLISHED, **(published or {})}, "top1": 74.7031, "top5": 91.5129,
        "top1_interval": [74.0952, 75.3041], "protocol": PROTOCOL, "data": "kinetics400",
        "videos": {"listed": 19_761, "missing": 0, "failed": 1, "decoded": 19_760}, **changes,
    }  # fmt: skip


def test_line_says_published_measured_and_difference() -> None:
    assert compare_published(report()) == [
        "published 74.9 / 91.6 (10x3), measured 74.7 [74.1, 75.3] / 91.5 of the 19,760 decoded videos, "
        "difference -0.2 / -0.1"
    ]


def test_line_has_as_many_decimals_as_were_published() -> None:
    (line,) = compare_published(report({"top1": 74.8, "top5": 92.07, "format": "pytorchvideo"}))
    assert line.startswith("published 74.80 / 92.07 (10x3), measured 74.70 [74.10, 75.30] / 91.51 of")
    assert line.endswith("difference -0.10 / -0.56")


def test_other_number_of_videos_and_note_are_said() -> None:
    videos = {"listed": 18_434, "missing": 34, "failed": 0, "decoded": 18_400}
    _, listed, note = compare_published(report({"note": "it differs"}, videos=videos))
    assert listed == "published on 19,761 videos, this list has 18,434"
    assert note == "of the published test: it differs"
    assert len(compare_published(report({"format": "pytorchvideo"}, videos=videos))) == 1  # It does not say how many.


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": {**PROTOCOL, "name": "1x1", "num_clips": 1, "crops": "1"}}, "the protocol is 1x1"),
        ({"protocol": {**PROTOCOL, "short_side": 224}}, "protocol.short_side is 224, not 256"),
        ({"data": "my_videos"}, "the data set is my_videos"),
        ({"top1": None, "top5": None, "top1_interval": None}, "nothing was measured"),
    ],
)
def test_numbers_that_do_not_compare_are_not_compared(changes: dict[str, Any], reason: str) -> None:
    assert compare_published(report(**changes)) == [
        f"published 74.9 / 91.6 (10x3) on kinetics400; not compared: {reason}"
    ]


def test_nothing_is_said_of_other_files() -> None:
    assert compare_published({}) == []
    assert compare_published({"published": None}) == []
