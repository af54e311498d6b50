"""The lists of Something-Something: classes by their templates, videos by their numbers."""

import csv
import json
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from nonlocal_video.data.lists.classes import label_finder
from nonlocal_video.data.lists.text import open_text
from nonlocal_video.data.lists.videofiles import find_videos
from nonlocal_video.types import Entry

_JSON = re.compile(r'\s*\[\s*\{\s*"')
_ROW = re.compile(r'"?\d+"?;(?!.*\.\w)[^;/]*[^\W\d_][^;/]*')
_HEADER = re.compile(r'"?(video_)?id"?;"?(label|template)"?', re.IGNORECASE)
_ID = re.compile(r"\w[\w.-]*")


class Row(NamedTuple):
    """A video of a list."""

    line: int
    id: str
    template: str
    """`Holding [something] next to [something]`, with or without brackets; empty in lists of test videos."""


def is_something(head: str) -> bool:
    """Whether a list that begins so is the JSON of version 2, or has rows `id;template`, as those of version 1."""
    first = head.partition("\n")[0].strip()
    return bool(_JSON.match(head) or _HEADER.fullmatch(first) or _ROW.fullmatch(first))


def read_something(path: str, *, root: str | None, classes: Sequence[str] | None) -> list[tuple[int, Entry]]:
    """The entries with the numbers of their rows.

    A video is ID.webm, wherever below `root`, or the folder of frames root/ID.

    Args:
        classes: the templates in the order of the labels.

    Raises:
        ValueError: no root, no classes, a bad row, or a template that no class has.
    """
    if root is None:
        raise ValueError(f"{path}: lists of Something-Something tell no paths, expected data.root, their folder")
    with open_text(path, newline="") as file:
        text = file.read()
    rows = _from_json(path, text) if _JSON.match(text) else _from_csv(path, text)
    labels = _labels(path, rows, classes)
    paths = _find(root, [row.id for row in rows])
    return [
        (row.line, Entry(row.id, found, labels[row.template] if row.template else None))
        for row, found in zip(rows, paths, strict=True)
    ]


def _from_json(path: str, text: str) -> list[Row]:
    try:
        items: Any = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: begins as JSON, but is none: {error}") from error
    return [_row(path, number, item) for number, item in enumerate(items, 1)]


def _row(path: str, number: int, item: object) -> Row:
    values = item if isinstance(item, dict) else {}
    video, template = values.get("id"), values.get("template", "")
    if not isinstance(video, str | int) or not isinstance(template, str):
        expected = '{"id": "78687", "template": "Holding [something] next to [something]"}'
        raise ValueError(f"{path}: item {number} is {str(item)[:200]}, expected one such as {expected}")
    return Row(number, _checked(str(video), f"{path}: item {number}"), template.strip())


def _from_csv(path: str, text: str) -> list[Row]:
    rows = csv.reader(text.splitlines(), delimiter=";", skipinitialspace=True)
    found = [(rows.line_num, row) for row in rows if any(row)]
    if found and _HEADER.fullmatch(";".join(found[0][1])):
        del found[0]
    for line, row in found:
        if len(row) != 2 or not row[1].strip():
            raise ValueError(
                f"{path}:{line}: got {';'.join(row)!r}, expected an id and a template: '78687;Closing something'"
            )
    return [Row(line, _checked(row[0].strip(), f"{path}:{line}"), row[1].strip()) for line, row in found]


def _checked(video: str, where: str) -> str:
    """The id, which must be the name of a file and no way to another folder."""
    if not _ID.fullmatch(video):
        raise ValueError(f"{where}: got the id {video!r}, expected a number such as 78687")
    return video


def _labels(path: str, rows: Iterable[Row], classes: Sequence[str] | None) -> dict[str, int]:
    """The label of each template in the list, with and without brackets."""
    find = label_finder([_plain(name) for name in classes or ()])
    labels = dict[str, int]()
    for row in rows:
        if not row.template or row.template in labels:
            continue
        label = find(_plain(row.template))
        if label is None:
            expected = "data.classes, such as labels.json" if classes is None else "one of data.classes"
            raise ValueError(f"{path}: the video {row.id} has the template {row.template!r}, expected {expected}")
        labels[row.template] = label
    return labels


def _plain(template: str) -> str:
    return template.replace("[", "").replace("]", "")


def _find(root: str, ids: Sequence[str]) -> list[str]:
    """The file or the folder of frames of each id; where there is neither, the path it would have."""
    files = find_videos(root)
    found = [files.find(video, split="", name="") for video in ids]
    with ThreadPoolExecutor(16) as pool:  # On a network disk many questions wait together.
        folders = [os.path.join(root, video) for video in ids]
        are_folders = pool.map(lambda path, folder: path is None and os.path.isdir(folder), found, folders)
        return [
            path or (folder if is_folder else f"{folder}.webm")
            for path, folder, is_folder in zip(found, folders, are_folders, strict=True)
        ]
