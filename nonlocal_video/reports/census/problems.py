"""The faults that a survey of a list shows, in words, with what to do about them."""

from collections.abc import Sequence
from typing import NamedTuple

from nonlocal_video.data.census import suspicions
from nonlocal_video.data.census.survey import Record
from nonlocal_video.data.decoders.examine import FOLDER
from nonlocal_video.data.lists.classes import check_label_order, misplaced
from nonlocal_video.data.lists.labels import numbers_of
from nonlocal_video.types import Entry, Label

TEXTS = {
    "missing": (
        "Listed, but not there",
        "Get them, or leave it at that: a run takes them out before its first step and counts them, and tests print "
        "the accuracy with them counted as wrong, too. A run refuses to start if more than `data.max_missing` of the "
        "list is missing. If nearly all is, check --root: the paths start there.",
    ),
    "broken": (
        "Broken",
        "Get them again, or let a run take them out (see the end of this page). Otherwise training replaces those that "
        "it draws, and testing counts them as failed.",
    ),
    "timed_out": (
        "Not examined in time",
        "Long videos, a slow disk or a file that makes a decoder hang: the same command with a larger --limit tries "
        "these again and no others. A run with this census takes them out, as broken ones.",
    ),
    "duplicates": (
        "The same content under several names",
        "{contents} contents have several names; the labels of {differing} of them differ, and at most one is right. "
        "Behind each video stands the first one with its content. Take either out of the list.",
    ),
    "short": (
        "Shorter than a clip of {window} frames",
        "They can be used: a clip begins again at the first frame when it reaches the end. Many of them mean that "
        "videos were cut badly, or that --window is not your clip.length x clip.stride.",
    ),
    "cut_off": (
        "Shorter than they state",
        "Probably cut off while they were copied: get them again. The frames that are there are used.",
    ),
    "miscounted": (
        "Another number of frames than the list states",
        "They can be used: the images of a folder are counted. Some may not have been extracted.",
    ),
    "leaks": (
        "In the other list, too",
        "A score on videos that were trained on is worth nothing: take them out of one of the lists.",
    ),
    "small_classes": (
        "Classes without usable videos, or with far fewer than the others",
        "Fewer than {few:.0%} of the median class's. Labels that were shifted often show here.",
    ),
    "behind_end": (
        "Labels that are shown behind the end of the video",
        "They can be used: of a label that ends later, the rest is never seen; one that begins later is never seen in "
        "a clip, and still counts for the video. Many of them mean cut videos, or other ones than were labelled.",
    ),
    "labels_beyond": ("Labels that no class has", "There are {classes} classes, 0 to {last}."),
    "labels": ("Labels that are not those of the folder", "{refusal}"),
    "not_listed": (
        "In the official list, but not in this one",
        "Published numbers are on all of them. Each video that is not tested can move the accuracy.",
    ),
    "unofficial": ("Not in the official list", "Take them out to compare numbers."),
    "relabelled": ("Other labels than in the official list", "Take the official ones."),
}
"""The title and the advice of each kind of problem."""


class Problem(NamedTuple):
    """One kind of problem and the videos that have it."""

    name: str
    """The name of its file, name.txt."""
    title: str
    advice: str
    lines: list[str]
    """A video each, then what there is to say of it, with tabs between."""


class Context(NamedTuple):
    """The names of classes, the official list and the list of another split that a list is compared with."""

    window: int
    """Frames that a clip spans."""
    classes: Sequence[str] | None
    official: Sequence[tuple[str, Label]] | None
    other: Sequence[tuple[str, Label]] | None
    other_records: Sequence[Record]
    """The survey of the other list, if there is one."""


def find_problems(entries: Sequence[Entry], records: Sequence[Record], context: Context) -> list[Problem]:
    """All kinds of problems, those without videos too, except for comparisons that nobody asked for."""
    groups, classes = suspicions.duplicates(records), context.classes
    refusal = "" if classes is None else _refusal(entries, classes)
    found = {**_files(records, groups, context.window), **_labels(entries, records, classes, refusal)}
    if context.other is not None:
        found["leaks"] = [_line(*leak) for leak in suspicions.leaks(records, context.other, context.other_records)]
    if context.official is not None:
        difference = suspicions.compare_lists([(record.video, record.label) for record in records], context.official)
        found |= {"not_listed": difference.only_there, "unofficial": difference.only_here}
        found["relabelled"] = [
            _line(name, f"has {_shown(here)}", f"official {_shown(there)}")
            for name, here, there in difference.relabelled
        ]
    facts = {
        "contents": len(groups), "differing": sum(map(suspicions.differ, groups)), "window": context.window,
        "few": suspicions.FEW, "classes": len(classes or ()), "last": len(classes or ()) - 1, "refusal": refusal,
    }  # fmt: skip
    texts = {name: [text.format(**facts) for text in TEXTS[name]] for name in TEXTS if name in found}
    return [Problem(name, title, advice, found[name]) for name, (title, advice) in texts.items()]


def _files(records: Sequence[Record], groups: Sequence[Sequence[Record]], window: int) -> dict[str, list[str]]:
    found = {
        name: [_line(r.video, r.finding.cause) for r in records if r.finding.state == name.replace("_", " ")]
        for name in ("missing", "broken", "timed_out")
    }
    found["duplicates"] = []
    for first, *others in groups:
        for r in others:
            differs = f"labels {_shown(r.label)} and {_shown(first.label)}" if r.label != first.label else ""
            found["duplicates"].append(_line(r.video, first.video, differs))
    found["short"] = [_line(r.video, f"{r.finding.frames} frames") for r in suspicions.short(records, window)]
    found["cut_off"] = [
        _line(r.video, f"{r.finding.stated_s:g} s stated, {r.finding.duration_s:g} s there")
        for r in suspicions.cut_off(records)
    ]
    found["miscounted"] = [
        _line(r.video, f"{r.finding.claimed} stated, {r.finding.frames} there")
        for r in suspicions.misstated(records)
        if r.finding.container == FOLDER
    ]
    return found


def _refusal(entries: Sequence[Entry], classes: Sequence[str]) -> str:
    """Why a run would refuse the labels; empty if it would not."""
    try:
        check_label_order(entries, classes)
    except ValueError as error:
        return f"A run would refuse this list: {error}."
    return ""


def _labels(
    entries: Sequence[Entry], records: Sequence[Record], classes: Sequence[str] | None, refusal: str
) -> dict[str, list[str]]:
    small = suspicions.small_classes(suspicions.count_by_class(records, classes))
    found = {"small_classes": [_line(f"{c.label}", c.name, f"{c.listed} listed, {c.usable} usable") for c in small]}
    if any(suspicions.times_of(record.label) for record in records):
        found["behind_end"] = [
            _line(r.video, f"{label.label}", f"{label.start_s:g} to {label.end_s:g} s", f"ends at {end_s:.2f} s")
            for r, label, end_s in suspicions.behind_end(records)
        ]
    if classes is not None:
        beyond = suspicions.beyond(records, len(classes))
        found["labels_beyond"] = [_line(r.video, _shown(r.label)) for r in beyond]
        wrong, _ = misplaced(entries, classes)
        lines = [_line(entry.video, f"has {_shown(entry.label)}", f"folder of {label}") for entry, label in wrong]
        found["labels"] = lines or ([refusal] if refusal else [])
    return found


def _line(*words: str) -> str:
    return "\t".join(" ".join(word.splitlines()) for word in words if word)


def _shown(label: Label) -> str:
    return " ".join(map(str, numbers_of(label))) or "none"
