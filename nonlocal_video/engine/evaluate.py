"""The testing loop: every item once."""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tqdm import tqdm

from nonlocal_video.engine.task import Judge
from nonlocal_video.system.distributed import is_main


class Work(NamedTuple):
    """The time that testing took this process."""

    seconds: float
    waited_s: float
    """For items."""


def evaluate(judge: Judge, items: Iterable[Any], *, finished: Callable[[Any], None], total: int, unit: str) -> Work:
    """Judges every item of this rank.

    Args:
        items: in any order, each once.
        finished: hears of every item, as soon as it is judged or has failed.
        total: how many items there are, for the progress bar.
        unit: what it calls an item.

    Raises:
        ValueError: as the judge.
    """
    began, waited_s, pending = time.perf_counter(), 0.0, list[Any]()
    source = iter(items)
    with tqdm(total=total, unit=unit, desc="test", disable=None if is_main() else True) as bar:
        while True:
            asked = time.perf_counter()
            item = next(source, None)
            waited_s += time.perf_counter() - asked
            if item is not None:
                pending.append(judge.begin(item))
            # A GPU is at this item while the one before is read back.
            if len(pending) > (item is not None):
                finished(judge.finish(pending.pop(0)))
                bar.update()
            if item is None:
                break
    return Work(time.perf_counter() - began, waited_s)
