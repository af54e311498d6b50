"""The lists of Something-Something: classes by their templates, videos by their numbers."""

import csv
import json
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from nonlocal_video.data.lists.classes import label_finder
from nonlocal_video.data.lists.text import open_text
from nonlocal_video.data.lists.videofiles import VideoIndex, with_extension
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
    """The entries with the numbers of their rows; a video is ID.webm anywhere below `root`, or the folder root/ID.

    `classes` are the templates in the order of the labels.
    """
    if root is None:
        raise ValueError(f"{path}: lists of Something-Something tell no paths, expected data.root, their folder")
    with open_text(path, newline="") as file:
        text = file.read()
    rows = _from_json(path, text) if _JSON.match(text) else _from_csv(path, text)
    find = label_finder([_plain(name) for name in classes or ()])
    for row in rows:
        if row.template and find(_plain(row.template)) is None:
            expected = "data.classes, such as labels.json" if classes is None else "one of data.classes"
            raise ValueError(f"{path}: the video {row.id} has the template {row.template!r}, expected {expected}")
    index = VideoIndex(root)
    others = with_extension([os.path.join(root, row.id) for row in rows if index.find(row.id) is None], ".webm")
    entries = list[tuple[int, Entry]]()
    for line, video, template in rows:
        place = index.find(video) or others[os.path.join(root, video)]
        entries.append((line, Entry(video, place, find(_plain(template)) if template else None)))
    return entries


def _from_json(path: str, text: str) -> list[Row]:
    try:
        items: Any = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: begins as JSON, but is none: {error}") from error
    rows = []
    for number, item in enumerate(items, 1):
        values = item if isinstance(item, dict) else {}
        video, template = values.get("id"), values.get("template", "")
        if not isinstance(video, str | int) or not isinstance(template, str):
            expected = '{"id": "78687", "template": "Holding [something] next to [something]"}'
            raise ValueError(f"{path}: item {number} is {str(item)[:200]}, expected one such as {expected}")
        rows.append(Row(number, _checked(str(video), f"{path}: item {number}"), template.strip()))
    return rows


def _from_csv(path: str, text: str) -> list[Row]:
    rows = csv.reader(text.splitlines(), delimiter=";", skipinitialspace=True)
    found = [(rows.line_num, row) for row in rows if any(row)]
    if found and _HEADER.fullmatch(";".join(found[0][1])):
        del found[0]
    for line, row in found:
        if len(row) != 2 or not row[1].strip():
            expected = "an id and a template: '78687;Closing something'"
            raise ValueError(f"{path}:{line}: got {';'.join(row)!r}, expected {expected}")
    return [Row(line, _checked(row[0].strip(), f"{path}:{line}"), row[1].strip()) for line, row in found]


def _checked(video: str, where: str) -> str:
    """The id, which must be the name of a file and no way to another folder."""
    if not _ID.fullmatch(video):
        raise ValueError(f"{where}: got the id {video!r}, expected a number such as 78687")
    return video


def _plain(template: str) -> str:
    return template.replace("[", "").replace("]", "")
