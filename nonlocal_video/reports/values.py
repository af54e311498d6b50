"""The values of settings in words: as on the command line to find them, and as tables and legends show them."""

import json
import os
import re
from collections.abc import Iterable
from typing import Any

NOT_SET = "not set"
"""What null is shown as."""
PARTS = " + "
"""Between the elements of a list, which may stand beside commas."""


def spelled(value: Any) -> str:
    """As it is given on the command line: `[res3.0,res3.1]`, `null`, `true`, 0.1, dot_product."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return f"[{','.join(map(spelled, value))}]"
    return json.dumps(value, separators=(",", ":"))


def found_in(text: str, values: Iterable[str]) -> str | None:
    """Which of these spelled values somebody means who wrote quotes, or took it from a table; None if there is none."""
    values = list(dict.fromkeys(values))
    shown = {label: value for value, label in labels(values).items()}
    plain = {_plain(value): value for value in values}
    return text if text in values else shown.get(text) or plain.get(_plain(text))


def _plain(text: str) -> str:
    return re.sub(r"""["'\s]""", "", text)


def labels(values: Iterable[str]) -> dict[str, str]:
    """What tables and legends show for spelled values: lists without brackets, of paths the names if these differ."""
    shown = {value: _label(value) for value in values}
    names = {value: os.path.basename(value.rstrip("/")) for value in shown if _is_path(value)}
    others = [label for value, label in shown.items() if value not in names]
    if len({*names.values(), *others}) == len(names) + len(set(others)):
        shown |= names
    return shown


def named_labels(key: str, values: Iterable[str]) -> dict[str, str]:
    """The same where nothing else says which setting they are of: `seed 0`, but `motion`."""
    name = key.rpartition(".")[2]
    return {value: f"{name} {label}" if _says_nothing(value) else label for value, label in labels(values).items()}


def _says_nothing(value: str) -> bool:
    """Whether a value alone does not tell what it is of: numbers, yes and no, nothing."""
    return value in ("null", "true", "false", "[]") or re.fullmatch(r"\[?[-+.\d][-+.\deE,]*\]?", value) is not None


def _is_path(value: str) -> bool:
    """Whether a value is a file's path; choices such as miniature/nl_c2d are none."""
    return "/" in value and (value.startswith(("/", "./", "../", "~")) or bool(os.path.splitext(value)[1]))


def _label(value: str) -> str:
    if value == "null":
        return NOT_SET
    if re.fullmatch(r"\[.*\]", value):
        return value[1:-1].replace(",", PARTS) or "none"
    return value


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
