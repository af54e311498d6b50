"""Labels that the folders of videos prove: UCF101's lists number the classes from 1, or leave them to the folders."""

import os
from collections.abc import Sequence

from nonlocal_video.data.lists.classes import label_finder
from nonlocal_video.types import Entry


def settle_labels(numbered: Sequence[tuple[int, Entry]], classes: Sequence[str]) -> list[tuple[int, Entry]]:
    """The entries, with labels from 0 where every video is listed in a folder with the name of a class.

    Videos without labels get the classes of their folders. Labels that are all one more than these classes go from 1.
    Lists of which one video is listed elsewhere, and all other labels, stay as they are.
    """
    folders = _classes_of_folders([entry for _, entry in numbered], classes)
    labels = [entry.label for _, entry in numbered]
    if None in folders:
        return list(numbered)
    from_one = [None if folder is None else folder + 1 for folder in folders]
    if labels == from_one or all(label is None for label in labels):
        return [(line, entry._replace(label=label)) for (line, entry), label in zip(numbered, folders, strict=True)]
    return list(numbered)


def _classes_of_folders(entries: Sequence[Entry], classes: Sequence[str]) -> list[int | None]:
    """The class that the folder of each video names. Folders of the root, which no list tells, prove nothing."""
    find = label_finder(classes)
    parents = [os.path.dirname(entry.video.rstrip("/")) for entry in entries]
    found = {parent: find(os.path.basename(parent)) for parent in set(parents)}
    return [found[parent] for parent in parents]
