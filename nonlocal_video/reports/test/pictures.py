"""The pictures of a test: which classes are taken for which, the gain of more clips, average precisions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from nonlocal_video.metrics.average_precision import MeanAp
from nonlocal_video.metrics.intervals import wilson_interval
from nonlocal_video.reports.values import shorten
from nonlocal_video.system.files import whole_file

NAMED = 40
"""Up to so many classes have their names at the axes; more would be too small to read."""
NUMBERED = 12
"""Up to so many have their videos and shares in the cells."""


def save(path: Path, figure: Figure) -> None:
    """Writes a figure as a PNG."""
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=120, bbox_inches="tight")


def confusions_figure(confusions: Tensor, *, classes: Sequence[str] | None) -> Figure:
    """The shares of each class's videos (rows of (K, K) counts) that are taken for each class; grey without videos."""
    num_classes = len(confusions)
    totals = confusions.sum(dim=1, keepdim=True)
    shares = torch.where(totals > 0, 100 * confusions / totals.clamp(min=1), torch.nan)
    numbered = num_classes <= NUMBERED
    side = 2.2 + min((0.55 if numbered else 0.3) * num_classes, 8.0)
    figure = Figure(figsize=(side + 1.6, side), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("0.85")
    # Of many classes by the square root: one video of fifty must be seen among 400 classes.
    norm = Normalize(0, 100) if numbered else PowerNorm(0.5, vmin=0, vmax=100)
    image = axes.imshow(shares.numpy(), cmap="Blues" if numbered else "gist_heat_r", norm=norm, interpolation="nearest")
    said = "percent of a class's videos"
    figure.colorbar(image, ax=axes, label=said if numbered else f"{said}\ncolours by the square root", shrink=0.8)
    axes.set_xlabel("best-scored class")
    axes.set_ylabel("class of the video")
    videos, right = int(confusions.sum()), int(confusions.diagonal().sum())
    axes.set_title(f"{videos} videos, {right} right ({100 * right / max(videos, 1):.1f}%)", fontsize=10)
    if num_classes <= NAMED:
        names = [shorten(name) for name in classes] if classes else [str(label) for label in range(num_classes)]
        axes.set_xticks(range(num_classes), names, rotation=90 if num_classes > 3 else 0, parse_math=False)
        axes.set_yticks(range(num_classes), names, parse_math=False)
    if numbered:
        _number_cells(axes, confusions, shares)
    return figure


def _number_cells(axes: Axes, confusions: Tensor, shares: Tensor) -> None:
    """Writes the videos of each cell and their share, but of the empty ones only the 0."""
    size = 10 if len(confusions) <= 4 else 7
    for between in range(1, len(confusions)):  # Cells of one colour are still cells.
        axes.axhline(between - 0.5, color="0.8", linewidth=1)
        axes.axvline(between - 0.5, color="0.8", linewidth=1)
    for row, column in (shares >= 0).nonzero().tolist():
        share, count = float(shares[row, column]), int(confusions[row, column])
        colour = "white" if share > 60 else "black" if count else "0.6"
        text = f"{count}\n{share:.0f}%" if count else "0"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)


def clips_figure(after_clips: Sequence[Mapping[str, float]], *, num_videos: int) -> Figure:
    """Top-1 and top-5 of the first 1, 2, ... clips together, each with its 95% interval as a band."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    clips = [row["clips"] for row in after_clips]
    for key in (key for key in ("top1", "top5") if key in after_clips[0]):
        values = [row[key] for row in after_clips]
        bands = [wilson_interval(round(value * num_videos / 100), num_videos) for value in values]
        (line,) = axes.plot(clips, values, marker="o", markersize=4, label=f"top-{key[-1]}, {values[-1]:.2f} with all")
        lows, highs = zip(*bands, strict=True)
        axes.fill_between(clips, lows, highs, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("clips of each video")
    axes.set_ylabel("accuracy (%)")
    axes.set_title(f"{num_videos} videos; bands: 95% intervals", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def precisions_figure(found: MeanAp, *, classes: Sequence[str] | None) -> Figure:
    """A bar for each class that a video shows, the best first; on the right, how many videos show it."""
    shown = found.ranked
    rows = range(len(shown))
    figure = Figure(figsize=(8, 1.5 + 0.15 * max(len(shown), 10)), layout="constrained")
    bars, counts = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [3, 1]})
    bars.barh(rows, found.classes[shown].tolist(), color="#0072B2", height=0.7)
    bars.axvline(found.mean, color="#D55E00", label=f"mAP {found.mean:.2f}")
    bars.set_xlim(0, 100)
    bars.set_xlabel("average precision (%)")
    names = [shorten(classes[label], 50) if classes else str(label) for label in shown]
    bars.set_yticks(rows, names, fontsize=6 if len(shown) > NAMED else 8, parse_math=False)
    bars.set_ylim(len(shown) - 0.4, -0.6)
    bars.legend(loc="lower right")
    counts.barh(rows, found.positives[shown].tolist(), color="0.6", height=0.7)
    counts.set_xlabel("videos")
    for axes in (bars, counts):
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    return figure
