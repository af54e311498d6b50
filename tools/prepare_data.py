"""Makes our lists of a folder of videos or of other lists, a file of settings, and small copies of the videos.

python tools/prepare_data.py FOLDER --out lists/train.csv
python tools/prepare_data.py FOLDER_OF_TRAIN_AND_VAL --out lists/mine --name mine
python tools/prepare_data.py FOLDER_OF_IMAGES_AND_COCO_JSON --name mine
python tools/prepare_data.py kinetics400_val.csv --root /data/k400 --out lists/val.csv --resize /data/k400_256
python tools/prepare_data.py Charades_v1_train.csv Charades_v1_test.csv --root /data/charades --out trainval.csv
"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from nonlocal_video.data.census.usable import split_missing
from nonlocal_video.data.coco.folder import CocoList, choose_lists, describe, find_coco, image_settings
from nonlocal_video.data.lists.classes import read_classes
from nonlocal_video.data.lists.hmdb51 import has_splits
from nonlocal_video.data.lists.kinds import ask_disk
from nonlocal_video.data.lists.listing import format_list, listed_names
from nonlocal_video.data.lists.manifest import FORMATS
from nonlocal_video.data.prepare.encode import Encoding
from nonlocal_video.data.prepare.resize import plan_targets, reencode_all
from nonlocal_video.data.prepare.sources import (
    FoundLists,
    data_settings,
    format_preset,
    name_classes,
    name_lists,
    read_folders,
    read_hmdb51,
    read_lists,
)
from nonlocal_video.data.prepare.written import check_free, report_on, write
from nonlocal_video.data.workers import num_cpus
from nonlocal_video.settings.parts import check_name
from nonlocal_video.types import Entry

PRESETS = Path(__file__).parent.parent / "configs/data/local"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Makes our lists (path and label) of a folder of videos, or of official lists or any others, "
        "a file of settings, and small copies of the videos that decode fast. The originals are only read.",
    )
    whole = Encoding()
    add = parser.add_argument
    add("sources", type=Path, nargs="+", metavar="SOURCE", help="a folder FOLDER/CLASS/video.mp4 or "
        "FOLDER/train/CLASS/video.mp4, HMDB51's folder of split files, lists of videos; or a folder in COCO's format, "
        "of which only --name writes something")  # fmt: skip
    add("--out", type=Path, help="of videos: the list to write, say lists/train.csv, which joins several lists; or a "
        "folder, say lists/mine, for train.csv, val.csv and classes.txt")  # fmt: skip
    add("--name", help="write configs/data/local/NAME.yaml, too, which a run takes with data=local/NAME")
    add(
        "--root", type=Path, help="of lists and split files: the folder that paths start from, or that holds the videos"
    )
    add("--format", choices=FORMATS, default="auto", help="if SOURCE is a list: its form, should it not tell")
    add("--classes", help="class names, one a line in the order of the labels (a folder's default: alphabetical)")
    add("--split", type=int, choices=(1, 2, 3), default=1, help="of HMDB51's three (%(default)s)")
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


def read_source(arguments: argparse.Namespace) -> FoundLists:
    """Reads the sources, each for what it is."""
    sources, root, out = arguments.sources, arguments.root, arguments.out
    classes = read_classes(arguments.classes, num_classes=None) if arguments.classes else None
    if absent := [source for source in sources if not source.exists()]:
        raise ValueError(f"{absent[0]}: no such file or folder")
    if not sources[0].is_dir():
        if root is None:
            raise ValueError(f"--root: {sources[0]} is a list, so name the folder that its paths start from")
        joined = len(sources) == 1 or out is None or (bool(out.suffix) and not out.is_dir())
        return read_lists(sources, root=root, classes=classes, form=arguments.format, joined=joined)
    if len(sources) > 1:
        raise ValueError(f"got {sources[0]} and {sources[1]}, expected one folder, or lists only")
    if has_splits(sources[0]):
        if root is None:
            raise ValueError(f"--root: {sources[0]} has the splits of HMDB51, so name the folder that holds the videos")
        return read_hmdb51(sources[0], root=root, split=arguments.split, classes=classes)
    if root is not None:
        raise ValueError(f"--root: got {root}, but {sources[0]} is a folder, and the paths start from it")
    return read_folders(sources[0], classes=classes)


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
    if len(arguments.sources) == 1 and arguments.sources[0].is_dir():
        lists, notes = find_coco(arguments.sources[0])
        print("".join(f"{note}\n" for note in notes), end="")
        if lists:
            return prepare_images(arguments, lists)
    source = read_source(arguments)
    if arguments.out is None:
        raise ValueError("--out: got none, expected the list to write, or the folder of several")
    print("".join(f"{note}\n" for note in source.notes), end="")
    outs = name_lists(arguments.out, source)
    missing, listed = look(arguments, source)
    entries = [entry for part in listed.values() for entry in part]
    if arguments.resize:
        names = plan_targets([entry.path for entry in entries], root=source.root)
    else:
        names = listed_names(entries, root=source.root)
    of_paths = dict(zip([entry.path for entry in entries], names, strict=True))
    texts = {outs[split]: format_list([of_paths[entry.path] for entry in part], part) for split, part in listed.items()}
    classes = name_classes(arguments.out, source, given=arguments.classes)
    if classes is not None and source.classes is not None and str(classes) != arguments.classes:
        texts[classes] = "".join(f"{name}\n" for name in source.classes)
    settings = data_settings(source, outs, root=arguments.resize or source.root, classes=classes)
    if arguments.name:
        preset = PRESETS / f"{check_name(arguments.name, setting='--name')}.yaml"
        texts[preset] = format_preset(arguments.name, settings)
    check_free(texts, sources=arguments.sources, force=arguments.force)
    failed: dict[str, str] = {}
    if arguments.resize:
        gone = {video for part in missing.values() for video in part}
        failed = make_copies(arguments, entries, names, root=source.root, missing=gone)
    for path, text in texts.items():
        write(path, text)
    print(f"written: {', '.join(str(path) for path in texts)} ({len(entries)} videos)")
    for split, out in outs.items():
        report_on(out, source.lists[split], missing[split], failed)
    tell_next(arguments, settings)
    return len(failed)


def prepare_images(arguments: argparse.Namespace, found: Sequence[CocoList]) -> int:
    """Tells what a folder in COCO's format has, writes its settings if they get a name, and says what comes next."""
    if of_videos := [f"--{name}" for name in ("out", "root", "classes", "resize") if getattr(arguments, name)]:
        raise ValueError(f"{', '.join(of_videos)}: is for videos; images and their lists stay as they are")
    lists = choose_lists(found)
    settings, name = image_settings(arguments.sources[0].absolute(), lists), arguments.name
    print(describe(found, lists, settings, name=name))
    if name:
        preset = PRESETS / f"{check_name(name, setting='--name')}.yaml"
        texts = {preset: format_preset(name, settings)}
        check_free(texts, sources=arguments.sources, force=arguments.force)
        write(preset, texts[preset])
        print(f"written: {preset}")
    return 0


def look(arguments: argparse.Namespace, source: FoundLists) -> tuple[dict[str, list[str]], dict[str, list[Entry]]]:
    """The videos of each list that are not there, and the entries to be listed."""
    missing, listed = dict[str, list[str]](), dict[str, list[Entry]]()
    for split, entries in source.lists.items():
        if of_frames := [entry.video for entry in entries if entry.num_frames is not None]:
            got = f"{of_frames[0]}: got a folder of frames"
            raise ValueError(f"{got}, expected videos; train with this list as it is")
        missing[split] = find_missing(entries, folders=not arguments.resize)
        absent = set(missing[split]) if arguments.drop_missing else set()
        listed[split] = [entry for entry in entries if entry.video not in absent]
    return missing, listed


def find_missing(entries: Sequence[Entry], *, folders: bool) -> list[str]:
    """The videos of which there is no regular file, nor a folder of frames if these will do.

    Raises:
        ValueError: there is none at all, or folders of frames where these will not do.
    """
    present, gone = split_missing(entries)
    missing = [entry.video for entry in gone]
    kinds = [] if folders else ask_disk(os.path.isdir, [entry.path for entry in present])
    of_frames = [path for path, is_folder in kinds if is_folder]
    if of_frames:
        raise ValueError(
            f"--resize: got {len(of_frames)} folders of frames, such as {of_frames[0]}, expected videos only; without "
            "--resize they are listed, and a run reads them as they are"
        )
    if len(missing) == len(entries):
        raise ValueError(f"none of the {len(entries)} videos is there (say {entries[0].path}): check --root")
    return missing


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
    done = reencode_all(
        jobs, encoding, root=root, folder=folder, processes=arguments.jobs, time_limit_s=arguments.time_limit
    )
    print(f"{folder}: videos made: {done.num_made}, there before: {done.num_kept}, failed: {len(done.failed)}")
    if done.retimed:
        shown = ", ".join(done.retimed[:3]) + (", ..." if len(done.retimed) > 3 else "")
        print(f"note: without usable frame times, so given a constant rate: {len(done.retimed)} videos, {shown}")
    return done.failed


def tell_next(arguments: argparse.Namespace, settings: dict[str, str | int]) -> None:
    if arguments.name:
        print(f"to use it: data=local/{arguments.name}")
        return
    if arguments.classes is None and "classes" in settings:
        print(
            f"labels are in the alphabetical order of the folders; for other lists give --classes {settings['classes']}"
        )
    words = {key: shlex.quote(f"data.{key}={value}") for key, value in settings.items()}
    if "val" not in settings:
        words["train"] += " (or data.val=...)"
    print(f"to use it: data=custom data.name=NAME {' '.join(words.values())}")


if __name__ == "__main__":
    main()
