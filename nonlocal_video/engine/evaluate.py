"""The testing loop, every item once, and its journal, so that a killed test goes on where it was."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from nonlocal_video.engine.meter import Timed
from nonlocal_video.engine.task import Judge, Outcome
from nonlocal_video.system.distributed import all_gather, gather, is_main, rank, world_size
from nonlocal_video.system.files import keep_lines
from nonlocal_video.system.plain import differences, json_lines
from nonlocal_video.types import Failure

AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)


class Timing(NamedTuple):
    """The time that testing took this process, and how much of it was spent waiting for items."""

    seconds: float
    waited_s: float


def evaluate(judge: Judge, items: Iterable[Any], *, finished: Callable[[Any], None], total: int, unit: str) -> Timing:
    """Judges every item of this rank once; `finished` hears of each as soon as it is judged or has failed.

    The progress bar counts up to `total` items and calls each a `unit`. The judge's errors pass through.
    """
    began, pending = time.perf_counter(), None
    with Timed(items) as source, tqdm(total=total, unit=unit, desc="test", disable=None if is_main() else True) as bar:
        for item in chain(source, [None]):
            before, pending = pending, None if item is None else judge.begin(item)
            if before is not None:  # A GPU is at this item while the one before is read back.
                finished(judge.finish(before))
                bar.update()
    return Timing(time.perf_counter() - began, source.waited_s)


class Journal:
    """A file in the report's folder: a line of plain values that tells which test this is, and a rank's outcomes."""

    def __init__(self, folder: Path, *, rank: int, test: dict[str, Any]) -> None:
        path = folder / f"unfinished.rank{rank}.jsonl"
        keep_lines(path)  # A process that was killed may have left half a line.
        self.file = path.open("ab")
        if self.file.tell() == 0:
            self._write({"test": test})

    def add(self, outcome: Outcome) -> None:
        """Once this returns, the outcome outlives the process."""
        self._write(outcome.to_json())

    def _write(self, plain: dict[str, Any]) -> None:
        self.file.write((json.dumps(plain) + "\n").encode())
        self.file.flush()

    def close(self) -> None:
        """Ends the file, which stays."""
        self.file.close()


class Judged(NamedTuple):
    """The result of the testing loop."""

    outcomes: list[Any]
    """Outcomes of all ranks and of the killed test, in any order; on the main rank only, as the failures."""
    failures: list[Failure]
    resumed: int
    """How many of the outcomes are of the killed test."""
    timing: Timing


def evaluate_rest(
    judge: Judge,
    load: Callable[..., Any],
    names: Sequence[str],
    *,
    folder: Path,
    test: dict[str, Any],
    read: Callable[[Mapping[str, Any]], Outcome],
    unit: str,
    note: Callable[[str], None],
) -> Judged:
    """Judges the items that a killed test has left to do, and keeps journals in `folder`; those of another are deleted.

    Args:
        load: from rows of `names`, which are all items, and the `rank` and `world_size`, to this rank's share of these.
        test, read: as in `read_journals`.
        unit: the word for an item.
        note: is told whether the test goes on, and after how many items, or why it begins anew.
    """
    before = _resume(folder, names, test=test, read=read, unit=unit, note=note) if is_main() else []
    done = all_gather({outcome.name for outcome in before})[0]  # Before anyone writes a journal.
    todo = [row for row, name in enumerate(names) if name not in done]
    items = load(todo, rank=rank(), world_size=world_size())
    outcomes, failures = list[Outcome](), list[Failure]()
    with closing(Journal(folder, rank=rank(), test=test)) as journal:

        def finished(outcome: Outcome | Failure) -> None:
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                journal.add(outcome)
                outcomes.append(outcome)

        timing = evaluate(judge, items, finished=finished, total=len(items), unit=unit)
    everything = [*before, *chain.from_iterable(gather(outcomes))]
    return Judged(everything, sorted(chain.from_iterable(gather(failures))), len(before), timing)


def _resume(
    folder: Path, names: Sequence[str], *, test: dict[str, Any], read: Any, unit: str, note: Callable[[str], None]
) -> list[Outcome]:
    try:
        before = read_journals(folder, test=test, read=read)
        if strange := {outcome.name for outcome in before}.difference(names):
            raise ValueError(f"{min(strange)!r} is not a listed {unit}")
    except ValueError as error:
        note(f"begins anew: what {folder} holds of an unfinished test is of another one ({error})")
        for path in journals(folder):
            path.unlink()
        return []
    if before:
        note(f"goes on: {len(before)} {unit}s were tested before")
    return before


def read_journals(
    folder: Path, *, test: dict[str, Any], read: Callable[[Mapping[str, Any]], AnyOutcome]
) -> list[AnyOutcome]:
    """The outcomes of all processes of this test, each item once, as `read` makes them of what their `to_json` gave.

    Raises:
        ValueError: they are of another test, and says how it differs; or no journals.
    """
    found, new = dict[str, AnyOutcome](), json.loads(json.dumps(test))
    for path in journals(folder):
        keep_lines(path)
        lines = json_lines(path, dict, refusal="{path}: {error}")
        old = next(lines, {"test": new}).get("test", {})
        if changed := sorted(differences(old, new)):
            raise ValueError("; ".join(changed))
        for plain in lines:
            try:
                outcome = read(plain)
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}: got a line that is no outcome: {error!r}") from error
            found.setdefault(outcome.name, outcome)
    return list(found.values())


def journals(folder: Path) -> list[Path]:
    """The files of a test that has not ended."""
    return sorted(folder.glob("unfinished.rank*.jsonl"))
