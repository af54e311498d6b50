"""The split files of HMDB51: one for each class and split, whose numbers say train or test and not the class."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from nonlocal_video.data.lists.classes import label_finder
from nonlocal_video.data.lists.text import numbered_lines
from nonlocal_video.data.lists.videofiles import VideoIndex, stem_of
from nonlocal_video.types import Entry

_NAME = re.compile(r"(.+)_test_split([123])\.txt", re.IGNORECASE)
_LINE = re.compile(r"([^/]*[^/.\s][^/]*\.\w+)\s+([012])")
_USES = {"1": "train", "2": "val"}
"""The list that each number stands for; videos with a 0 are not used."""


def is_split_file(path: str) -> bool:
    """Whether a file is CLASS_test_splitN.txt with a video and 0, 1 or 2 on every line."""
    is_called_so = _NAME.fullmatch(os.path.basename(path)) is not None
    return is_called_so and all(_LINE.fullmatch(line) for _, line in numbered_lines(path))


def has_splits(folder: Path) -> bool:
    """Whether a folder holds split files."""
    return any(_NAME.fullmatch(item.name) for item in os.scandir(folder))


def read_splits(
    folder: Path, *, root: Path, split: int, classes: Sequence[str] | None
) -> tuple[dict[str, list[Entry]], list[str]]:
    """The videos of split 1, 2 or 3, as `train` and `val`, in the order of the files, and the names of the classes.

    A video is ROOT/CLASS/NAME, or else a file of its name anywhere below the root. `classes` are the names in the order
    of the labels; alphabetical if None.

    Raises:
        ValueError: no files or no videos of this split, a bad line, or a class that is not among `classes`.
    """
    matches = [match for item in os.scandir(folder) if (match := _NAME.fullmatch(item.name))]
    found = {match[1]: os.path.join(folder, match[0]) for match in matches if match[2] == str(split)}
    if not found:
        raise ValueError(f"{folder}: got no files CLASS_test_split{split}.txt, expected one for each class")
    names = list(classes) if classes is not None else sorted(found)
    index, find = VideoIndex(str(root)), label_finder(names)
    lists: dict[str, list[Entry]] = {"train": [], "val": []}
    for name, path in sorted(found.items()):
        label = find(name)
        if label is None:
            raise ValueError(f"{path}: got the class {name!r}, expected one of --classes")
        for number, line in numbered_lines(path):
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{path}:{number}: got {line!r}, expected a video and 0, 1 or 2: 'a.avi 1'")
            video, use = match.groups()
            if use in _USES:
                place = os.path.join(index.root, name, video)
                if not os.path.isfile(place):
                    place = index.find(stem_of(video), name=name) or place
                lists[_USES[use]].append(Entry(f"{name}/{video}", place, label))
    if not all(lists.values()):
        raise ValueError(f"{folder}: got no videos of split {split} to train or to test on, expected both")
    return lists, names
