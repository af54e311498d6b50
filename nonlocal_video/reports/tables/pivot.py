"""Anyone's own sweep as a table: any setting against any other, over the seeds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nonlocal_video.models.complexity import Cost
from nonlocal_video.reports.tables.cells import (
    cost_cells,
    gain_cells,
    gain_header,
    gain_record,
    line_record,
    one_class_note,
    title_of,
)
from nonlocal_video.reports.tables.lines import Line, by_seed, gain_of
from nonlocal_video.reports.tables.runs import Run
from nonlocal_video.reports.tables.sheet import Sheet
from nonlocal_video.reports.values import found_in, labels, named_labels, ordered, spelled

FOLLOWING = {
    "data": ("model.num_classes", "test.data"),
    "clip": (
        "model.clip_length", "model.clip_stride", "model.crop", "model.name", "protocol.short_side", "protocol.fps",
    ),
}  # fmt: skip
"""Settings and facts outside a group that are made from it."""
ALONE = ""
"""The name of the only column where there are no keys for columns."""


ACCURACY = (
    "Percent of all listed videos, a missing or broken one counts as not recognised; mean ± standard deviation over "
    "the seeds. Parameters are weights of convolutions and fc, FLOPs multiply-adds of a clip."
)
GAIN = (
    "Differences in percent with the same seeds, on the videos that both decoded: mean ± standard deviation over the "
    "seeds, and the paired 95% interval over the choice of the videos, of these trained networks."
)


@dataclass(frozen=True)
class Grid:
    """A line for each row and column."""

    rows_key: str
    lines: Mapping[tuple[str, str], Line]
    """By the values of row and column, in the order of the table."""
    row_labels: Mapping[str, str]
    """What is shown for the value of a row, beside the name of the setting."""
    headings: Mapping[str, str]
    """What is shown for that of a column, alone."""

    @property
    def rows(self) -> list[str]:
        return list(dict.fromkeys(row for row, _ in self.lines))

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for _, column in self.lines))


def facts_of_test(run: Run) -> dict[str, Any]:
    """What makes a test what it is: `protocol.*`, and the data as `test.data`."""
    return {"test.data": run.report["data"], **{f"protocol.{k}": value for k, value in run.report["protocol"].items()}}


def pick(runs: Sequence[Run], where: Mapping[str, str]) -> list[Run]:
    """The runs whose settings have these values.

    Raises:
        ValueError: no such setting, or no run has the value; says which values there are.
    """
    kept = list(runs)
    for key, value in where.items():
        values = {run.test: value_of(run, key) for run in kept}
        meant = found_in(value, values.values())
        if meant is None:
            there = ", ".join(ordered(values.values()))
            raise ValueError(f"--where {key}={value}: no run has it; expected one of {there}")
        kept = [run for run in kept if values[run.test] == meant]
    return kept


def value_of(run: Run, key: str) -> str:
    """The value of a setting, or of a fact of the test, as on the command line.

    Raises:
        ValueError: the run has no such setting; names similar ones.
    """
    facts = {**run.settings, **facts_of_test(run)}
    if key not in facts:
        near = get_close_matches(key, facts, n=5, cutoff=0.4) or ["model.pairwise", "data.name", "protocol.name"]
        raise ValueError(f"{key}: not a setting of {run.folder}/config.yaml; expected one, such as {', '.join(near)}")
    return spelled(facts[key])


def grid(
    runs: Sequence[Run],
    *,
    rows: str,
    columns: str | None,
    baseline: str | None,
    science: Mapping[Path, Mapping[str, Any]],
    costs: Mapping[Path, Cost],
) -> Grid:
    """Sorts runs into rows and columns; the runs of a cell differ in their seed only.

    Args:
        rows: the setting whose values are the rows.
        columns: that of the columns; None for a single one.
        baseline: the row that others are compared with.
        science: what makes each run what it is, by the folder of its test: settings that must not differ unnoticed.
        costs: of its network, in the same way.

    Raises:
        ValueError: no such setting or row, an unfinished run, one cell with two tests of one seed, or other settings
            that differ; names them.
    """
    _check_finished(runs)
    check_alike(runs, science, keys=[key for key in (rows, columns) if key is not None])
    cells: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        cell = value_of(run, rows), value_of(run, columns) if columns else ALONE
        cells.setdefault(cell, []).append(run)
    row_names, column_names = (ordered(names) for names in zip(*cells, strict=True))
    base_name = None if baseline is None else found_in(baseline, row_names)
    if baseline is not None:
        if base_name is None:
            raise ValueError(f"--baseline {baseline}: no such row; expected one of {', '.join(row_names)}")
        row_names.sort(key=lambda name: name != base_name)
    shown, headings = labels(row_names), named_labels(columns, column_names) if columns else {ALONE: ALONE}
    lines: dict[tuple[str, str], Line] = {}
    for row in row_names:
        for column in column_names:
            group = cells.get((row, column), [])
            name = f"{shown[row]}, {headings[column]}" if columns else shown[row]
            runs_of_cell = by_seed(name, group, what="cell")
            line = Line(name, runs_of_cell, costs[runs_of_cell[0].test] if runs_of_cell else None)
            base = lines.get((base_name, column)) if base_name is not None else None  # None at the baseline itself.
            lines[row, column] = replace(line, baseline=base)
    return Grid(rows, lines, shown, headings)


def _check_finished(runs: Sequence[Run]) -> None:
    for run in runs:
        step, steps = run.report["step"], run.report["steps"]
        if step != steps:
            raise ValueError(f"{run.folder}: was tested at step {step} of {steps}; finish it, or leave it out")


def check_alike(runs: Sequence[Run], science: Mapping[Path, Mapping[str, Any]], *, keys: Sequence[str]) -> None:
    """Makes sure that runs differ in nothing but the keys, what follows from them, and the seed.

    Raises:
        ValueError: they differ in something else, or were tested on other videos of one data set.
    """
    facts = [{**science[run.test], **facts_of_test(run)} for run in runs]
    free = ("seed", *keys)
    named = dict.fromkeys(key for one in facts for key in one if key not in free)
    values = {key: {spelled(one.get(key)) for one in facts} for key in named}
    different = [
        f"  {key}: {', '.join(ordered(values[key]))}"
        for key in named
        if len(values[key]) > 1 and not any(follows(runs, facts, key, one) for one in keys)
    ]
    if different:
        raise ValueError(
            f"these runs differ in more than {', '.join(free)}, so that they do not go into one table:\n"
            + "\n".join(different)
            + "\nleave some out with --where KEY=VALUE, or make one of these --rows or --cols"
        )
    listed: dict[str, Run] = {}
    for run in runs:
        first = listed.setdefault(run.report["data"], run)
        if run.listed != first.listed:
            raise ValueError(f"{run.test}: was tested on other videos than {first.test}; leave one of them out")


def follows(runs: Sequence[Run], facts: Sequence[Mapping[str, Any]], key: str, by: str) -> bool:
    """Whether a setting may follow from another one, and does: as all of `model` follows from `choices.model`."""
    group = by.removeprefix("choices.") if by.startswith("choices.") else by.partition(".")[0]
    whole = key.startswith(f"{group}.") and (by.startswith("choices.") or by == f"{group}.name")
    if group == "experiment":
        may = not key.startswith("protocol.") or key in FOLLOWING["clip"]
    else:
        may = whole or key in FOLLOWING.get(group, ())
    pairs = {(value_of(run, by), json.dumps(one.get(key))) for run, one in zip(runs, facts, strict=True)}
    return may and len(pairs) == len({value for value, _ in pairs})


def grid_sheets(found: Grid, *, metrics: Sequence[str]) -> list[Sheet]:
    """The accuracies, and the gains over the baseline if there is one."""
    sheets = [_accuracies(found, metrics)]
    if any(line.baseline for line in found.lines.values()):
        sheets.append(_gains(found, metrics))
    return sheets


def _accuracies(found: Grid, metrics: Sequence[str]) -> Sheet:
    header = [found.rows_key]
    header += [_heading(found.headings[column], metric) for column in found.columns for metric in metrics]
    rows = []
    for row in found.rows:
        lines = [found.lines[row, column] for column in found.columns]
        reached = [line.accuracy(metric) for line in lines for metric in metrics]
        seeds = dict.fromkeys(", ".join(str(run.seed) for run in line.runs) or "none" for line in lines)
        costs = dict.fromkeys(tuple(cost_cells(line)) for line in lines if line.runs)
        both = [" / ".join(dict.fromkeys(cells)) for cells in zip(*costs, strict=True)]
        cells = ["not run" if one is None else str(one) for one in reached]
        rows.append([found.row_labels[row], *cells, *both, " / ".join(seeds)])
    note = ACCURACY + one_class_note(found.lines.values())
    return Sheet("Accuracy", [*header, "parameters (M)", "GFLOPs", "seeds"], rows, note)


def _heading(column: str, metric: str) -> str:
    return f"{column}: {title_of(metric)}" if column != ALONE else title_of(metric)


def _gains(found: Grid, metrics: Sequence[str]) -> Sheet:
    header = [found.rows_key]
    for column in found.columns:
        for metric in metrics:
            header += gain_header(metric, column=found.headings[column])
    rows = []
    for row in found.rows[1:]:
        cells = [found.row_labels[row]]
        for column in found.columns:
            line = found.lines[row, column]
            for metric in metrics:
                cells += gain_cells(line, gain_of(line, metric), metric)
        rows.append(cells)
    return Sheet(f"Gain over {found.row_labels[found.rows[0]]}", header, rows, GAIN)


def grid_records(found: Grid, *, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """The same for programs, a cell each."""
    records = []
    for (row, column), line in found.lines.items():
        gains = [gain_record(line, metric) for metric in metrics]
        record: dict[str, Any] = {"row": row, "column": column}
        for one in (*gains, line_record(line, metrics=metrics)):
            record |= one
        records.append(record)
    return records
