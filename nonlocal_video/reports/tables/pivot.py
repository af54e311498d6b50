"""Anyone's own sweep as a table: any setting against any other, over the seeds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nonlocal_video.models.complexity import Cost
from nonlocal_video.reports.tables import cells
from nonlocal_video.reports.tables.lines import TableLine, by_seed, gain_of
from nonlocal_video.reports.tables.measures import measure_of, title_of
from nonlocal_video.reports.tables.runs import Run
from nonlocal_video.reports.tables.sheet import Sheet
from nonlocal_video.reports.values import found_in, labels, named_labels, ordered, spelled

FOLLOWING = {
    "data": ("model.num_classes", "test.data"),
    "clip": (
        "model.clip_length", "model.clip_stride", "model.crop", "model.name", "protocol.short_side", "protocol.fps",
        "image.short_sides", "image.flip",
    ),
}  # fmt: skip
"""Settings and facts outside a group that are made from it."""
ALONE = ""
"""The name of the only column where there are no keys for columns."""


@dataclass(frozen=True)
class Grid:
    """A line for each row and column."""

    rows_key: str
    lines: Mapping[tuple[str, str], TableLine]
    """By the values of row and column, in the order of the table."""
    rows: Mapping[str, str]
    """The words for the values of the rows, beside the name of the setting."""
    columns: Mapping[str, str]
    """The words for the values of the columns, alone."""


def pick(runs: Sequence[Run], where: Mapping[str, str]) -> list[Run]:
    """The runs whose settings have these values. Raises ValueError where no run has one, and says which there are."""
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
    """A setting, or a fact of the test, as on the command line. Raises ValueError that names similar ones."""
    known = {**run.settings, **run.facts}
    if key not in known:
        near = get_close_matches(key, known, n=5, cutoff=0.4) or ["model.pairwise", "data.name", "protocol.name"]
        raise ValueError(f"{key}: not a setting of {run.folder}/config.yaml; expected one, such as {', '.join(near)}")
    return spelled(known[key])


def grid(
    runs: Sequence[Run], *, rows: str, columns: str | None, baseline: str | None, costs: Mapping[Path, Cost | None]
) -> Grid:
    """Sorts runs into rows and columns, the values of these settings; the runs of a cell differ in their seed only.

    Args:
        baseline: the row that others are compared with.
        costs: the cost of each run's network, by the folder of its test.

    Raises:
        ValueError: no such setting or row, an unfinished run, one cell with two tests of one seed, or other settings
            that differ; names them.
    """
    _check_alike(runs, keys=[key for key in (rows, columns) if key is not None])
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        cell = value_of(run, rows), value_of(run, columns) if columns else ALONE
        groups.setdefault(cell, []).append(run)
    row_names, column_names = (ordered(names) for names in zip(*groups, strict=True))
    base_name = None if baseline is None else found_in(baseline, row_names)
    if baseline is not None and base_name is None:
        raise ValueError(f"--baseline {baseline}: no such row; expected one of {', '.join(row_names)}")
    row_names.sort(key=lambda name: name != base_name)
    shown, headings = labels(row_names), named_labels(columns, column_names) if columns else {ALONE: ALONE}
    lines: dict[tuple[str, str], TableLine] = {}
    for row in row_names:
        for column in column_names:
            name = f"{shown[row]}, {headings[column]}" if columns else shown[row]
            of_cell = by_seed(name, groups.get((row, column), []), what="cell")
            line = TableLine(name, of_cell, costs[of_cell[0].test] if of_cell else None)
            base = lines.get((base_name, column)) if base_name is not None else None  # None at the baseline itself.
            lines[row, column] = replace(line, baseline=base)
    return Grid(rows, lines, shown, headings)


def _check_alike(runs: Sequence[Run], *, keys: Sequence[str]) -> None:
    """Makes sure that runs are finished and differ in nothing but the keys, what follows from them, and the seed."""
    for run in runs:
        step, steps = run.report["step"], run.report["steps"]
        if step != steps:
            raise ValueError(f"{run.folder}: was tested at step {step} of {steps}; finish it, or leave it out")
    free = ("seed", *keys)
    named = dict.fromkeys(key for run in runs for key in run.facts if key not in free)
    values = {key: ordered(spelled(run.facts.get(key)) for run in runs) for key in named}
    different = [
        f"  {key}: {', '.join(found)}\n"
        for key, found in values.items()
        if len(found) > 1 and not any(follows(runs, key, by) for by in keys)
    ]
    if different:
        raise ValueError(
            f"these runs differ in more than {', '.join(free)}, so that they do not go into one table:\n"
            + "".join(different)
            + "leave some out with --where KEY=VALUE, or make one of these --rows or --cols"
        )
    first: dict[str, Run] = {}
    for run in runs:
        other = first.setdefault(run.report["data"], run)
        if run.listed != other.listed:
            raise ValueError(f"{run.test}: was tested on another list than {other.test}; leave one of them out")


def follows(runs: Sequence[Run], key: str, by: str) -> bool:
    """Whether a setting may follow from another one, and does: as all of `model` follows from `choices.model`."""
    group = by.removeprefix("choices.") if by.startswith("choices.") else by.partition(".")[0]
    whole = key.startswith(f"{group}.") and (by.startswith("choices.") or by == f"{group}.name")
    if group == "experiment":
        may = not key.startswith("protocol.") or key in FOLLOWING["clip"]
    else:
        may = whole or key in FOLLOWING.get(group, ())
    pairs = {(value_of(run, by), json.dumps(run.facts.get(key))) for run in runs}
    return may and len(pairs) == len({value for value, _ in pairs})


def grid_sheets(found: Grid, *, metrics: Sequence[str]) -> list[Sheet]:
    """The accuracies, and the gains over the baseline if there is one."""
    sheets = [_accuracies(found, metrics)]
    if any(line.baseline for line in found.lines.values()):
        sheets.append(_gains(found, metrics))
    return sheets


def _accuracies(found: Grid, metrics: Sequence[str]) -> Sheet:
    measure, header = measure_of(metrics[0]), [found.rows_key]
    header += [title_of(metric, column=words) for words in found.columns.values() for metric in metrics]
    rows = []
    for row, words in found.rows.items():
        lines = [found.lines[row, column] for column in found.columns]
        reached = [line.accuracy(metric) for line in lines for metric in metrics]
        seeds = dict.fromkeys(", ".join(str(run.seed) for run in line.runs) or "none" for line in lines)
        costs = dict.fromkeys(tuple(cells.cost_cells(line, measure)) for line in lines if line.runs)
        both = [" / ".join(dict.fromkeys(numbers)) for numbers in zip(*costs, strict=True)]
        shown = ["not run" if accuracy is None else f"{accuracy}" for accuracy in reached]
        rows.append([words, *shown, *both, " / ".join(seeds)])
    note = f"{measure.note}.{cells.one_class_note(found.lines.values())}"
    return Sheet(measure.title, [*header, *cells.COSTS, "seeds"], rows, note)


def _gains(found: Grid, metrics: Sequence[str]) -> Sheet:
    parts = [(column, metric) for column in found.columns for metric in metrics]
    header, rows = [found.rows_key], []
    for column, metric in parts:
        header += cells.gain_header(metric, column=found.columns[column])
    (_, base), *others = found.rows.items()
    for row, words in others:
        shown = [words]
        for column, metric in parts:
            line = found.lines[row, column]
            shown += cells.gain_cells(line, gain_of(line, metric), metric)
        rows.append(shown)
    note = f"Differences in percent over the baseline {cells.gain_note(metrics)}"
    return Sheet(f"Gain over {base}", header, rows, note)


def grid_records(found: Grid, *, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """The table for programs, a record a cell."""
    records = []
    for (row, column), line in found.lines.items():
        record: dict[str, Any] = {"row": row, "column": column}
        for metric in metrics:
            record |= cells.gain_record(line, metric)
        records.append(record | cells.line_record(line, metrics=metrics))
    return records
