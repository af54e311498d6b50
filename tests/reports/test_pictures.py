"""What the pictures of a test hold, as matplotlib's own objects say it."""

import pytest
import torch
from matplotlib.colors import Normalize, PowerNorm
from torch import Tensor

from nonlocal_video.reports.test.pictures import clips_figure, confusions_figure


def all_for_one() -> Tensor:
    """Of two classes with 5 and 4 videos: all are taken for the first."""
    return torch.tensor([[5, 0], [4, 0]])


def test_a_confusion_of_two_classes_has_counts_shares_and_a_scale_in_words() -> None:
    figure = confusions_figure(all_for_one(), classes=["yes", "no"])
    axes, bar = figure.axes
    assert [text.get_text() for text in axes.texts] == ["5\n100%", "0", "4\n100%", "0"]
    assert bar.get_ylabel() == "percent of a class's videos"
    assert axes.get_title() == "9 videos, 5 right (55.6%)"
    (image,) = axes.images
    assert type(image.norm) is Normalize
    colours = image.cmap(image.norm(image.get_array()))
    assert colours[0, 0, :3].max() > 0.3, "no black squares"
    for text, colour in zip(axes.texts, colours.reshape(-1, 4), strict=True):
        grey = {"white": 1.0, "black": 0.0, "0.6": 0.6}[str(text.get_color())]
        assert abs(grey - float(colour[:3].mean())) > 0.3, "the text stands out"


@pytest.mark.parametrize("num_classes", [12, 13, 60])
def test_of_many_classes_colours_alone_tell_and_their_scale_is_explained(num_classes: int) -> None:
    figure = confusions_figure(torch.eye(num_classes, dtype=torch.int64), classes=None)
    axes, bar = figure.axes
    assert len(axes.texts) == (144 if num_classes == 12 else 0)
    assert isinstance(axes.images[0].norm, PowerNorm) == (num_classes > 12)
    assert ("colours by the square root" in bar.get_ylabel()) == (num_classes > 12)
    assert len(axes.get_xticklabels()) == num_classes or num_classes > 40


def test_long_class_names_are_shortened_in_the_middle() -> None:
    figure = confusions_figure(all_for_one(), classes=["a" * 40 + " end", "b"])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["a" * 13 + "..." + "a" * 9 + " end", "b"]


def test_the_curve_over_clips_says_what_its_bands_are() -> None:
    rows = [{"clips": number, "top1": 40.0 + number} for number in (1, 2, 3)]
    (axes,) = clips_figure(rows, num_videos=100).axes
    assert axes.lines[0].get_ydata().tolist() == [41, 42, 43]
    assert "95% intervals" in axes.get_title()
    assert "43.00" in axes.lines[0].get_label()
