"""From the labels of a list to classes, of a video and of a part of it."""

from typing import Any

from nonlocal_video.types import Classes, Label, TimedLabel


def items_of(label: Label) -> tuple[int | TimedLabel, ...]:
    """All classes that a label names, with their times where there are any."""
    return () if label is None else (label,) if isinstance(label, int) else label


def numbers_of(label: Label) -> tuple[int, ...]:
    """The classes that a label names, sorted."""
    return tuple(sorted({item.label if isinstance(item, TimedLabel) else item for item in items_of(label)}))


def times_of(label: Label) -> list[TimedLabel]:
    """The classes with their times, where there are any."""
    return [item for item in items_of(label) if isinstance(item, TimedLabel)]


def classes_of(label: Label) -> Classes | None:
    """The class of a video, all of several whenever they are shown, or None if nobody says."""
    return label if label is None or isinstance(label, int) else numbers_of(label)


def shown_between(label: Label, first_s: float, last_s: float) -> Classes | None:
    """The classes shown at any time from `first_s` to `last_s` seconds; those without times are shown all the time."""
    if label is None or isinstance(label, int):
        return label
    untimed = [item for item in label if not isinstance(item, TimedLabel)]
    met = [item.label for item in times_of(label) if item.start_s <= last_s and item.end_s >= first_s]
    return tuple(sorted({*untimed, *met}))


def from_json(plain: Any) -> Label:
    """A label that was written as JSON."""
    if isinstance(plain, list):
        return tuple(TimedLabel(*item) if isinstance(item, list) else item for item in plain)
    return plain
