"""What is suspicious about a list of videos: pure functions over the records of a survey."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from nonlocal_video.data.census.survey import Record
from nonlocal_video.data.decoders.examine import FOLDER
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
    found = []
    for record in records:
        duration_s, frames = record.finding.duration_s, record.finding.frames
        if duration_s is None and frames is not None:
            duration_s = frames / FPS  # A folder of frames, which only Charades has with times.
        if duration_s is not None:
            late = [one for one in times_of(record.label) if one.end_s > duration_s + LATE_S]
            found += [(record, one, duration_s) for one in late]
    return found


class Class(NamedTuple):
    """What a class has."""

    label: int
    name: str
    listed: int
    missing: int
    broken: int
    usable: int


def count_classes(records: Sequence[Record], classes: Sequence[str] | None) -> list[Class]:
    """A line for each class that is named or listed, and for those between them."""
    counts: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for record in records:
        for label in numbers_of(record.label):
            counts[label].update(["listed", record.finding.group])
    names = list(classes or ())
    labels = {*counts, *range(len(names))}
    if max(labels, default=0) < 10 * len(labels):  # Else the numbers are no classes, and there may be billions.
        labels.update(range(max(labels, default=-1) + 1))
    return [
        Class(label, names[label] if label < len(names) else "", *(counts[label][key] for key in Class._fields[2:]))
        for label in sorted(labels)
    ]


def small_classes(classes: Sequence[Class]) -> list[Class]:
    """Classes without a usable video, or with far fewer than the median class."""
    middle = median(one.usable for one in classes) if classes else 0
    return [one for one in classes if one.usable == 0 or one.usable < FEW * middle]


def short(records: Sequence[Record], window: int) -> list[Record]:
    """Usable videos with fewer frames than a clip spans."""
    return [r for r in records if r.finding.group == "usable" and r.finding.frames and r.finding.frames < window]


def miscounted(records: Sequence[Record]) -> list[Record]:
    """Folders of which the list states another number of frames than there are."""
    return [r for r in misstated(records) if r.finding.container == FOLDER]


def misstated(records: Sequence[Record]) -> list[Record]:
    """Videos of which the container, or the list, states another number of frames than there are."""
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


# Another list


class Difference(NamedTuple):
    """How two lists differ."""

    only_here: list[str]
    only_there: list[str]
    relabelled: list[tuple[str, Label, Label]]
    """The label here and there."""
    shared: list[tuple[str, str]]
    """Videos of both, by their names here and there."""


def compare(here: Sequence[tuple[str, Label]], there: Sequence[tuple[str, Label]]) -> Difference:
    """Two lists compared by the names of their videos.

    A clip of Kinetics is known by its YouTube id, and by its times where both lists tell them. Other videos
    are known by their file's name, unless several of one list share one: then by the whole path.
    """
    key = _key_of([name for name, _ in here], [name for name, _ in there])
    index: defaultdict[str, dict[str | None, tuple[str, Label]]] = defaultdict(dict)
    for name, label in there:
        video, times = key(name)
        index[video][times] = name, label
    difference, met = Difference([], [], [], []), set[str]()
    for name, label in here:
        video, times = key(name)
        other = _match(index.get(video, {}), times)
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

    Args:
        names: the other list.
        others: what a survey of it found, if there is one.
    """
    found = {
        here: (here, there, "name") for here, there in compare([(r.video, r.label) for r in records], names).shared
    }
    contents = {other.finding.content: other.video for other in others if other.finding.group == "usable"}
    for record in records:
        if record.finding.group == "usable" and record.finding.content in contents:
            found[record.video] = (record.video, contents[record.finding.content], "content")
    return sorted(found.values())


def _match(clips: Mapping[str | None, tuple[str, Label]], times: str | None) -> tuple[str, Label] | None:
    if times is None:
        return next(iter(clips.values()), None)
    return clips.get(times) or clips.get(None)


def _key_of(*lists: Sequence[str]) -> Callable[[str], tuple[str, str | None]]:
    for names in lists:
        stems = Counter(map(stem_of, names))
        if any(count > 1 for count in stems.values()):
            return lambda name: (os.path.normpath(name), None)
    return lambda name: clip_name(stem_of(name))
