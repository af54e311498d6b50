"""Examines every video of a list, or every image of a data set in COCO's format, and reports what is wrong with it.

python tools/check_data.py /data/kinetics400/val.csv --root /data/kinetics400 --out census/k400_val
python tools/check_data.py data=coco data.root=/data/coco
"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
import os
import re
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Any

from nonlocal_video.data.census.survey import Depth, Record, read_records, survey
from nonlocal_video.data.census.suspicions import known_classes
from nonlocal_video.data.census.usable import format_census
from nonlocal_video.data.coco.annotations import read_annotations
from nonlocal_video.data.coco.usable import format_images, usable_images
from nonlocal_video.data.decoders.examine import examine_image
from nonlocal_video.data.lists.classes import read_classes
from nonlocal_video.data.lists.listing import format_list, listed_names
from nonlocal_video.data.lists.manifest import FORMATS, read_list
from nonlocal_video.data.workers import num_cpus
from nonlocal_video.reports.census.images import build_image_census, find_image_problems, format_image_page, sized
from nonlocal_video.reports.census.page import build_census, format_page, format_summary, write_census
from nonlocal_video.reports.census.problems import Context, find_problems
from nonlocal_video.system.files import whole_file
from nonlocal_video.types import Entry, Label

GOOD = "good.csv"
SETTING = re.compile(r"data(\.\w+)?=")
OF_VIDEOS = ("root", "format", "classes", "official", "other", "window")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Examines every video of a list, or every image of a data set, each in a process that is ended "
        "when it takes too long, and writes a report (report.md), lists of what is wrong, and of videos a list of what "
        "is good. The same command again goes on where it was stopped, and examines only what is new or has changed. "
        "The files are only read.",
    )
    add = parser.add_argument
    add("list", metavar="LIST", nargs="+", help="the list of videos, in any form that training takes; or settings of "
        "images in COCO's format, such as data=coco data.root=FOLDER: both lists are compared, data.val=null leaves "
        "one out")  # fmt: skip
    add("--root", help="the folder that its paths start from, or that holds the videos (the working directory)")
    add("--out", type=Path, metavar="FOLDER", help="where to write, say census/k400_val (of images: census/NAME)")
    add("--format", choices=FORMATS, default="auto", help="the form of the list, should it not tell")
    add("--classes", metavar="FILE", help="class names in the order of the labels, to check the labels with")
    add("--official", metavar="LIST", help="the list that was published, to compare with")
    add(
        "--other", type=Path, metavar="LIST_OR_FOLDER", help="the list of another split, which should share no video "
        "with this one; or the folder of its census: then contents are compared, too",
    )  # fmt: skip
    add("--window", type=int, default=64, help="frames that a clip spans, length x stride (%(default)s)")
    add("--quick", action="store_true", help="open the files and count their packets, but decode nothing")
    add("--limit", type=float, default=60, help="seconds for a file (%(default)g)")
    add("--jobs", type=int, default=num_cpus(), help="files at a time (%(default)s, the CPUs)")
    arguments = parser.parse_args()
    if min(arguments.window, arguments.limit, arguments.jobs) <= 0:
        parser.error("--window, --limit and --jobs: expected more than 0")
    arguments.settings = arguments.list if SETTING.match(arguments.list[0]) else []
    if not arguments.settings and (len(arguments.list) > 1 or arguments.out is None):
        parser.error("expected one LIST, and --out FOLDER; or settings such as data=coco")
    of_videos = [f"--{name}" for name in OF_VIDEOS if getattr(arguments, name) != parser.get_default(name)]
    if arguments.settings and of_videos:
        parser.error(f"{', '.join(of_videos)}: is for lists of videos")
    arguments.list = arguments.list[0]
    return arguments


def main() -> None:
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        (check_images if arguments.settings else check)(arguments)
    except (ValueError, OSError, BrokenProcessPool) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def check(arguments: argparse.Namespace) -> None:
    """Everything in order."""
    classes = read_classes(arguments.classes) if arguments.classes else None
    entries = read_list(arguments.list, root=arguments.root, num_classes=None, classes=classes, form=arguments.format)
    official = read_names(arguments.official, classes) if arguments.official else None
    other, other_records = read_other(arguments.other, classes)
    print(f"{arguments.list}: {len(entries)} videos listed", flush=True)

    depth = Depth(arguments.limit, decode_all=not arguments.quick)
    records = survey(entries, arguments.out, depth=depth, jobs=arguments.jobs)
    names = known_classes(records, classes)
    problems = find_problems(entries, records, Context(arguments.window, names, official, other, other_records))
    census = build_census(
        entries,
        records,
        problems,
        classes=names,
        checked="frames" if depth.decode_all else "packets",
        facts=tell(arguments),
    )
    notes = write_good(arguments, entries, records)
    if names is None:
        notes.append("Without --classes, labels could only be counted, not compared with the names of folders.")
    write_census(arguments.out, census, problems, format_page(census, problems, arguments.out, notes))
    print(format_summary(format_census(census["census"]), problems, arguments.out))
    print(f"report: {arguments.out / 'report.md'}")


def check_images(arguments: argparse.Namespace) -> None:
    """Both lists of a data set of images: what is wrong with files and objects, and which images are in both."""
    from nonlocal_video.cli.images import image_lists  # noqa: PLC0415  # Processes that read images need no networks.

    data, depth = image_lists(arguments.settings), Depth(arguments.limit, decode_all=not arguments.quick)
    out = arguments.out or Path("census") / data.name
    found = {which: read_annotations(path, root=root, kind=None) for which, (path, root) in data.lists.items()}
    pictures = [picture for listed in found.values() for picture in listed.pictures]
    print(f"{', '.join(path for path, _ in data.lists.values())}: {len(pictures)} images listed", flush=True)
    entries = [Entry(picture.name, picture.path, None) for picture in pictures]
    looked = survey(entries, out, depth=depth, jobs=arguments.jobs, unit="image", look=examine_image)
    rest = map(sized, looked, pictures)
    records = {which: list(islice(rest, len(listed.pictures))) for which, listed in found.items()}
    for which, listed in found.items():
        with_empty = data.with_empty or which == "val"
        usable = usable_images(listed, of_keypoints=bool(listed.keypoints), with_empty=with_empty)
        others = [record for other, those in records.items() if other != which for record in those]
        problems = find_image_problems(listed, usable, records[which], others)
        census = build_image_census(
            listed, usable, records[which], problems, checked="pixels" if depth.decode_all else "heads",
            facts=origin(*data.lists[which]),
        )  # fmt: skip
        (out / which).mkdir(exist_ok=True)
        write_census(out / which, census, problems, format_image_page(census, problems))
        print(format_summary(format_images(census["census"]), problems, out / which))
        print(f"report: {out / which / 'report.md'}")


def read_names(path: str, classes: Sequence[str] | None) -> list[tuple[str, Label]]:
    """The videos and labels of a list, whether or not they are on this machine."""
    with tempfile.TemporaryDirectory() as nowhere:  # So that nothing is looked for.
        entries = read_list(path, root=nowhere, num_classes=None, classes=classes)
    return [(entry.video, entry.label) for entry in entries]


def read_other(
    path: Path | None, classes: Sequence[str] | None
) -> tuple[list[tuple[str, Label]] | None, Sequence[Record]]:
    """The names of another list, and what was found if it is the folder of a census."""
    if path is None:
        return None, ()
    if not path.is_dir():
        return read_names(str(path), classes), ()
    records = read_records(path)
    return [(record.video, record.label) for record in records], records


def origin(path: str, root: str) -> dict[str, Any]:
    """The origin of a census."""
    command, date = shlex.join(["python", *sys.argv]), time.strftime("%Y-%m-%d %H:%M:%S")
    return {"list": path, "root": root, "command": command, "date": date}


def tell(arguments: argparse.Namespace) -> dict[str, Any]:
    """The origin of a census of videos, and what they were compared with."""
    return {
        **origin(arguments.list, arguments.root or os.getcwd()),
        "window": arguments.window,
        "official": arguments.official,
        "other": str(arguments.other) if arguments.other else None,
    }


def write_good(arguments: argparse.Namespace, entries: Sequence[Entry], records: Sequence[Record]) -> list[str]:
    """The list of what can be used; returns what is to be said if there can be none."""
    path = arguments.out / GOOD
    path.unlink(missing_ok=True)
    good = [
        entry._replace(num_frames=None)  # Folders are counted anyway.
        for entry, record in zip(entries, records, strict=True)
        if record.finding.group == "usable"
    ]
    try:
        text = format_list(listed_names(good, root=Path(arguments.root or ".")), good)
    except ValueError as error:
        return [f"No {GOOD} was written: {error}"]
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    return []


if __name__ == "__main__":
    main()
