"""A table of the paper, filled with runs: its lines, the marks of runs that may not be mixed, and its sheets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mode
from typing import Any, NamedTuple

from nonlocal_video.models.complexity import Cost
from nonlocal_video.reports.tables import cells
from nonlocal_video.reports.tables.lines import TableLine, by_seed, gain_of, has_interval
from nonlocal_video.reports.tables.measures import measure_of, measure_of_report, title_of
from nonlocal_video.reports.tables.runs import Listed, Run
from nonlocal_video.reports.tables.sheet import Sheet

PAPER_DATA = ("kinetics400", "charades", "coco", "coco_keypoints")
"""The data of the numbers in the paper's tables."""


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


@dataclass(frozen=True)
class PaperRow:
    """A row of a table: what the paper has there, and what runs of it are like."""

    name: str
    label: str
    paper: Mapping[str, float]
    """The paper's metrics, in percent."""
    baseline: str | None
    expected: Expected | None
    """None for other people's numbers, which are cited only."""


class RowLine(NamedTuple):
    """A line of a row: its own, or one of runs that are marked since they are not what the row asks for."""

    row: PaperRow
    marks: tuple[str, ...]
    line: TableLine

    def paper(self, metric: str) -> float | None:
        """The paper's number; none for marked runs, which are not what it is of."""
        return None if self.marks else self.row.paper.get(metric)


class Usual(NamedTuple):
    """The protocol and the lists of most runs of a table; other runs are marked."""

    protocol: Mapping[str, Any]
    listed: Listed
    train_listed: int | None


def row_lines(rows: Sequence[PaperRow], runs: Mapping[str, Sequence[Run]]) -> list[RowLine]:
    """The lines of a table, of the runs by names of rows: for each row its own, run or not, then marked ones.

    The baseline has a line's marks, so that quarter schedules are compared with quarter schedules. Raises ValueError
    where a row has two tests with one seed and the same marks.
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
    marks, things = [], measure_of_report(run.report).things
    if trained != expected.data:
        marks.append(f"trained on {trained}")
    if tested != trained:
        marks.append(f"tested on {tested}")
    if subset != expected.subset:
        marks.append(f"classes of {Path(subset).name} only" if subset else "all classes")
    if not marks and usual is not None and run.listed != usual.listed:
        marks.append(f"other test {things}: {run.listed.number:,} listed, usually {usual.listed.number:,}")
    if not marks and usual is not None and _train_listed(run) != usual.train_listed:
        marks.append(f"other training {things}: {_train_listed(run)} listed, usually {usual.train_listed}")
    return marks


def table_sheets(lines: Sequence[RowLine], *, metrics: Sequence[str]) -> list[Sheet]:
    """The accuracies beside the paper's, and the gains over the baselines."""
    gains = _gains(lines, metrics)
    return [_accuracies(lines, metrics), *([gains] if gains.rows else [])]


def _accuracies(lines: Sequence[RowLine], metrics: Sequence[str]) -> Sheet:
    # The paper's numbers may be of other videos.
    comparable = any(row.expected is not None and row.expected.data in PAPER_DATA for row, _, _ in lines)
    measure, printed, header, rows = measure_of(metrics[0]), _printed(lines), ["row"], []
    for metric in metrics:
        header += [title_of(metric), *(["paper"] if metric in printed else [])]
        header += ["difference"] if metric in printed and comparable else []
    for row_line in lines:
        row, _, line = row_line
        shown = [line.name]
        for metric in metrics:
            reached, paper = line.accuracy(metric), row_line.paper(metric)
            shown.append(f"{reached}" if reached else "not run" if row.expected else "")
            shown += ["" if paper is None else f"{paper:.1f}"] if metric in printed else []
            if metric in printed and comparable:
                shown.append(f"{reached.mean - paper:+.1f}" if reached and paper is not None else "")
        rows.append([*shown, *cells.cost_cells(line, measure), str(len(line.runs)) if row.expected else "cited"])
    note = f"{measure.note}."
    if not comparable and printed:
        note += f" The paper's numbers are of other {measure.things} than ours: compare the gains, not the accuracies."
    note += cells.one_class_note(line for _, _, line in lines)
    return Sheet(measure.title, [*header, *cells.COSTS, "seeds"], rows, note)


def _printed(lines: Sequence[RowLine]) -> set[str]:
    """The metrics that the paper has."""
    return {metric for row, _, _ in lines for metric in row.paper}


def _paper_gain(row_line: RowLine, lines: Sequence[RowLine], metric: str) -> float | None:
    """The gain over the baseline in the paper."""
    base = next((base for base in lines if base.row.name == row_line.row.baseline and not base.marks), None)
    ours, theirs = row_line.paper(metric), base and base.paper(metric)
    return None if ours is None or theirs is None else round(ours - theirs, 2)


def _gains(lines: Sequence[RowLine], metrics: Sequence[str]) -> Sheet:
    labels, printed = {row.name: row.label for row, _, _ in lines}, _printed(lines)
    paired = any(map(has_interval, metrics))
    header, rows = ["row", "over"], []
    for metric in metrics:
        header += [*cells.gain_header(metric), *(["paper"] if metric in printed else [])]
    for row_line in lines:
        row, _, line = row_line
        if row.baseline is None or row.expected is None:
            continue
        gains = [gain_of(line, metric) for metric in metrics]
        shown = [line.name, labels[row.baseline]]
        for metric, gain in zip(metrics, gains, strict=True):
            shown += cells.gain_cells(line, gain, metric)
            paper = _paper_gain(row_line, lines, metric)
            shown += ["" if paper is None else f"{paper:+.1f}"] if metric in printed else []
        known = next((gain for gain in gains if gain is not None), None)
        counts = [str(known.seeds.seeds), str(known.num_videos)] if known else ["", ""]
        rows.append([*shown, *counts[: 1 + paired]])
    note = f"Differences in percent to the baseline {cells.gain_note(metrics)}"
    note += " The one tells of training again, the other of other videos." if paired else ""
    return Sheet("Gain over the baseline", [*header, "seeds", *(["videos"] if paired else [])], rows, note)


def table_records(lines: Sequence[RowLine], *, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """The table for programs, a record a line."""
    records = []
    for row_line in lines:
        row, marks, line = row_line
        record: dict[str, Any] = {"row": row.name, "label": row.label, "marks": "; ".join(marks)}
        record["baseline"] = row.baseline
        for metric in metrics:
            record[f"{metric}_paper"] = row_line.paper(metric)
            record[f"{metric}_paper_gain"] = _paper_gain(row_line, lines, metric)
            record |= cells.gain_record(line, metric)
        records.append(record | cells.line_record(line, metrics=metrics))
    return records
