"""The census of images with objects: the faults of files and annotations in words, and the page about them."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from nonlocal_video.data.census import suspicions
from nonlocal_video.data.census.survey import Record
from nonlocal_video.data.coco.annotations import Annotations, Picture
from nonlocal_video.data.coco.usable import UsableImages, format_images
from nonlocal_video.reports.census.page import counts_table, overview, overview_lines, page_of
from nonlocal_video.reports.census.problems import Problem
from nonlocal_video.reports.versions import versions

_STILL = "Training leaves them out, and counts them. A test takes them for objects all the same: mend or delete them."
TEXTS = {
    "missing": (
        "Listed, but not there",
        "A run takes them out before its first step and counts them; in a test nothing is found on them. A run refuses "
        "to start if more than `data.max_missing` of the list is missing.",
    ),
    "broken": (
        "Cannot be read",
        "Get them again, or take them out of the list. Training replaces those that it draws, and stops if they are "
        "more than `data.max_failed`; in a test nothing is found on them.",
    ),
    "timed_out": ("Not examined in time", "The same command with a larger --limit tries these again and no others."),
    "other_size": (
        "Of another size than the list says",
        "Their objects are elsewhere: a run takes them for images that cannot be read. Mend the list, or the images.",
    ),
    "turned": (
        "Turned or mirrored by a note of the camera (EXIF)",
        "They can be used: they are turned as it says, unless the list has the size of the image as it is stored.",
    ),
    "grey": ("Grey", "They can be used: their three colours are the same."),
    "cmyk": ("In the four colours of print (CMYK)", "They can be used: they are converted to RGB."),
    "duplicates": (
        "The same content under several names",
        "An image that is tested twice counts twice. Behind each stands the first one with its content.",
    ),
    "leaks": (
        "In the other list, too",
        "A number on images that were trained on is worth nothing: take them out of one of the lists.",
    ),
    "empty": (
        "Without an object to learn from",
        "Training leaves them out, unless `data.empty=true`; tests take them.",
    ),
    "crowds": ("Crowds", "Nothing is taught of them, and what a test finds there is neither right nor wrong."),
    "no_area": ("Boxes without an area in their image", _STILL),
    "other_mask": ("Masks of another size than their image", _STILL),
    "no_mask": ("Objects without a usable mask", f"{_STILL} A faster_rcnn, which needs no masks, is taught them."),
    "same_ids": ("Objects with the id of an earlier one", "They can be used: ids are counted anew."),
}
"""The title and the advice of each kind of problem."""
REASONS = {
    "crowds": "crowds",
    "boxes without an area in their image": "no_area",
    "masks of another size than their image": "other_mask",
    "objects without a mask": "no_mask",
}
LOOKED = {
    "pixels": "Every image was decoded.",
    "heads": "**No pixel was decoded (--quick)**: damaged ones were not looked for.",
}
ADVICE = "A run names its census, too: the same hash means that the same images with the same objects are used."


def sized(record: Record, picture: Picture) -> Record:
    """A record of what a run makes of an image: a folder is no file, another size than listed cannot be used."""
    finding, listed = record.finding, (picture.width, picture.height)
    if os.path.isdir(record.path):
        return record._replace(finding=finding._replace(state="missing", cause="a folder"))
    stored = finding.width or 0, finding.height or 0
    if finding.group != "usable" or listed in (stored, stored[::-1] if finding.quarter else stored):
        return record
    cause = f"is {stored[0]}x{stored[1]}, listed as {listed[0]}x{listed[1]}"
    return record._replace(finding=finding._replace(state="other size", cause=cause))


def find_image_problems(
    found: Annotations, usable: UsableImages, records: Sequence[Record], others: Sequence[Record]
) -> list[Problem]:
    """All kinds of problems, those without images too; `others` are the records of the other list."""
    lines: dict[str, list[str]] = {name: [] for name in TEXTS}
    for record in records:
        name, finding = record.video, record.finding
        if finding.group != "usable":
            lines[finding.state.replace(" ", "_")].append(_line(name, finding.cause))
            continue
        form = f"{finding.codec} in {finding.container}"
        kinds = {
            "turned": finding.turned,
            "grey": finding.codec[:1] in ("L", "1", "I"),
            "cmyk": finding.codec == "CMYK",
        }
        for kind in (kind for kind, holds in kinds.items() if holds):
            lines[kind].append(_line(name, form))
    for first, *copies in suspicions.duplicates(records):
        lines["duplicates"] += [_line(copy.video, first.video) for copy in copies]
    lines["leaks"] = [_line(here, there) for here, there, _ in suspicions.leaks(records, (), others)]
    lines["empty"] = [_line(picture.name) for picture in usable.empty]
    rows = {REASONS[reason]: rows for reason, rows in found.left_out.items()} | {"same_ids": found.same_ids}
    names, categories = {picture.image_id: picture.name for picture in found.pictures}, dict(found.categories)
    for kind, which in rows.items():
        for row in which:
            one = found.content["annotations"][row]
            category = categories[one["category_id"]]
            lines[kind].append(_line(names[one["image_id"]], f"annotations[{row}]", category, f"box {one['bbox']}"))
    return [Problem(name, title, advice, lines[name]) for name, (title, advice) in TEXTS.items()]


def _line(*words: str) -> str:
    return "\t".join(" ".join(word.split()) for word in words if word)


def build_image_census(
    found: Annotations,
    usable: UsableImages,
    records: Sequence[Record],
    problems: Sequence[Problem],
    *,
    checked: str,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The contents of census.json; `facts` say where it comes from: `list`, `root`, `command` and `date`."""
    found_here = overview([record for record in records if record.finding.group == "usable"])
    objects = Counter(instance.label for picture in found.pictures for instance in picture.instances)
    return {
        "format": 1,
        **facts,
        "census": {**usable.census, "checked": checked},
        "states": dict(sorted(Counter(record.finding.state for record in records).items())),
        "problems": {problem.name: len(problem.lines) for problem in problems},
        "images": {key: found_here[key] for key in ("gigabytes", "short_side", "formats")},
        "categories": [
            {"category_id": number, "name": name, "objects": objects[label]}
            for label, (number, name) in enumerate(found.categories, start=1)
        ],
        "versions": versions(),
    }


def format_image_page(census: dict[str, Any], problems: Sequence[Problem]) -> str:
    """The page that people read."""
    counts, images, categories = census["census"], census["images"], census["categories"]
    objects, bare = [one["objects"] for one in categories], [one["name"] for one in categories if not one["objects"]]
    lines = [
        f"{images['gigabytes']:g} GB",
        *overview_lines(images),
        f"{len(categories)} categories with {min(objects)} to {max(objects)} objects, median {median(objects):g}",
        *([f"{len(bare)} categories without an object, such as {', '.join(bare[:3])}"] if bare else []),
    ]
    about = [LOOKED[counts["checked"]], counts_table(census, problems)]
    after = ["## The usable images", "\n".join(f"- {line}" for line in lines), ADVICE]
    return page_of(census, problems, counts=format_images(counts), about=about, after=after)
