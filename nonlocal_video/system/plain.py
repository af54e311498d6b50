"""Files of other people are plain data: nothing in them is run or looked up, and no link leads out of their folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 100_000
"""Of settings in YAML: those of a run are 4,000."""
MAX_DEPTH = 20
"""How deep lists and mappings may lie in one another: those of a run lie 4 deep."""


def read_yaml(path: Path) -> Any:
    """The content of a YAML file of text, numbers, lists and mappings.

    Raises:
        ValueError: no such YAML; or it holds what is no plain value: a tag, which names what to build; an alias, which
            lets few lines stand for many; or an interpolation, which asks for something elsewhere.
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
        tag, text = getattr(event, "tag", None), getattr(event, "value", "")
        problem = None
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
    """The content of a JSON file that holds an object.

    Raises:
        ValueError: it does not.
    """
    return json_object(path.read_bytes(), where=str(path))


def json_object(text: str | bytes, *, where: str) -> dict[str, Any]:
    """The JSON object that a text is.

    Raises:
        ValueError: it is none.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected JSON, got {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{where}: expected a JSON object, got {type(content).__name__}")
    return content


def check_folder(folder: Path) -> None:
    """Makes sure that whoever reads and writes below a folder stays in it. The folder itself may be a link.

    Raises:
        ValueError: a link in it leads out of it, or something in it is neither a file nor a folder.
    """
    home, rest = os.path.realpath(folder), [os.fspath(folder)]
    while rest:
        with os.scandir(rest.pop()) as items:
            for item in items:
                if item.is_symlink():
                    _check_link(item.path, home, folder)
                elif item.is_dir():
                    rest.append(item.path)
                elif not item.is_file() and os.path.lexists(item.path):  # Others may come and go meanwhile.
                    raise ValueError(f"{item.path}: is a pipe or a device, expected files and folders only")


def _check_link(path: str, home: str, folder: Path) -> None:
    target = os.path.realpath(path)
    if os.path.commonpath([target, home]) != home:
        raise ValueError(
            f"{path}: is a link to {target}, outside of {folder}, and is not followed; put a copy of what it leads "
            f"to in its place, or move all of {folder} elsewhere and make that the link"
        )


def one_line(text: str) -> str:
    """A text with words from a file, for a terminal: signs that are not shown are written out."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`name: was X, now Y` for each value in which two mappings differ; None stands for one that is missing."""
    return [f"{key}: was {old.get(key)}, now {new.get(key)}" for key in {**new, **old} if old.get(key) != new.get(key)]
