import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nonlocal_video.data.pieces import Still
from nonlocal_video.reports.test.timeline import Timeline, draw_timeline, timeline_figure, write_timeline

CLASSES = ["walking, slowly", "waving", 'saying "$x_1$"', "never seen"]
RED, BLUE = (220, 20, 20), (20, 20, 220)


def timeline(scores: list[list[float]], *, height: int = 90, width: int = 120, frames: int = 8) -> Timeline:
    """A window of 2 s every second; the frames are red, then blue."""
    start_s = np.arange(len(scores), dtype=float)
    end_s = start_s + 2
    stills = tuple(
        Still((k + 0.5) * end_s[-1] / frames, np.full((height, width, 3), RED if k < frames / 2 else BLUE, np.uint8))
        for k in range(frames)
    )
    return Timeline(start_s, end_s, np.array(scores), stills)


SCORES = [[0.2, 0.5, 0.3, 0.0], [0.1, 0.6, 0.3, 0.0], [0.75, 0.15, 0.1, 0.0]]


def test_table_has_the_scores_of_the_leading_classes_at_their_times(tmp_path: Path) -> None:
    write_timeline(tmp_path / "a.csv", timeline(SCORES), classes=CLASSES, top=3)
    with (tmp_path / "a.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["start_s", "end_s", "walking, slowly", "waving", 'saying "$x_1$"']
    expected = [[k, k + 2, *scores[:3]] for k, scores in enumerate(SCORES)]
    np.testing.assert_allclose([[float(cell) for cell in row] for row in rows], expected, atol=1e-6)


def test_a_class_leads_by_its_best_moment_not_by_its_mean() -> None:
    assert timeline(SCORES).leading(2) == [0, 1]  # Class 1 has the greater mean.
    assert timeline(SCORES).leading(9) == [0, 1, 2, 3]


def test_equal_classes_lead_in_their_order() -> None:
    assert timeline([[0.25, 0.25, 0.25, 0.25]]).leading(3) == [0, 1, 2]


def strip_of(path: Path) -> np.ndarray:
    """The rows of a picture's lower end, (h, W, 3), where it has colours of the frames."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    line = pixels[-20]
    return line.astype(int)


def where(line: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.flatnonzero(np.abs(line - colour).max(axis=1) < 12)


@pytest.mark.parametrize(("height", "width"), [(90, 120), (160, 90)])
def test_picture_has_the_frames_side_by_side_in_the_order_of_time(tmp_path: Path, height: int, width: int) -> None:
    drawn = timeline(SCORES, height=height, width=width)
    draw_timeline(tmp_path / "a.png", drawn, title="video_1.mp4", classes=CLASSES, top=3)
    line = strip_of(tmp_path / "a.png")
    red, blue = where(line, RED), where(line, BLUE)
    assert red.max() < blue.min()
    # Four frames each, of equal widths, with nothing but thin lines between: nearly all of the axes.
    assert abs(len(red) - len(blue)) <= 4
    assert len(red) + len(blue) > 0.95 * (blue.max() - red.min())


@pytest.mark.parametrize("windows", [1, 2, 200])
def test_picture_is_drawn_for_any_number_of_windows_and_classes(tmp_path: Path, windows: int) -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(4), windows).tolist()
    draw_timeline(tmp_path / "a.png", timeline(scores), title="$ a_b { \udcff", classes=CLASSES, top=400)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size[0] == 1200


@pytest.mark.parametrize(
    ("video", "title"),
    [
        ("/data/kinetics/val/a long way/clip.mp4", "clip.mp4"),
        ("frames/walking_1/", "walking_1"),
        ("x" * 100 + ".mp4", "x" * 38 + "..." + "x" * 34 + ".mp4"),
    ],
)
def test_the_title_is_the_videos_name_and_no_path(video: str, title: str) -> None:
    figure = timeline_figure(timeline(SCORES), title=video, classes=CLASSES, top=3)
    assert [text.get_text() for text in figure.texts] == [title]


def test_picture_of_a_single_frame_and_of_a_narrow_video_is_drawn(tmp_path: Path) -> None:
    still = Still(0.0, np.full((600, 20, 3), RED, np.uint8))
    one = Timeline(np.zeros(1), np.zeros(1), np.array([[1.0, 0.0]]), (still,) * 8)
    draw_timeline(tmp_path / "a.png", one, title="a", classes=CLASSES, top=2)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size[1] < 1000
