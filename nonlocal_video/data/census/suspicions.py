"""Suspicious facts about a list of videos: pure functions over the records of a survey."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from nonlocal_video.data.census.survey import Record
from nonlocal_video.data.lists.charades import FPS
from nonlocal_video.data.lists.classes import KINETICS400
from nonlocal_video.data.lists.labels import numbers_of, times_of
from nonlocal_video.data.lists.videofiles import clip_name, stem_of
from nonlocal_video.types import Label, TimedLabel

FEW = 0.25
"""A class with less than this share of the median class is pointed out."""
LATE_S = 0.1
"""Charades gives times to a hundredth of a second; the last frame ends up to a frame later."""


def behind_end(records: Sequence[Record]) -> list[tuple[Record, TimedLabel, float]]:
    """Labels that go on for more than `LATE_S` behind the end of their video, with the time of that."""
    found = list[tuple[Record, TimedLabel, float]]()
    for record in records:
        duration_s, frames = record.finding.duration_s, record.finding.frames
        if duration_s is None:  # A folder of frames, which only Charades has with times.
            duration_s = math.inf if frames is None else frames / FPS
        late = [label for label in times_of(record.label) if label.end_s > duration_s + LATE_S]
        found += [(record, label, duration_s) for label in late]
    return found


class ClassCount(NamedTuple):
    """The videos of a class, counted."""

    label: int
    name: str
    listed: int
    missing: int
    broken: int
    usable: int


def count_by_class(records: Sequence[Record], classes: Sequence[str] | None) -> list[ClassCount]:
    """A line for each class that is named or listed, and for those between them."""
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for record in records:
        for label in numbers_of(record.label):
            counts[label].update(["listed", record.finding.group])
    names = dict(enumerate(classes or ()))
    labels = {*counts, *names}
    if max(labels, default=0) < 10 * len(labels):  # Else the numbers are no classes, and there may be billions.
        labels.update(range(max(labels, default=-1) + 1))
    keys = ClassCount._fields[2:]
    return [ClassCount(label, names.get(label, ""), *(counts[label][key] for key in keys)) for label in sorted(labels)]


def small_classes(classes: Sequence[ClassCount]) -> list[ClassCount]:
    """Classes without a usable video, or with far fewer than the median class."""
    middle = median(count.usable for count in classes) if classes else 0
    return [count for count in classes if count.usable == 0 or count.usable < FEW * middle]


def short(records: Sequence[Record], window: int) -> list[Record]:
    """Usable videos with fewer frames than a clip spans."""
    return [r for r in records if r.finding.group == "usable" and r.finding.frames and r.finding.frames < window]


def misstated(records: Sequence[Record]) -> list[Record]:
    """Videos of which the container or the list states another number of frames than there are."""
    return [r for r in records if r.finding.frames and r.finding.claimed not in (None, r.finding.frames)]


def cut_off(records: Sequence[Record]) -> list[Record]:
    """Videos that end well before the time that they state: some containers show no other sign of a missing end."""
    times = [(r, r.finding.stated_s, r.finding.duration_s) for r in records]
    return [r for r, stated_s, there_s in times if stated_s and there_s and there_s < 0.9 * stated_s - 1]


def duplicates(records: Sequence[Record]) -> list[list[Record]]:
    """Groups of usable videos with the same content."""
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.finding.group == "usable":
            groups[record.finding.content].append(record)
    return [group for group in groups.values() if len(group) > 1]


def differ(group: Sequence[Record]) -> bool:
    """Whether one content has several labels."""
    return len({tuple(numbers_of(record.label)) for record in group}) > 1


def beyond(records: Sequence[Record], num_classes: int) -> list[Record]:
    """Videos with a label that no class has."""
    return [r for r in records if any(label >= num_classes for label in numbers_of(r.label))]


def known_classes(records: Sequence[Record], classes: Sequence[str] | None) -> Sequence[str] | None:
    """The names of the classes: those given, or those of Kinetics-400 for labels from 0 to 399."""
    if classes is not None:
        return classes
    labels = {label for record in records for label in numbers_of(record.label)}
    return KINETICS400 if labels and (min(labels), max(labels)) == (0, len(KINETICS400) - 1) else None


class Difference(NamedTuple):
    """How two lists differ."""

    only_here: list[str]
    only_there: list[str]
    relabelled: list[tuple[str, Label, Label]]
    """The label here and there."""
    shared: list[tuple[str, str]]
    """Videos of both, by their names here and there."""


def compare_lists(here: Sequence[tuple[str, Label]], there: Sequence[tuple[str, Label]]) -> Difference:
    """Two lists compared by the names of their videos.

    A clip of Kinetics is known by its YouTube id, and by its times where both lists tell them. Other videos
    are known by their file's name, unless several of one list share one: then by the whole path.
    """
    stems = [Counter(stem_of(name) for name, _ in names) for names in (here, there)]
    by_path = any(count > 1 for counts in stems for count in counts.values())

    def key(name: str) -> tuple[str, str | None]:
        return (os.path.normpath(name), None) if by_path else clip_name(stem_of(name))

    index: defaultdict[str, dict[str | None, tuple[str, Label]]] = defaultdict(dict)
    for name, label in there:
        video, times = key(name)
        index[video][times] = name, label
    difference, met = Difference([], [], [], []), set[str]()
    for name, label in here:
        video, times = key(name)
        clips = index.get(video, {})
        other = next(iter(clips.values()), None) if times is None else clips.get(times) or clips.get(None)
        if other is None:
            difference.only_here.append(name)
            continue
        met.add(other[0])
        difference.shared.append((name, other[0]))
        if numbers_of(label) != numbers_of(other[1]):
            difference.relabelled.append((name, label, other[1]))
    difference.only_there.extend(name for name, _ in there if name not in met)
    return difference


def leaks(
    records: Sequence[Record], names: Sequence[tuple[str, Label]], others: Sequence[Record]
) -> list[tuple[str, str, str]]:
    """Videos that the list of another split has too: their names here and there, and what is the same.

    `names` are the other list, `others` the records of its survey, if there is one.
    """
    shared = compare_lists([(record.video, record.label) for record in records], names).shared
    found = {here: (here, there, "name") for here, there in shared}
    contents = {other.finding.content: other.video for other in others if other.finding.group == "usable"}
    for record in records:
        if record.finding.group == "usable" and record.finding.content in contents:
            found[record.video] = (record.video, contents[record.finding.content], "content")
    return sorted(found.values())
