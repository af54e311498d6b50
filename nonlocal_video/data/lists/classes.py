"""Names of classes: the files that list them, and the labels that folders with these names prove."""

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from runpy import run_path
from typing import Any

from nonlocal_video.data.lists.labels import numbers_of
from nonlocal_video.data.lists.text import open_text
from nonlocal_video.types import Entry

_TORCHVISION = Path(str(find_spec("torchvision").origin)).parent  # type: ignore[union-attr]
KINETICS400: tuple[str, ...] = tuple(run_path(str(_TORCHVISION / "models/_meta.py"))["_KINETICS400_CATEGORIES"])
"""The names in the order of the labels of PySlowFast, mmaction2, torchvision and the released code. They are read from
torchvision's file alone: all of torchvision takes seconds to import."""

_IDS = {"id", "index", "idx", "label", "class_id", "class_index", "class_idx", "label_id", "category_id", "number"}
_NAMES = {"name", "class", "classname", "class_name", "label_name", "label", "category", "action", "display_name"}
_LEADING = re.compile(r"(?P<id>\d+)(?P<between>\s*[,;\t:]\s*|\s+)(?P<name>\S.*)")
_CHARADES = re.compile(r"c(?P<id>\d{3})(?P<between>)\s+(?P<name>\S.*)")
_ENDING = re.compile(r"(?P<name>.*\S)(?P<between>\s*[,;\t]\s*|\s+)(?P<id>\d+)")


def read_classes(path: str, *, num_classes: int | None = None) -> list[str]:
    """Class names in the order of the labels, from any of the published forms.

    One name a line; a name and its id on each line, in either order, with or without a header; Charades' `c000 name`;
    a JSON list, {name: id} or {id: name}. Numbers are taken for ids only where every line has one.

    Raises:
        ValueError: no such file, ids other than 0 to K - 1 or 1 to K, a name twice, or not `num_classes` names.
    """
    if not os.path.isfile(path):
        raise ValueError(f"data.classes: {path}: no such file")
    try:
        with open_text(path, errors="strict") as file:
            text = file.read().strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"data.classes: {path}: expected text in UTF-8, got {error}") from error
    names = _from_json(text, path) if text.startswith(("{", "[")) else _from_lines(text, path)
    if num_classes is not None and len(names) != num_classes:
        raise ValueError(f"data.classes: {path} has {len(names)} names, expected data.num_classes={num_classes}")
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"data.classes: {path} has the name {name!r} {count} times")
    return names


def _from_json(text: str, path: str) -> list[str]:
    expected = f"data.classes: {path}: expected a JSON list of names, {{name: id}} or {{id: name}}"
    try:  # Pairs, since a dictionary would drop a name that is there twice.
        content: Any = json.loads(text, object_pairs_hook=tuple)
    except json.JSONDecodeError as error:
        raise ValueError(f"{expected}, got no JSON: {error}") from error
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return [_unquoted(name) for name in content]
    pairs = list(content)
    if isinstance(content, tuple) and not all(_is_id(value) for _, value in pairs):
        pairs = [(name, number) for number, name in pairs]
    if isinstance(content, list) or not all(_is_id(number) and isinstance(name, str) for name, number in pairs):
        raise ValueError(expected)
    return _ordered([int(number) for _, number in pairs], [name for name, _ in pairs], path)


def _is_id(value: object) -> bool:
    return type(value) is int or (isinstance(value, str) and re.fullmatch(r"\d+", value) is not None)


def _from_lines(text: str, path: str) -> list[str]:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        return []
    if charades := _column(lines, _CHARADES):  # Charades' lists have these ids themselves, so they go from 0.
        return _ordered(*charades, path, first=(0,))
    headed = _headed(lines)
    columns = [headed] if headed else [found for pattern in (_LEADING, _ENDING) if (found := _column(lines, pattern))]
    columns.sort(key=lambda column: _first_id(column[0]))
    if len(columns) == 2 and _first_id(columns[0][0]) == _first_id(columns[1][0]) < 2:
        raise ValueError(f"data.classes: {path}: ids before and behind the names, expected one of them; write id,name")
    return _ordered(*columns[0], path) if columns else [_unquoted(line) for line in lines]


def _headed(lines: Sequence[str]) -> tuple[list[int], list[str]] | None:
    """The ids and names under a header such as `id,name`; None if the first line is no header."""
    for delimiter in (",", "\t", ";", " "):
        header, *rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        words = [word.strip().lower() for word in header]
        for ids, names in permutations(range(len(words)), 2):
            if words[ids] in _IDS and words[names] in _NAMES:
                table = rows
                if delimiter == " " and len(words) == 2:  # Names have spaces: all but the id is the name.
                    cut = 1 if ids == 0 else -1
                    table = [[" ".join(row[:cut]), " ".join(row[cut:])] for row in rows]
                long = min(map(len, table), default=0) > max(ids, names)
                if long and all(row[ids].strip().isdecimal() for row in table):
                    return [int(row[ids]) for row in table], [row[names] for row in table]
    return None


def _column(lines: Sequence[str], pattern: re.Pattern[str]) -> tuple[list[int], list[str]] | None:
    """The ids and names of lines that all have both; None where the numbers may be words of the names."""
    found = [match for line in lines if (match := pattern.fullmatch(line))]
    if len(found) < len(lines):
        return None
    ids, names = [int(match["id"]) for match in found], [match["name"] for match in found]
    if any(match["between"].isspace() for match in found):
        few_usual = _first_id(ids) == 2 and len(set(ids) & set(range(len(ids)))) <= len(ids) / 2
        if few_usual or len(set(names)) < len(names):  # Such as `class 0`, `class 1`.
            return None
    return ids, names


def _first_id(ids: Sequence[int]) -> int:
    """0 or 1 if the ids are all numbers from there on; else 2."""
    return next((first for first in (0, 1) if sorted(ids) == list(range(first, first + len(ids)))), 2)


def _ordered(ids: Sequence[int], names: Sequence[str], path: str, *, first: Sequence[int] = (0, 1)) -> list[str]:
    """The names in the order of their ids, which must be all from 0, or from 1 as in UCF101's classInd.txt."""
    counts = Counter(ids)
    for number in sorted(counts):
        if counts[number] > 1:
            both = ", ".join(repr(name) for i, name in zip(ids, names, strict=True) if i == number)
            raise ValueError(f"data.classes: {path}: the id {number} is there {counts[number]} times ({both})")
    if _first_id(ids) not in first:
        missing = next(number for number in range(len(ids)) if number not in counts)
        raise ValueError(
            f"data.classes: {path}: the id {missing} is missing; {len(ids)} names have ids from {min(ids)} to "
            f"{max(ids)}, expected {' or '.join(f'{number} to {number + len(ids) - 1}' for number in first)}"
        )
    return [_unquoted(name) for _, name in sorted(zip(ids, names, strict=True))]


def _unquoted(name: str) -> str:
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        return name[1:-1].replace('""', '"').strip()
    return name


@lru_cache(maxsize=4096)
def normalised(name: str) -> str:
    """The letters and digits that all spellings share: `petting animal (not cat)`, `petting_animal_-not_cat-`."""
    return "".join(character for character in name.casefold() if character.isalnum())


def _similar(classes: Sequence[str]) -> dict[str, int]:
    """The label of each normalised name; names that only their punctuation tells apart are left out."""
    counts = Counter(map(normalised, classes))
    return {key: label for label, name in enumerate(classes) if counts[key := normalised(name)] == 1 and key}


def label_finder(classes: Sequence[str]) -> Callable[[str], int | None]:
    """A function from a name to the label of the class that is spelt so, or else of the one that is spelt alike."""
    exact, similar = {name: label for label, name in enumerate(classes)}, _similar(classes)
    return lambda name: exact.get(name, similar.get(normalised(name)))


def _labels_of_folders(paths: Sequence[str], find: Callable[[str], int | None]) -> list[int | None]:
    """The class that the folder of each video names."""
    parents = [os.path.dirname(path.rstrip("/")) for path in paths]
    found = {parent: find(os.path.basename(parent)) for parent in set(parents)}
    return [found[parent] for parent in parents]


def settle_labels(numbered: Sequence[tuple[int, Entry]], classes: Sequence[str]) -> list[tuple[int, Entry]]:
    """The entries, with labels from 0 where every video is listed in a folder with the name of a class.

    Videos without labels get the classes of their folders; labels that are all one more than these go from 1, as in
    UCF101. Other labels, and lists of which one video is elsewhere, stay as they are. The root's name proves nothing.
    """
    folders = _labels_of_folders([entry.video for _, entry in numbered], label_finder(classes))
    labels = [entry.label for _, entry in numbered]
    from_one = [None if folder is None else folder + 1 for folder in folders]
    if None in folders or (labels != from_one and any(label is not None for label in labels)):
        return list(numbered)
    return [(line, entry._replace(label=label)) for (line, entry), label in zip(numbered, folders, strict=True)]


def misplaced(entries: Sequence[Entry], classes: Sequence[str]) -> tuple[list[tuple[Entry, int]], int]:
    """The videos below the folder of a class with another label, and its label; how many are below any such folder."""
    similar = _similar(classes)
    folders = _labels_of_folders([entry.path for entry in entries], lambda name: similar.get(normalised(name)))
    pairs = zip(entries, folders, strict=True)
    checked = [(entry, label) for entry, label in pairs if label is not None and entry.label is not None]
    return [(entry, label) for entry, label in checked if label not in numbers_of(entry.label)], len(checked)


def check_label_order(entries: Sequence[Entry], classes: Sequence[str]) -> None:
    """Raises ValueError for labels that number the classes in another order than `classes`.

    Either these are the names of Kinetics-400 in another order than everyone's, or a video below the folder of a class
    has the label of another one; folders that bear no name of a class say nothing.
    """
    keys, usual = [normalised(name) for name in classes], [normalised(name) for name in KINETICS400]
    if keys != usual and sorted(keys) == sorted(usual):
        label = next(i for i in range(len(usual)) if keys[i] != usual[i])
        raise ValueError(
            f"data.classes: the names are those of Kinetics-400 in another order: {label} is {classes[label]!r}, "
            f"expected {KINETICS400[label]!r}, as in every published list and weight file (alphabetical)"
        )
    wrong, checked = misplaced(entries, classes)
    if wrong:
        raise ValueError(_other_order(wrong, checked, classes))


def _other_order(wrong: Sequence[tuple[Entry, int]], checked: int, classes: Sequence[str]) -> str:
    entry, label = wrong[0]
    shifts = {entry.label - label if isinstance(entry.label, int) else None for entry, label in wrong}
    hint = "check that data.classes has the names in the order of the list's labels"
    if len(shifts) == 1 and None not in shifts and 1 < checked == len(wrong):
        hint = f"all labels are shifted by {shifts.pop():+d}"
    got = f"{entry.label}"
    if isinstance(entry.label, int) and 0 <= entry.label < len(classes):
        got = f"{entry.label} ({classes[entry.label]!r})"
    return (
        f"{len(wrong)} of {checked} videos below a folder with the name of a class have the label of another: "
        f"{entry.video} has {got}, expected {label} ({classes[label]!r}); {hint}"
    )
