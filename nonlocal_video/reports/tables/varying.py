"""The settings that differ between runs, for people who ask for a table without saying of what."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nonlocal_video.reports.tables.pivot import follows
from nonlocal_video.reports.tables.runs import Run
from nonlocal_video.reports.tables.sheet import Sheet
from nonlocal_video.reports.values import ordered, spelled

SHOWN = 8
"""Values of a setting that are named."""


class Varying(NamedTuple):
    """A setting that differs between runs."""

    key: str
    values: Mapping[str, int]
    """How many tests have each value, as spelled on the command line; in order."""
    followers: Sequence[str]
    """Settings that differ only because this one does."""


def varying(runs: Sequence[Run]) -> list[Varying]:
    """The settings and facts of their tests in which runs differ, but for those that follow from others."""
    known = [{**run.settings, **run.facts} for run in runs]

    def differs(key: str) -> bool:
        return len({json.dumps(settings.get(key)) for settings in known}) > 1

    choices = sorted({key for run in runs for key in run.settings if key.startswith("choices.")})
    different = [key for key in dict.fromkeys(key for run in runs for key in run.facts) if differs(key)]
    names = [key for key in different if key.endswith(".name")]
    sources = [key for key in (*choices, *names) if differs(key)]
    source_of: dict[str, str] = {}
    for key in different:
        by = next((by for by in sources if by != key and by not in source_of and follows(runs, key, by)), None)
        if by is not None:
            source_of[key] = by
    kept = [
        key
        for key in (*choices, *different)
        if key in source_of.values() or (key in different and key not in source_of)
    ]
    found = []
    for key in kept:
        counts = Counter(spelled(settings.get(key)) for settings in known)
        followers = [other for other, by in source_of.items() if by == key]
        found.append(Varying(key, {value: counts[value] for value in ordered(counts)}, followers))
    return sorted(found, key=lambda setting: setting.key == "seed")


def varying_sheet(found: Sequence[Varying], *, num_tests: int) -> Sheet:
    """The settings with their values, a line each."""
    rows = []
    for key, values, followers in found:
        words = [f"{value} ({count})" for value, count in values.items()]
        words[SHOWN:] = [f"and {len(words) - SHOWN} more"] if len(words) > SHOWN else []
        rows.append([key, ", ".join(words), ", ".join(followers)])
    title = f"What differs between {num_tests} tested run{'s' * (num_tests != 1)}"
    return Sheet(title, ["setting", "values (runs)", "what differs with it"], rows)


def example(found: Sequence[Varying], folders: Sequence[Path]) -> str:
    """A command that makes a table of these runs; of a third setting that differs those with its usual value."""
    keys = [setting.key for setting in found if setting.key != "seed"] or ["seed"]
    words = ["python", "tools/report.py", "--rows", keys[0], *(["--cols", keys[1]] if len(keys) > 1 else [])]
    for key, values, _ in found:
        if key in keys[2:]:
            words += ["--where", f"{key}={max(values, key=lambda value: values[value])}"]
    return shlex.join([*words, *map(str, folders)])
