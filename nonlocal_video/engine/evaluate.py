"""The testing loop: every item once."""

import time
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, NamedTuple

from tqdm import tqdm

from nonlocal_video.engine.meter import Timed
from nonlocal_video.engine.task import Judge
from nonlocal_video.system.distributed import is_main


class Timing(NamedTuple):
    """The time that testing took this process, and how much of it was spent waiting for items."""

    seconds: float
    waited_s: float


def evaluate(judge: Judge, items: Iterable[Any], *, finished: Callable[[Any], None], total: int, unit: str) -> Timing:
    """Judges every item of this rank.

    Args:
        items: in any order, each once.
        finished: hears of every item, as soon as it is judged or has failed.
        total: how many items there are, for the progress bar.
        unit: the bar's word for an item.

    Raises:
        ValueError: as the judge.
    """
    began, source, pending = time.perf_counter(), Timed(items), None
    with tqdm(total=total, unit=unit, desc="test", disable=None if is_main() else True) as bar:
        for item in chain(source, [None]):
            before, pending = pending, None if item is None else judge.begin(item)
            if before is not None:  # A GPU is at this item while the one before is read back.
                finished(judge.finish(before))
                bar.update()
    return Timing(time.perf_counter() - began, source.waited_s)
