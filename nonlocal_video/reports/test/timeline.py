"""The scores of a network along a video: a table, and a picture above a strip of frames."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nonlocal_video.data.pieces import Still
from nonlocal_video.reports.texts import csv_text, write_text
from nonlocal_video.reports.values import shorten
from nonlocal_video.system.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CURVES = 10
"""More cannot be told apart."""
WIDTH, MARGIN, PLOT_HEIGHT, MAX_STRIP_HEIGHT = 10.0, 0.8, 3.0, 2.0
"""Inches: the picture, the room beside the axes on either side, the axes of the scores, the strip at most."""


class Timeline(NamedTuple):
    """The scores of a video's windows, in the order of time."""

    start_s: np.ndarray
    """(V',) when the first frame of each window is shown."""
    end_s: np.ndarray
    """(V',) when the last frame of each window is shown."""
    scores: np.ndarray
    """(V', K)."""
    stills: tuple[Still, ...]
    """The frames at the middles of equal parts of the video."""

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the last; a thousandth for a single one, so that something can be drawn."""
        return max(float(self.end_s.max()), 1e-3)

    def leading(self, num_classes: int) -> list[int]:
        """The classes with the highest scores in any window; of equals the lower one leads."""
        return np.argsort(-self.scores.max(axis=0), kind="stable")[:num_classes].tolist()


def write_timeline(path: Path, timeline: Timeline, *, classes: Sequence[str], top: int) -> None:
    """Writes a CSV: start_s, end_s and the scores of the `top` leading classes, a window a line."""
    leading = timeline.leading(top)
    rows = [
        [f"{start_s:.3f}", f"{end_s:.3f}", *(f"{score:.6f}" for score in scores)]
        for start_s, end_s, scores in zip(timeline.start_s, timeline.end_s, timeline.scores[:, leading], strict=True)
    ]
    write_text(path, csv_text(["start_s", "end_s", *(classes[label] for label in leading)], rows))


def draw_timeline(path: Path, timeline: Timeline, *, title: str, classes: Sequence[str], top: int) -> None:
    """Writes what `timeline_figure` draws as a PNG."""
    figure = timeline_figure(timeline, title=title, classes=classes, top=top)
    with whole_file(path) as file:
        figure.savefig(file, format="png")


def timeline_figure(timeline: Timeline, *, title: str, classes: Sequence[str], top: int) -> "Figure":
    """The scores of the leading classes at the middle of each window, above frames at their own times."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # Drawing takes a second to import.

    leading = timeline.leading(min(top, MAX_CURVES))
    legend = 0.185 * len(leading) + 0.45  # Inches: the lines of the legend, and the title.
    wide, image = WIDTH - 2 * MARGIN, timeline.stills[0].image
    strip = min(wide / len(timeline.stills) * image.shape[0] / image.shape[1], MAX_STRIP_HEIGHT)
    height = legend + PLOT_HEIGHT + 0.55 + strip + 0.1
    figure = Figure(figsize=(WIDTH, height), dpi=120)
    name = shorten(os.path.basename(title.rstrip("/")) or title, 80)
    name = name.encode(errors="surrogateescape").decode(errors="replace")  # Names of files are bytes.
    figure.text(MARGIN / WIDTH, 1 - 0.12 / height, name, va="top", fontsize=11, fontweight="bold", parse_math=False)
    top_axes = (MARGIN / WIDTH, 1 - (legend + PLOT_HEIGHT) / height, wide / WIDTH, PLOT_HEIGHT / height)
    _draw_scores(figure.add_axes(top_axes), timeline, leading, classes)
    low_axes = (MARGIN / WIDTH, 0.1 / height, wide / WIDTH, strip / height)
    _draw_strip(figure.add_axes(low_axes), timeline, strip_s=timeline.duration_s * strip / wide)
    return figure


def _draw_scores(axes: "Axes", timeline: Timeline, leading: Sequence[int], classes: Sequence[str]) -> None:
    middle, scores = (timeline.start_s + timeline.end_s) / 2, 100 * timeline.scores
    if len(middle) == 1:
        middle, scores = np.array([timeline.start_s[0], timeline.end_s[0]]), scores.repeat(2, axis=0)
    marker = "o" if len(timeline.start_s) in range(2, 61) else ""
    for label in leading:
        named = f"{classes[label]}  (up to {scores[:, label].max():.1f}%)"
        axes.plot(middle, scores[:, label], marker=marker, markersize=4, linewidth=1.6, label=named)
    window = f"a window of {np.median(timeline.end_s - timeline.start_s):.1f} s"
    axes.set_xlim(0, timeline.duration_s)
    axes.set_ylim(0, min(101.0, 1.15 * float(scores[:, leading].max())))
    axes.set_ylabel("score (%)")
    said = f"each score is that of {window}, shown at its middle" if len(timeline.start_s) > 1 else window
    axes.set_xlabel(f"time (s); {said}", labelpad=2)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    legend = axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9, borderaxespad=0.2)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _draw_strip(axes: "Axes", timeline: Timeline, *, strip_s: float) -> None:
    """Frames side by side, the middle of each at its time; the strip is as high as `strip_s` is long."""
    for time_s, image in timeline.stills:
        half = 0.985 * strip_s * image.shape[1] / image.shape[0] / 2  # A line between them.
        axes.imshow(image, extent=(time_s - half, time_s + half, 0, 1), aspect="auto", interpolation="bilinear")
    axes.set_xlim(0, timeline.duration_s)
    axes.set_ylim(0, 1)
    axes.set_axis_off()
