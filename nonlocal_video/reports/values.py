"""The values of settings in words: as on the command line to find them, and as tables and legends show them."""

import json
import os
import re
from collections.abc import Iterable
from typing import Any

NOT_SET = "not set"
"""The word for null."""
PARTS = " + "
"""Stands between the elements of a list, which may stand beside commas."""


def spelled(value: Any) -> str:
    """A value as it is given on the command line: `[res3.0,res3.1]`, `null`, `true`, 0.1, dot_product."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return f"[{','.join(map(spelled, value))}]"
    return json.dumps(value, separators=(",", ":"))


def found_in(text: str, values: Iterable[str]) -> str | None:
    """Finds the spelled value that somebody means who wrote quotes, or took it from a table; None if there is none."""

    def plain(value: str) -> str:
        return re.sub(r"""["'\s]""", "", value)

    values = list(values)
    shown = {label: value for value, label in labels(values).items()}
    return text if text in values else shown.get(text) or {plain(v): v for v in values}.get(plain(text))


def labels(values: Iterable[str]) -> dict[str, str]:
    """Spelled values in the words of tables and legends: lists without brackets, of paths the names if these differ."""
    shown = {value: _label(value) for value in values}
    names = {value: os.path.basename(value.rstrip("/")) for value in shown if _is_path(value)}
    others = [label for value, label in shown.items() if value not in names]
    if len({*names.values(), *others}) == len(names) + len(set(others)):
        shown |= names
    return shown


def _label(value: str) -> str:
    if re.fullmatch(r"\[.*\]", value):
        return value[1:-1].replace(",", PARTS) or "none"
    return NOT_SET if value == "null" else value


def _is_path(value: str) -> bool:
    """Whether a value is a file's path; choices such as miniature/nl_c2d are none."""
    return "/" in value and (value.startswith(("/", "./", "../", "~")) or bool(os.path.splitext(value)[1]))


def named_labels(key: str, values: Iterable[str]) -> dict[str, str]:
    """`labels` for places where nothing else names the setting: `seed 0`, `lr not set`, but `motion`."""
    says_nothing = re.compile(r"null|true|false|\[\]|\[?[-+.\d][-+.\deE,]*\]?")
    name = key.rpartition(".")[2]
    return {v: f"{name} {label}" if says_nothing.fullmatch(v) else label for v, label in labels(values).items()}


def shorten(text: str, length: int = 30) -> str:
    """A name for a picture: of a longer one its beginning and its end, around three dots."""
    half = (length - 3) // 2
    return text if len(text) <= length else f"{text[:half]}...{text[-half:]}"


def ordered(values: Iterable[str]) -> list[str]:
    """Each once: numbers by their size, then words by the alphabet, then lists from the shorter to the longer."""

    def key(value: str) -> tuple[int, float, str]:
        try:
            return 0, float(value), value
        except ValueError:
            is_list = value.startswith("[")
            return 1 + is_list, float(value.count(",") if is_list else 0), value

    return sorted(set(values), key=key)
