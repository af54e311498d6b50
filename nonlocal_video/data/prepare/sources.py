"""A data set as people have it (class folders, folders of splits, split files, other lists), and as a run takes it."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from nonlocal_video.data.lists import hmdb51
from nonlocal_video.data.lists.classes import label_finder
from nonlocal_video.data.lists.labels import times_of
from nonlocal_video.data.lists.listing import Folder, read_folder, split_folders
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.types import Entry

ONE = ""
"""The split of a list that comes out alone."""
PATHS = ("root", "train", "train_images", "val", "val_images", "classes")
"""The settings of a data set that are paths."""
_SPLIT = re.compile(r"(?<![a-z])(train|val|test)(?:ing|id|idate|idation)?(?:list)?(?![a-z])")


class FoundLists(NamedTuple):
    """A data set that is to be listed."""

    lists: dict[str, list[Entry]]
    """The videos of train, val and test; or of `ONE` alone."""
    root: Path
    """The folder that the paths start from."""
    classes: list[str] | None
    """Their names in the order of the labels; None if nothing tells them."""
    notes: list[str]
    """Lines on what was found, and what was left."""


def read_folders(folder: Path, *, classes: list[str] | None) -> FoundLists:
    """The videos of FOLDER/CLASS/, or of FOLDER/train/CLASS/ and FOLDER/val/CLASS/ with the same classes.

    Args:
        classes: the names in the order of the labels; the alphabetical order of the class folders if None, and of
            those of the training videos where there are splits.

    Raises:
        ValueError: no videos, folders of no class, or two folders of one split.
    """
    splits = split_folders(folder)
    if len(splits) < 2:
        found = read_folder(folder, classes=classes)
        return FoundLists({ONE: found.entries}, folder, found.classes, [_note(folder, found)])
    lists, notes, expected = dict[str, list[Entry]](), list[str](), "--classes"
    for split, name in _by_split(splits, where=f"{folder}: ").items():
        find = label_finder(classes or ())
        names = sorted(item.name for item in os.scandir(folder / name) if item.is_dir() and item.name[0] != ".")
        unknown = [class_name for class_name in names if find(class_name) is None]
        if classes is not None and unknown:
            raise ValueError(f"{folder / name}: got folders of no class of {expected}: {', '.join(unknown[:3])}")
        found = read_folder(folder / name, classes=classes)
        if classes is None:
            classes, expected = found.classes, f"the folders of {folder / name}"
        lists[split] = [entry._replace(video=os.path.join(name, entry.video)) for entry in found.entries]
        notes.append(_note(folder / name, found))
    others = sorted(item.name for item in os.scandir(folder) if item.is_dir() and item.name not in splits)
    notes += [f"{folder}: other folders, ignored: {', '.join(others)}"] if others else []
    return FoundLists(lists, folder, classes, notes)


def _note(folder: Path, found: Folder) -> str:
    empty = len(found.classes) - len({entry.label for entry in found.entries})
    deeper = {parts[1] for entry in found.entries if len(parts := Path(entry.video).parts) > 2}
    lone = found.classes[0] if len(found.classes) == 1 and len(deeper) > 1 else None
    return (
        f"{folder}: {len(found.entries)} videos of {len(found.classes)} classes"
        + (f" ({found.num_of_frames} of them folders of frames)" if found.num_of_frames else "")
        + (f" ({empty} of them without videos)" if empty else "")
        + (f"; other files, ignored: {found.ignored}" if found.ignored else "")
        + (
            f"\nnote: {lone} is taken for the one class; if its {len(deeper)} folders are the classes, "
            f"name {folder / lone} instead"
            if lone
            else ""
        )
    )


def read_hmdb51(folder: Path, *, root: Path, split: int, classes: list[str] | None) -> FoundLists:
    """The training and testing videos of one of HMDB51's splits; raises what `hmdb51.read_splits` does."""
    lists, names = hmdb51.read_splits(folder, root=root, split=split, classes=classes)
    return FoundLists(lists, root, names, [f"{folder}: split {split} of {len(names)} classes"])


def read_lists(paths: Sequence[Path], *, root: Path, classes: list[str] | None, form: str, joined: bool) -> FoundLists:
    """The videos of lists in any form: joined to one list, or each for the split that its name says.

    Raises:
        ValueError: a bad list, labels outside `classes`, a video in two lists; joined, labels of different kinds; else
            a name that says no split, or a list for training or evaluation without labels.
    """
    num_classes = None if classes is None else len(classes)
    lists = {
        str(path): read_list(str(path), root=str(root), num_classes=num_classes, classes=classes, form=form)
        for path in paths
    }
    if len(lists) < len(paths):
        raise ValueError(f"got {', '.join(map(str, paths))}, expected each list once")
    _check_distinct(lists)
    notes = [
        f"note: {path}: no video has the label 0; if the labels go from 1, as UCF101's, give --classes"
        for path, labels in ((path, [entry.label for entry in entries]) for path, entries in lists.items())
        if classes is None and 1 in labels and 0 not in labels
    ]
    if joined:
        kinds = {type(entry.label) for entries in lists.values() for entry in entries}
        if len(lists) > 1 and len(kinds) > 1:
            raise ValueError(f"{', '.join(lists)}: have labels of different kinds, expected one kind")
        return FoundLists({ONE: [entry for entries in lists.values() for entry in entries]}, root, classes, notes)
    by_split = _by_split(list(lists), where="")
    for split, path in by_split.items():
        if split != "test" and any(entry.label is None for entry in lists[path]):
            expected = "a list with labels, or --classes and every video in the folder of its class"
            raise ValueError(f"{path}: got videos without labels, expected {expected}")
    notes += [f"{path}: {len(lists[path])} videos" for path in by_split.values()]
    return FoundLists({split: lists[path] for split, path in by_split.items()}, root, classes, notes)


def _check_distinct(lists: dict[str, list[Entry]]) -> None:
    """Raises: ValueError: a video is in two lists."""
    before = dict[str, str]()
    for path, entries in lists.items():
        for entry in entries:
            if entry.video in before:
                raise ValueError(f"{path}: got {entry.video}, expected other videos than in {before[entry.video]}")
            before[entry.video] = path


def _by_split(names: Sequence[str], *, where: str) -> dict[str, str]:
    """The names of the lists for train, val and test; a test list is for val where there is no other."""
    found = dict[str, str]()
    for name in names:
        said = split_of(os.path.basename(name))
        if not said:
            expected = "one of train, val and test in its name, or --out FILE.csv to join the lists"
            raise ValueError(f"{where}{name}: got the name of no one split, expected {expected}")
        other = found.setdefault(said, name)
        if other != name:
            raise ValueError(f"{where}got {other} and {name}, expected one for each of train, val and test")
    if "val" not in found and "test" in found:
        found["val"] = found.pop("test")
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def split_of(name: str) -> str:
    """train, val or test, as a name says; empty if it says none of them, or several."""
    said = set(_SPLIT.findall(name.lower()))
    return said.pop() if len(said) == 1 else ""


def name_lists(out: Path, source: FoundLists) -> dict[str, Path]:
    """The lists to write, by their splits; a ValueError if `out` is a file for several lists, or a folder for one."""
    if list(source.lists) == [ONE]:
        if out.is_dir():
            raise ValueError(f"--out: got {out}, a folder, expected a file such as {out / 'train.csv'}")
        return {ONE: out}
    if out.is_file() or out.suffix in (".csv", ".txt"):
        made = ", ".join(f"{split}.csv" for split in source.lists)
        raise ValueError(f"--out: got {out}, a file, expected a folder such as {out.with_suffix('')} for {made}")
    return {split: out / f"{split}.csv" for split in source.lists}


def name_classes(out: Path, source: FoundLists, *, given: str | None) -> Path | None:
    """The file of the classes: beside the lists, or the one that was given if a single list comes out."""
    if list(source.lists) != [ONE]:
        return out / "classes.txt" if source.classes is not None else None
    if given is not None:
        return Path(given)
    return beside(out, "_classes.txt") if source.classes is not None else None


def beside(out: Path, ending: str) -> Path:
    """lists/train.csv -> lists/train_classes.txt, lists/train.csv.missing.txt"""
    return out.with_name((out.stem if ending.startswith("_") else out.name) + ending)


def data_settings(
    source: FoundLists, outs: dict[str, Path], *, root: Path, classes: Path | None
) -> dict[str, str | int]:
    """The settings that tell a run of the data set, by the fields of configs/data/."""
    lists = {split if split != ONE else "train": str(out) for split, out in outs.items() if split != "test"}
    settings: dict[str, str | int] = {"root": str(root), **lists}
    if classes is not None and source.classes is not None:
        settings |= {"classes": str(classes), "num_classes": len(source.classes)}
    labels = [entry.label for part in source.lists.values() for entry in part if entry.label]
    if any(map(times_of, labels)):
        settings |= {"labels": "clip"}
    elif any(isinstance(label, tuple) for label in labels):
        settings |= {"labels": "video", "format": "path_labels"}
    return settings


def format_preset(name: str, settings: Mapping[str, str | int]) -> str:
    """The text of configs/data/local/NAME.yaml, whose paths do for every working directory; needs lists and classes."""
    if not {"train", "val"} <= settings.keys():
        raise ValueError(
            "--name: got one list, expected one for training and one for evaluation (FOLDER/train and FOLDER/val, or "
            "two lists), and a folder as --out; leave --name out for a list alone"
        )
    if not {"classes", "train_images"} & settings.keys():
        raise ValueError("--name: got no names of classes, expected --classes FILE")
    paths = {key: os.path.abspath(value) for key, value in settings.items() if key in PATHS and isinstance(value, str)}
    plain = {key: path.replace("${", r"\${") for key, path in paths.items()}  # Nothing in a path is evaluated.
    values = {"name": name, **settings, **plain}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1_000_000)
    return f"# @package data\n# Made by tools/prepare_data.py; a run takes it with data=local/{name}.\n{text}"
