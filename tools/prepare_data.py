"""Makes our list of a folder of videos or of another list, and small copies of the videos.

python tools/prepare_data.py FOLDER --out lists/train.csv
python tools/prepare_data.py kinetics400_val.csv --root /data/k400 --out lists/val.csv --resize /data/k400_256
python tools/prepare_data.py Charades_v1_train.csv Charades_v1_test.csv --root /data/charades --out trainval.csv
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from nonlocal_video.data.encode import Encoding
from nonlocal_video.data.lists.classes import read_classes
from nonlocal_video.data.lists.listing import check_listable, format_list, listed_names, read_folder
from nonlocal_video.data.lists.manifest import FORMATS, read_list
from nonlocal_video.data.resize import plan_targets, resize
from nonlocal_video.data.workers import num_cpus
from nonlocal_video.files import whole_file
from nonlocal_video.types import Entry, TimedLabel


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Makes our list (path and label) of a folder of videos, or of an official CSV or any other list, "
        "and small copies of the videos that decode fast. The originals are only read.",
    )
    whole = Encoding()
    add = parser.add_argument
    add("sources", type=Path, nargs="+", metavar="SOURCE", help="a folder FOLDER/CLASS/video.mp4, or lists of videos")
    add("--out", type=Path, required=True, help="the list to write, say lists/train.csv")
    add("--root", type=Path, help="if SOURCE is a list: the folder that its paths start from, or that holds the videos")
    add("--format", choices=FORMATS, default="auto", help="if SOURCE is a list: its form, should it not tell")
    add("--classes", help="class names, one a line in the order of the labels (a folder's default: alphabetical)")
    add("--force", action="store_true", help="replace a list that is there and says something else")
    add("--drop-missing", action="store_true", help="leave videos that are not there out of the list")
    group = parser.add_argument_group("small copies (H.264, without sound, the same frames at the same times)")
    add = group.add_argument
    add("--resize", type=Path, metavar="FOLDER", help="re-encode into this folder; the list is then relative to it")
    add("--short-side", type=int, default=whole.short_side, help="pixels; smaller videos stay so (%(default)s)")
    add("--gop", type=int, default=whole.gop, help="frames between key frames, at most (%(default)s)")
    add("--crf", type=int, default=whole.crf, help="quality, 0 to 51, lower is better (%(default)s)")
    add("--jobs", type=int, default=num_cpus(), help="videos at a time (%(default)s, the CPUs)")
    add("--time-limit", type=float, default=600, help="seconds after which a video is given up (%(default)s)")
    arguments = parser.parse_args()
    if arguments.short_side < 2 or arguments.short_side % 2:
        parser.error(f"--short-side: got {arguments.short_side}, expected an even number of pixels")
    if not 0 <= arguments.crf <= 51:
        parser.error(f"--crf: got {arguments.crf}, expected 0 to 51")
    if min(arguments.gop, arguments.jobs, arguments.time_limit) <= 0:
        parser.error("--gop, --jobs and --time-limit: expected more than 0")
    return arguments


class Source(NamedTuple):
    """What is to be listed."""

    entries: list[Entry]
    root: Path
    classes: list[str] | None
    """To be written beside the list."""


def read_source(arguments: argparse.Namespace) -> Source:
    source, root = arguments.sources[0], arguments.root
    classes = read_classes(arguments.classes, num_classes=None) if arguments.classes else None
    if not source.is_dir():
        if root is None:
            raise ValueError(f"--root: {source} is a list, so name the folder that its paths start from")
        lists = [
            read_list(str(path), root=str(root), num_classes=None, classes=classes, form=arguments.format)
            for path in arguments.sources
        ]
        check_joinable(arguments.sources, lists)
        return Source([entry for entries in lists for entry in entries], root, None)
    if len(arguments.sources) > 1:
        raise ValueError(f"got {source} and {arguments.sources[1]}, expected one folder, or lists only")
    if root is not None:
        raise ValueError(f"--root: got {root}, but {source} is a folder, and the paths start from it")
    found = read_folder(source, classes=classes)
    empty = len(found.classes) - len({entry.label for entry in found.entries})
    print(
        f"{source}: {len(found.entries)} videos of {len(found.classes)} classes"
        + (f" ({empty} of them without videos)" if empty else "")
        + (f"; other files, ignored: {found.ignored}" if found.ignored else "")
    )
    return Source(found.entries, source, None if classes else found.classes)


def main() -> None:
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        num_failed = prepare(arguments)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    sys.exit(1 if num_failed else 0)


def prepare(arguments: argparse.Namespace) -> int:
    """Everything in order; returns the number of videos that could not be re-encoded."""
    entries, root, classes = read_source(arguments)
    check_listable(entries)
    missing = find_missing(entries, folders=not arguments.resize)
    absent = set(missing) if arguments.drop_missing else set()
    listed = [entry for entry in entries if entry.video not in absent]
    if arguments.resize:
        names = plan_targets([entry.path for entry in listed], root=root)
    else:
        names = listed_names(listed, root=root)
    texts = {arguments.out: format_list(names, listed)}
    if classes is not None:
        texts[beside(arguments.out, "_classes.txt")] = "".join(f"{name}\n" for name in classes)
    check_free(texts, sources=arguments.sources, force=arguments.force)

    failed: dict[str, str] = {}
    if arguments.resize:
        failed = make_copies(arguments, listed, names, root=root, missing=set(missing))
    for path, text in texts.items():
        write(path, text)
    print(f"written: {', '.join(str(path) for path in texts)} ({len(listed)} videos)")
    report(arguments.out, ".missing.txt", missing, f"missing: {len(missing)} of {len(entries)} videos")
    report(
        arguments.out, ".failed.txt", [" ".join(cause.split()) for cause in failed.values()],
        f"failed: {len(failed)} could not be re-encoded and stay in the list (missing); the same command tries again",
    )  # fmt: skip
    tell_next(arguments, listed, root, num_classes=None if classes is None else len(classes))
    return len(failed)


def check_joinable(sources: Sequence[Path], lists: Sequence[Sequence[Entry]]) -> None:
    """Fails if several lists do not make one.

    Raises:
        ValueError: a video is in two of them, or some have labels with times and others do not.
    """
    before = dict[str, Path]()
    for source, entries in zip(sources, lists, strict=True):
        for entry in entries:
            if entry.video in before:
                raise ValueError(f"{source}: got {entry.video}, expected other videos than in {before[entry.video]}")
            before[entry.video] = source
    kinds = {type(entry.label) for entries in lists for entry in entries}
    if len(lists) > 1 and len(kinds) > 1:
        raise ValueError(f"{', '.join(map(str, sources))}: have labels of different kinds, expected one kind")


def find_missing(entries: Sequence[Entry], *, folders: bool) -> list[str]:
    """The videos of which there is no regular file, nor a folder of frames if these will do."""

    def is_there(path: str) -> bool:
        return os.path.isfile(path) or (folders and os.path.isdir(path))

    with ThreadPoolExecutor(16) as pool:  # On a network disk many questions wait together.
        there = list(pool.map(is_there, [entry.path for entry in entries]))
    missing = [entry.video for entry, here in zip(entries, there, strict=True) if not here]
    if len(missing) == len(entries):
        raise ValueError(f"none of the {len(entries)} videos is there (say {entries[0].path}): check --root")
    return missing


def beside(out: Path, ending: str) -> Path:
    """lists/train.csv -> lists/train_classes.txt, lists/train.csv.missing.txt"""
    return out.with_name((out.stem if ending.startswith("_") else out.name) + ending)


def check_free(texts: dict[Path, str], *, sources: Sequence[Path], force: bool) -> None:
    """Fails if a file that is to be written is there and says something else."""
    for path, text in texts.items():
        if path.exists() and any(source.exists() and path.samefile(source) for source in sources):
            raise ValueError(f"--out: got {path}, the source itself, expected another file")
        if path.is_dir():
            raise ValueError(f"--out: got {path}, a folder, expected a file such as {path / 'train.csv'}")
        if path.exists() and not force and path.read_bytes() != encode(text):
            raise ValueError(f"{path} is there and says something else: take another --out, or --force to replace it")


def make_copies(
    arguments: argparse.Namespace, entries: Sequence[Entry], names: Sequence[str], *, root: Path, missing: set[str]
) -> dict[str, str]:
    """Re-encodes what is not there yet; returns the causes of failures by video."""
    folder = arguments.resize.absolute()
    jobs = {
        os.path.join(folder, name): os.path.abspath(entry.path)
        for name, entry in zip(names, entries, strict=True)
        if entry.video not in missing
    }
    encoding = Encoding(arguments.short_side, arguments.gop, arguments.crf)
    how = ", ".join(f"{name} {value}" for name, value in encoding._asdict().items())
    print(f"re-encoding into {folder}: {how}; {arguments.jobs} at a time")
    done = resize(jobs, encoding, root=root, folder=folder, processes=arguments.jobs, time_limit_s=arguments.time_limit)
    print(f"{folder}: videos made: {done.num_made}, there before: {done.num_kept}, failed: {len(done.failed)}")
    if done.retimed:
        shown = ", ".join(done.retimed[:3]) + (", ..." if len(done.retimed) > 3 else "")
        print(f"note: without usable frame times, so given a constant rate: {len(done.retimed)} videos, {shown}")
    return done.failed


def report(out: Path, ending: str, lines: Sequence[str], what: str) -> None:
    """Names what went wrong in a file beside the list; removes that of an earlier run if nothing did."""
    path = beside(out, ending)
    if not lines:
        path.unlink(missing_ok=True)
        return
    write(path, "".join(f"{line}\n" for line in lines))
    print(f"{what} ({path})")
    print("".join(f"  {line}\n" for line in lines[:3]) + ("  ...\n" if len(lines) > 3 else ""), end="")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(encode(text))


def tell_next(arguments: argparse.Namespace, entries: Sequence[Entry], root: Path, *, num_classes: int | None) -> None:
    settings = [f"data.root={arguments.resize or root}", f"data.train={arguments.out} (or data.val=...)"]
    labels = [label for entry in entries if isinstance(entry.label, tuple) for label in entry.label]
    if labels:
        timed = isinstance(labels[0], TimedLabel)
        settings += ["data.labels=clip"] if timed else ["data.labels=video", "data.format=path_labels"]
    if num_classes is not None:
        classes = beside(arguments.out, "_classes.txt")
        print(f"labels are in the alphabetical order of the folders; for another split give --classes {classes}")
        settings.append(f"data.classes={classes} data.num_classes={num_classes}")
    print(f"to use it: {' '.join(settings)}")


if __name__ == "__main__":
    main()
