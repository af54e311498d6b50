"""The split files of HMDB51: one for each class and split, whose numbers say train or test and not the class."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nonlocal_video.data.lists.classes import label_finder
from nonlocal_video.data.lists.text import open_text
from nonlocal_video.data.lists.videofiles import index_videos, stem_of
from nonlocal_video.types import Entry

_NAME = re.compile(r"(.+)_test_split([123])\.txt", re.IGNORECASE)
_LINE = re.compile(r"([^/]*[^/.\s][^/]*\.\w+)\s+([012])")
_UNUSED, _TRAIN = "0", "1"
"""The numbers of videos; the third, 2, says that a video is to test on."""


class Splits(NamedTuple):
    """One of the three splits."""

    train: list[Entry]
    test: list[Entry]
    classes: list[str]


def is_split_file(path: str) -> bool:
    """Whether a file is CLASS_test_splitN.txt with a video and 0, 1 or 2 on every line."""
    if not _NAME.fullmatch(os.path.basename(path)):
        return False
    with open_text(path) as file:
        return all(_LINE.fullmatch(line.strip()) for line in file if line.strip())


def has_splits(folder: Path) -> bool:
    """Whether a folder holds split files."""
    return any(_NAME.fullmatch(item.name) for item in os.scandir(folder))


def read_splits(folder: Path, *, root: Path, split: int, classes: Sequence[str] | None) -> Splits:
    """The videos of one split, by class and in the order of the files.

    A video is ROOT/CLASS/NAME, or else a file of its name anywhere below the root.

    Args:
        split: 1, 2 or 3.
        classes: the names in the order of the labels; the alphabetical order if None.

    Raises:
        ValueError: no files or no videos of this split, a bad line, or a class that is not among `classes`.
    """
    matches = [match for item in os.scandir(folder) if (match := _NAME.fullmatch(item.name))]
    found = {match[1]: os.path.join(folder, match[0]) for match in matches if match[2] == str(split)}
    if not found:
        raise ValueError(f"{folder}: got no files CLASS_test_split{split}.txt, expected one for each class")
    names = list(classes) if classes is not None else sorted(found)
    index, find = index_videos(str(root)), label_finder(names)
    splits = Splits([], [], names)
    for name, path in sorted(found.items()):
        label = find(name)
        if label is None:
            raise ValueError(f"{path}: got the class {name!r}, expected one of --classes")
        for video, use in _lines(path):
            if use != _UNUSED:
                place = os.path.join(index.root, name, video)
                if not os.path.isfile(place):
                    place = index.find(stem_of(video), name=name) or place
                (splits.train if use == _TRAIN else splits.test).append(Entry(f"{name}/{video}", place, label))
    if not splits.train or not splits.test:
        raise ValueError(f"{folder}: got no videos of split {split} to train or to test on, expected both")
    return splits


def _lines(path: str) -> list[tuple[str, str]]:
    """The names of the videos, which may hold spaces and other signs, and what they are for."""
    found = []
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise ValueError(f"{path}:{number}: got {line.strip()!r}, expected a video and 0, 1 or 2: 'a.avi 1'")
            found.append((match[1], match[2]))
    return found
