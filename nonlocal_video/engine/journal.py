"""What a test has found so far, on the disk as soon as it is known, so that a killed test goes on where it was."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from nonlocal_video.engine.task import Outcome
from nonlocal_video.system.files import keep_lines
from nonlocal_video.system.plain import json_lines

AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)


class Journal:
    """The outcomes of one process: a line that says which test this is, and a line for each.

    Args:
        folder: the report's; every process has a file of its own in it.
        test: what makes the test what it is, in plain values.
    """

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


def read_journals(
    folder: Path, *, test: dict[str, Any], read: Callable[[Mapping[str, Any]], AnyOutcome]
) -> list[AnyOutcome]:
    """The outcomes of all processes of this test, each item once; none if there are no journals.

    Args:
        read: makes an outcome of what its `to_json` gave.

    Raises:
        ValueError: they are of another test, and says how it differs; or no journals.
    """
    found, new = dict[str, AnyOutcome](), json.loads(json.dumps(test))
    for path in journals(folder):
        keep_lines(path)
        lines = json_lines(path, dict, refusal="{path}: {error}")
        old = next(lines, {"test": new}).get("test", {})
        changed = [f"{k}: was {old.get(k)}, now {new.get(k)}" for k in sorted(old | new) if old.get(k) != new.get(k)]
        if changed:
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
