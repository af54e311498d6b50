"""What a test has found so far, on the disk as soon as it is known, so that a killed test goes on where it was."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from nonlocal_video.engine.task import Outcome
from nonlocal_video.system.plain import differences, json_object

AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)


class Journal:
    """The outcomes of one process: a line that says which test this is, and a line for each.

    What a process that was killed left of a line is cut off.

    Args:
        folder: of the report; every process has a file of its own in it.
        test: what makes the test what it is, in plain values.
    """

    def __init__(self, folder: Path, *, rank: int, test: dict[str, Any]) -> None:
        path = folder / f"unfinished.rank{rank}.jsonl"
        path.touch()
        self.file = path.open("r+b")
        self.file.seek(sum(len(line) for line in self.file if line.endswith(b"\n")))
        self.file.truncate()
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
    found: dict[str, AnyOutcome] = {}
    for path in journals(folder):
        lines = _whole_lines(path)
        header = next(lines, {"test": test})
        changed = sorted(differences(header.get("test", {}), json.loads(json.dumps(test))))
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


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json_object(line, where=str(path))
