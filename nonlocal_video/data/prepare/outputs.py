"""The files that are written of a data set: lists, classes, and settings that a run takes by their name."""

import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from nonlocal_video.data.lists.labels import times_of
from nonlocal_video.data.prepare.sources import ONE, Source


def name_lists(out: Path, source: Source) -> dict[str, Path]:
    """The lists to write, by their splits; a ValueError if `out` is a file for several lists, or a folder for one."""
    if list(source.lists) == [ONE]:
        if out.is_dir():
            raise ValueError(f"--out: got {out}, a folder, expected a file such as {out / 'train.csv'}")
        return {ONE: out}
    if out.is_file() or out.suffix in (".csv", ".txt"):
        made = ", ".join(f"{split}.csv" for split in source.lists)
        raise ValueError(f"--out: got {out}, a file, expected a folder such as {out.with_suffix('')} for {made}")
    return {split: out / f"{split}.csv" for split in source.lists}


def name_classes(out: Path, source: Source, *, given: str | None) -> Path | None:
    """The file of the classes: beside the lists, or the one that was given if a single list comes out."""
    if list(source.lists) != [ONE]:
        return out / "classes.txt" if source.classes is not None else None
    if given is not None:
        return Path(given)
    return beside(out, "_classes.txt") if source.classes is not None else None


def beside(out: Path, ending: str) -> Path:
    """lists/train.csv -> lists/train_classes.txt, lists/train.csv.missing.txt"""
    return out.with_name((out.stem if ending.startswith("_") else out.name) + ending)


def data_settings(source: Source, outs: dict[str, Path], *, root: Path, classes: Path | None) -> dict[str, str | int]:
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
            "--name: got one list, expected one for training and one for evaluation, and a folder as --out"
        )
    if "classes" not in settings:
        raise ValueError("--name: got no names of classes, expected --classes FILE")
    paths = {key: os.path.abspath(str(settings[key])) for key in ("root", "train", "val", "classes")}
    plain = {key: path.replace("${", r"\${") for key, path in paths.items()}  # Nothing in a path is evaluated.
    values = {"name": name, **settings, **plain}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1_000_000)
    return f"# @package data\n# Made by tools/prepare_data.py; a run takes it with data=local/{name}.\n{text}"
