"""Files of other people are plain data: nothing in them is run or looked up, and no link leads out of their folder."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

Parsed = TypeVar("Parsed")

MAX_BYTES = 100_000
"""The largest file of settings; that of a run has 4,000 bytes."""
MAX_DEPTH = 20
"""Levels of lists and mappings in one another; the settings of a run have 4."""


def read_yaml(path: Path) -> Any:
    """The content of a YAML file of text, numbers, lists and mappings, else a ValueError.

    No plain values are a tag, which names what to build; an alias, which lets few lines stand for many; and an
    interpolation, which asks for something elsewhere.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path}: got more than {MAX_BYTES:,} bytes, expected the settings of a run, some 4,000")
    try:
        return yaml.load(content.decode(), Loader=_PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{path}{line}: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:  # A date or a number that cannot be.
        raise ValueError(f"{path}: expected YAML, got {str(error).splitlines()[0]}") from error


class _PlainLoader(yaml.SafeLoader):
    """Reads what is written out, and nothing else."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Called by PyYAML for each value, before anything is made of it."""
        event, self.depth = self.peek_event(), self.depth + 1
        tag, text, problem = getattr(event, "tag", None), getattr(event, "value", ""), None
        if event.anchor is not None:
            problem = f"got the anchor or alias {event.anchor}, expected values that are written out"
        elif tag is not None:
            problem = f"got the tag {tag}, which names what to build; expected plain values: nothing is built"
        elif "${" in text:
            problem = f"got {text!r}, expected a plain value: what ${{...}} stands for is not looked up"
        elif self.depth > MAX_DEPTH:
            problem = f"got values more than {MAX_DEPTH} deep in one another, expected the settings of a run"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object, else a ValueError."""
    return _json_object(path.read_bytes(), where=str(path))


def json_lines(path: Path, read: Callable[[dict[str, Any]], Parsed], *, refusal: str | None = None) -> Iterator[Parsed]:
    """Reads the JSON object on each line of a file, and yields what `read` makes of it; nothing without a file.

    A line that is no such object is a ValueError with the refusal, which has the places {path}, {number} and {error}.
    Without one the lines end before it, or before an unfinished one: a killed process or a loss of power left them.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                if refusal is None and not line.endswith(b"\n"):
                    return
                content = read(_json_object(line, where="the line"))
            except (KeyError, TypeError, ValueError) as error:
                if refusal is None:
                    return
                raise ValueError(refusal.format(path=path, number=number, error=error)) from error
            yield content


def _json_object(text: bytes, *, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected JSON, got {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{where}: expected a JSON object, got {type(content).__name__}")
    return content


def check_folder(folder: Path) -> None:
    """Makes sure that whoever reads and writes below a folder, which may be a link itself, stays in it.

    Raises:
        ValueError: a link leads out of the folder, or something below it is neither a file nor a folder.
    """
    home, rest = os.path.realpath(folder), [os.fspath(folder)]
    while rest:
        with os.scandir(rest.pop()) as items:
            for item in items:
                if item.is_symlink():
                    target = os.path.realpath(item.path)
                    if os.path.commonpath([target, home]) != home:
                        raise ValueError(
                            f"{item.path}: is a link to {target}, outside of {folder}, and is not followed; put a copy "
                            f"of what it leads to in its place, or move all of {folder} elsewhere and make that the "
                            "link"
                        )
                elif item.is_dir():
                    rest.append(item.path)
                elif not item.is_file() and os.path.lexists(item.path):  # Other processes may delete it meanwhile.
                    raise ValueError(f"{item.path}: is a pipe or a device, expected files and folders only")


def one_line(text: str) -> str:
    """A text with words from a file, for a terminal: signs that are not shown are written out."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`name: was X, now Y` for each value in which two mappings differ; None stands for one that is missing."""
    return [f"{key}: was {old.get(key)}, now {new.get(key)}" for key in {**new, **old} if old.get(key) != new.get(key)]
