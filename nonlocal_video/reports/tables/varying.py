"""What differs between runs, for people who ask for a table without saying of what."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.reports.tables.pivot import facts_of_test, follows
from nonlocal_video.reports.tables.runs import Run
from nonlocal_video.reports.tables.sheet import Sheet
from nonlocal_video.reports.values import ordered, spelled

SHOWN = 8
"""Values of a setting that are named."""


class Varying(NamedTuple):
    """A setting that differs between runs."""

    key: str
    values: Mapping[str, int]
    """How many tests have each, as spelled on the command line; in order."""
    followers: Sequence[str]
    """Settings that differ only because this one does."""


def varying(runs: Sequence[Run], science: Mapping[Path, Mapping[str, Any]]) -> list[Varying]:
    """The settings and facts of their tests in which runs differ, but for those that follow from others.

    Args:
        science: what makes each run what it is, by the folder of its test.
    """
    facts = [{**science[run.test], **facts_of_test(run)} for run in runs]
    choices = sorted({key for run in runs for key in run.settings if key.startswith("choices.")})
    different = [key for key in dict.fromkeys(key for one in facts for key in one) if _differs(facts, key)]
    names = [key for key in different if key.endswith(".name")]
    sources = [key for key in (*choices, *names) if _differs([run.settings | facts_of_test(run) for run in runs], key)]
    of: dict[str, str] = {}
    for key in different:
        by = next((one for one in sources if one != key and one not in of and follows(runs, facts, key, one)), None)
        if by is not None:
            of[key] = by
    kept = [key for key in (*choices, *different) if key in of.values() or (key in different and key not in of)]
    everything = [{**run.settings, **one} for run, one in zip(runs, facts, strict=True)]
    found = [Varying(key, _counts(everything, key), [one for one, by in of.items() if by == key]) for key in kept]
    return sorted(found, key=lambda one: one.key == "seed")


def _differs(facts: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({json.dumps(one.get(key)) for one in facts}) > 1


def _counts(facts: Sequence[Mapping[str, Any]], key: str) -> dict[str, int]:
    counts = Counter(spelled(one.get(key)) for one in facts)
    return {value: counts[value] for value in ordered(counts)}


def varying_sheet(found: Sequence[Varying], *, num_tests: int) -> Sheet:
    """The settings with their values, a line each."""
    rows = []
    for one in found:
        words = [f"{value} ({count})" for value, count in one.values.items()]
        words[SHOWN:] = [f"and {len(words) - SHOWN} more"] if len(words) > SHOWN else []
        rows.append([one.key, ", ".join(words), ", ".join(one.followers)])
    title = f"What differs between {num_tests} tested run{'s' * (num_tests != 1)}"
    return Sheet(title, ["setting", "values (runs)", "what differs with it"], rows)


def example(found: Sequence[Varying], folders: Sequence[Path]) -> str:
    """A command that makes a table of these runs; of a third setting that differs those with its usual value."""
    keys = [one.key for one in found if one.key != "seed"] or ["seed"]
    words = ["python", "tools/report.py", "--rows", keys[0], *(["--cols", keys[1]] if len(keys) > 1 else [])]
    for one in found:
        if one.key in keys[2:]:
            words += ["--where", f"{one.key}={Counter(one.values).most_common(1)[0][0]}"]
    return shlex.join([*words, *map(str, folders)])
