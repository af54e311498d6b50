"""A table of the paper, filled with runs: which row a run belongs to is known, here it is what it may be mixed with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mode
from typing import Any, NamedTuple

from nonlocal_video.models.complexity import Cost
from nonlocal_video.reports.tables.lines import TableLine, by_seed
from nonlocal_video.reports.tables.runs import Run


@dataclass(frozen=True)
class Expected:
    """The properties of a row's runs besides their scientific settings; a run with others is marked."""

    steps: int
    milestones: tuple[int, ...]
    data: str
    subset: str | None
    """The file of the classes that are left; None for all."""
    num_classes: int
    protocol: str
    cost: Cost | None
    """What the network costs, where it is known."""


@dataclass(frozen=True)
class PaperRow:
    """A row of a table: what the paper has there, and what runs of it are like."""

    name: str
    label: str
    paper: Mapping[str, float]
    """The paper's metrics, in percent."""
    baseline: str | None
    """The row that it is compared with."""
    expected: Expected | None
    """None for other people's numbers, which are cited only."""


class RowLine(NamedTuple):
    """A line of a row: its own, or one of runs that are marked since they are not what the row asks for."""

    row: PaperRow
    marks: tuple[str, ...]
    line: TableLine


class Usual(NamedTuple):
    """The protocol and the lists of most runs of a table; other runs are marked."""

    protocol: Mapping[str, Any]
    listed: frozenset[str]
    train_listed: int | None


def row_lines(rows: Sequence[PaperRow], runs: Mapping[str, Sequence[Run]]) -> list[RowLine]:
    """The lines of a table: for each row its own, run or not, then marked ones.

    A line's baseline has the same marks, so that quarter schedules are compared with quarter schedules.

    Args:
        runs: the runs of each row, by its name.

    Raises:
        ValueError: a row has two tests with one seed and the same marks.
    """
    usual, found = _usual(rows, runs), dict[tuple[str | None, tuple[str, ...]], RowLine]()
    for row in rows:
        groups: dict[tuple[str, ...], list[Run]] = {(): []}
        for run in runs.get(row.name, ()):
            assert row.expected is not None, "a row that is only cited has no runs"
            groups.setdefault(_marks(run, row.expected, usual), []).append(run)
        for marks, group in sorted(groups.items()):
            name = f"{row.label}: {', '.join(marks)}" if marks else row.label
            cost = row.expected.cost if row.expected else None
            found[row.name, marks] = RowLine(row, marks, TableLine(name, by_seed(row.name, group, what="row"), cost))
    lines = []
    for row_line in found.values():
        base = found.get((row_line.row.baseline, row_line.marks))
        lines.append(row_line._replace(line=replace(row_line.line, baseline=base and base.line)))
    return lines


def _usual(rows: Sequence[PaperRow], runs: Mapping[str, Sequence[Run]]) -> Usual | None:
    """None if no run is what its row asks for."""
    plain = [
        run
        for row in rows
        for run in runs.get(row.name, ())
        if row.expected is not None and not _marks(run, row.expected, None)
    ]
    if not plain:
        return None
    protocol = mode(tuple(sorted(run.report["protocol"].items())) for run in plain)
    return Usual(dict(protocol), mode(run.listed for run in plain), mode(map(_train_listed, plain)))


def _train_listed(run: Run) -> int | None:
    census = run.report.get("train_census")
    return None if census is None else int(census["listed"])


def _marks(run: Run, expected: Expected, usual: Usual | None) -> tuple[str, ...]:
    """How a run differs from what its row asks for, in words; nothing if it may stand in the row."""
    protocol = run.report["protocol"]
    marks = [*_schedule_marks(run, expected), *_data_marks(run, expected, usual)]
    if protocol["name"] != expected.protocol:
        marks.append(f"protocol {protocol['name']}")
    elif usual is not None:
        changed = [key for key, value in usual.protocol.items() if protocol.get(key) != value]
        marks += [f"protocol {protocol['name']} with {key} {protocol.get(key)}" for key in changed]
    return tuple(marks)


def _schedule_marks(run: Run, expected: Expected) -> list[str]:
    steps, milestones = run.settings["optim.steps"], tuple(run.settings["optim.milestones"])
    marks = []
    if steps != expected.steps:
        words = {4: "quarter", 2: "half"}.get(expected.steps / steps, "another")
        marks.append(f"{words} schedule: {steps:,} of {expected.steps:,} steps")
    elif milestones != expected.milestones:
        ours, theirs = (" and ".join(f"{m:,}" for m in side) or "none" for side in (milestones, expected.milestones))
        marks.append(f"another schedule: milestones {ours} instead of {theirs}")
    if run.report["step"] != run.report["steps"]:
        marks.append(f"unfinished: step {run.report['step']:,} of {run.report['steps']:,}")
    return marks


def _data_marks(run: Run, expected: Expected, usual: Usual | None) -> list[str]:
    trained, tested, subset = run.settings["data.name"], run.report["data"], run.settings.get("data.subset")
    marks = []
    if trained != expected.data:
        marks.append(f"trained on {trained}")
    if tested != trained:
        marks.append(f"tested on {tested}")
    if subset != expected.subset:
        marks.append(f"classes of {Path(subset).name} only" if subset else "all classes")
    if not marks and usual is not None and run.listed != usual.listed:
        marks.append(f"other test videos: {len(run.listed):,} listed, usually {len(usual.listed):,}")
    if not marks and usual is not None and _train_listed(run) != usual.train_listed:
        marks.append(f"other training videos: {_train_listed(run)} listed, usually {usual.train_listed}")
    return marks
