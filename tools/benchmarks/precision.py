"""The effect of lower precision on the scores of views, and on their time."""

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.testspeed import Test, build, copies, plan, videos_of
from benchmarks.videos import File
from nonlocal_video.reports.texts import table
from nonlocal_video.system.distributed import local_device
from nonlocal_video.tasks.views import Scorer
from nonlocal_video.types import Views

EXPLANATION = """## Precision

{name}, `10x1` on {files}, one view at a time, under autocast. Differences are
from fp32 on the same views: the largest of any score, and how many views have another best class. The weights are
random: what precision does to the accuracy of a trained network is another question.
{slow}
"""
SLOW = "fp16 has no fast convolutions on this CPU: it saw the first view of each video, once.\n"


def precision(name: str, files: Sequence[File], *, precisions: Sequence[str], repeats: int) -> Iterator[str]:
    """The section, part by part.

    Raises:
        ValueError: a video cannot be decoded, or a score is not finite.
    """
    model = build(name)
    entries = [copies(file.path, 1)[0] for file in files]
    slow = SLOW if any(map(is_slow, precisions)) else ""
    yield EXPLANATION.format(name=name, files=" and ".join(file.name for file in files), slow=slow)
    test = Test(model, entries, plan(model, "10x1"), 0)
    found = effects(test, precisions=("fp32", *precisions), repeats=repeats)
    rows = [
        [key, str(one.views), f"{one.seconds:.3g}", f"{one.against:.2g}", f"{one.largest:.1e}", str(one.moved)]
        for key, one in found.items()
    ]
    head = ["precision", "views", "s a view", "fp32 / it", "largest difference", "another best class"]
    yield table(head, rows) + "\n\n"


class Effect(NamedTuple):
    """The effect of one precision, beside fp32 on the same views."""

    views: int
    seconds: float
    """For a view; the median over the repeats."""
    against: float
    """The seconds of fp32 for such a view over these."""
    largest: float
    """The largest difference of any score of a view."""
    moved: int
    """Views whose best class is another."""


def effects(test: Test, *, precisions: Sequence[str], repeats: int) -> dict[str, Effect]:
    """Measures each precision, fp32 among them, on all views of the videos; they take turns.

    fp16 on a CPU is some hundred times slower: it sees the first view of each video, once.

    Raises:
        ValueError: a video cannot be decoded, or a score is not finite.
    """
    every = [_decoded(test, index) for index in range(len(test.entries))]
    times: dict[str, list[float]] = {precision: [] for precision in precisions}
    scores = dict[str, Tensor]()
    for turn in range(repeats + 1):
        for precision in precisions:
            slow = is_slow(precision)
            if slow and turn:
                continue
            scores[precision], seconds = _scored(test, every, precision=precision, first_only=slow)
            if turn or slow:  # The first turn warms up.
                times[precision].append(seconds / len(scores[precision]))
    base = statistics.median(times["fp32"])
    found = {}
    for precision in precisions:
        seconds = statistics.median(times[precision])
        own, full = scores[precision], scores["fp32"]
        if len(own) < len(full):
            full = full[:: len(full) // len(own)]
        moved = int((own.argmax(dim=1) != full.argmax(dim=1)).sum())
        found[precision] = Effect(len(own), seconds, base / seconds, float((own - full).abs().max()), moved)
    return found


def is_slow(precision: str) -> bool:
    """Whether convolutions in it have no fast form on this device."""
    return precision == "fp16" and local_device().type == "cpu"


def _decoded(test: Test, index: int) -> Views:
    views = videos_of(test).get(index, lost={}, started=lambda _: None).views
    if not isinstance(views, Views):
        raise ValueError(views.cause)
    return views


def _scored(test: Test, every: Sequence[Views], *, precision: str, first_only: bool) -> tuple[Tensor, float]:
    """The scores (V, K) of all views, and the seconds that they took."""
    scorer = Scorer(test.model.scores, chunk=1, precision=precision, note=print)
    chosen = [
        views._replace(rows=views.rows[:1], corners=views.corners[:1]) if first_only else views for views in every
    ]
    began = time.perf_counter()
    scores = torch.cat([scorer(views).cpu() for views in chosen])
    seconds = time.perf_counter() - began
    if not torch.isfinite(scores).all():
        raise ValueError(f"{precision}: a score is not finite")
    return scores, seconds
