"""What a survey of a list shows to be wrong, in words, with what to do about it."""

from collections.abc import Sequence
from typing import NamedTuple

from nonlocal_video.data.census import suspicions
from nonlocal_video.data.census.survey import Record
from nonlocal_video.data.decoders.examine import FOLDER
from nonlocal_video.data.lists.classes import check_label_order, misplaced
from nonlocal_video.data.lists.labels import numbers_of
from nonlocal_video.types import Entry, Label


class Problem(NamedTuple):
    """One kind of problem and the videos that have it."""

    name: str
    """That of its file: name.txt."""
    title: str
    advice: str
    lines: list[str]
    """A video each, then what there is to say of it, with tabs between."""


class Context(NamedTuple):
    """What the list is compared with."""

    window: int
    """Frames that a clip spans."""
    classes: Sequence[str] | None
    official: Sequence[tuple[str, Label]] | None
    """The official list."""
    other: Sequence[tuple[str, Label]] | None
    """The list of another split."""
    other_records: Sequence[Record]
    """Its survey, if there is one."""


def find_problems(entries: Sequence[Entry], records: Sequence[Record], context: Context) -> list[Problem]:
    """All kinds of problems, those without videos too, except for comparisons that nobody asked for."""
    problems = _files(records) + _contents(records, context)
    problems += _labels(entries, records, context.classes)
    if context.official is not None:
        problems += _official(records, context.official)
    return problems


def _files(records: Sequence[Record]) -> list[Problem]:
    def having(state: str) -> list[str]:
        return [_line(r.video, r.finding.cause) for r in records if r.finding.state == state]

    return [
        Problem(
            "missing", "Listed, but not there",
            "Get them, or leave it at that: a run takes them out before its first step and counts them, and tests "
            "print the accuracy with them counted as wrong, too. A run refuses to start if more than "
            "`data.max_missing` of the list is missing. If nearly all is, check --root: the paths start there.",
            having("missing"),
        ),
        Problem(
            "broken", "Broken",
            "Get them again, or let a run take them out (see the end of this page). Otherwise training replaces "
            "those that it draws, and testing counts them as failed.",
            having("broken"),
        ),
        Problem(
            "timed_out", "Not examined in time",
            "Long videos, a slow disk or a file that makes a decoder hang: the same command with a larger --limit "
            "tries these again and no others. A run with this census takes them out, as broken ones.",
            having("timed out"),
        ),
    ]  # fmt: skip


def _contents(records: Sequence[Record], context: Context) -> list[Problem]:
    short = suspicions.short(records, context.window)
    groups = suspicions.duplicates(records)
    differing = sum(map(suspicions.differ, groups))
    problems = [
        Problem(
            "duplicates", "The same content under several names",
            f"{len(groups)} contents have several names; the labels of {differing} of them differ, and at most one is "
            "right. Behind each video stands the first one with its content. Take either out of the list.",
            [
                _line(r.video, group[0].video, f"labels {_shown(r.label)} and {_shown(group[0].label)}"
                      if r.label != group[0].label else "")
                for group in groups for r in group[1:]
            ],
        ),
        Problem(
            "short", f"Shorter than a clip of {context.window} frames",
            "They can be used: a clip begins again at the first frame when it reaches the end. Many of them mean "
            "that videos were cut badly, or that --window is not your clip.length x clip.stride.",
            [_line(r.video, f"{r.finding.frames} frames") for r in short],
        ),
        Problem(
            "cut_off", "Shorter than they state",
            "Probably cut off while they were copied: get them again. The frames that are there are used.",
            [
                _line(r.video, f"{r.finding.stated_s:g} s stated, {r.finding.duration_s:g} s there")
                for r in suspicions.cut_off(records)
            ],
        ),
        Problem(
            "miscounted", "Another number of frames than the list states",
            "They can be used: the images of a folder are counted. Some may not have been extracted.",
            [
                _line(r.video, f"{r.finding.claimed} stated, {r.finding.frames} there")
                for r in suspicions.misstated(records) if r.finding.container == FOLDER
            ],
        ),
    ]  # fmt: skip
    if context.other is not None:
        lines = [_line(*leak) for leak in suspicions.leaks(records, context.other, context.other_records)]
        advice = "A score on videos that were trained on is worth nothing: take them out of one of the lists."
        problems.append(Problem("leaks", "In the other list, too", advice, lines))
    return problems


def _labels(entries: Sequence[Entry], records: Sequence[Record], classes: Sequence[str] | None) -> list[Problem]:
    counts = suspicions.count_by_class(records, classes)
    small = suspicions.small_classes(counts)
    problems = [
        Problem(
            "small_classes", "Classes without usable videos, or with far fewer than the others",
            f"Fewer than {suspicions.FEW:.0%} of the median class's. Labels that were shifted often show here.",
            [_line(f"{c.label}", c.name, f"{c.listed} listed, {c.usable} usable") for c in small],
        )
    ]  # fmt: skip
    if any(suspicions.times_of(record.label) for record in records):
        problems.append(
            Problem(
                "behind_end", "Labels that are shown behind the end of the video",
                "They can be used: of a label that ends later, the rest is never seen; one that begins later is never "
                "seen in a clip, and still counts for the video. Many of them mean cut videos, or other ones than were "
                "labelled.",
                [_line(r.video, f"{one.label}", f"{one.start_s:g} to {one.end_s:g} s", f"ends at {end_s:.2f} s")
                 for r, one, end_s in suspicions.behind_end(records)],
            )
        )  # fmt: skip
    if classes is None:
        return problems
    problems.append(
        Problem(
            "labels_beyond", "Labels that no class has", f"There are {len(classes)} classes, 0 to {len(classes) - 1}.",
            [_line(r.video, _shown(r.label)) for r in suspicions.beyond(records, len(classes))],
        )
    )  # fmt: skip
    advice = ""
    try:
        check_label_order(entries, classes)
    except ValueError as error:
        advice = f"A run would refuse this list: {error}."
    wrong, _ = misplaced(entries, classes)
    lines = [_line(entry.video, f"has {_shown(entry.label)}", f"folder of {label}") for entry, label in wrong]
    title = "Labels that are not those of the folder"
    return [*problems, Problem("labels", title, advice, lines or ([advice] if advice else []))]


def _official(records: Sequence[Record], official: Sequence[tuple[str, Label]]) -> list[Problem]:
    difference = suspicions.compare_lists([(record.video, record.label) for record in records], official)
    return [
        Problem(
            "not_listed", "In the official list, but not in this one",
            "Published numbers are on all of them. Each video that is not tested can move the accuracy.",
            difference.only_there,
        ),
        Problem("unofficial", "Not in the official list", "Take them out to compare numbers.", difference.only_here),
        Problem(
            "relabelled", "Other labels than in the official list", "Take the official ones.",
            [_line(name, f"has {_shown(here)}", f"official {_shown(there)}")
             for name, here, there in difference.relabelled],
        ),
    ]  # fmt: skip


def _line(*words: str) -> str:
    return "\t".join(" ".join(word.splitlines()) for word in words if word)


def _shown(label: Label) -> str:
    return " ".join(map(str, numbers_of(label))) or "none"
