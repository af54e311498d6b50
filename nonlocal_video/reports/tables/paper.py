"""The sheets of a table of the paper: accuracies beside the paper's, gains over the baselines."""

from collections.abc import Sequence
from typing import Any

from nonlocal_video.reports.tables import cells
from nonlocal_video.reports.tables.lines import gain_of
from nonlocal_video.reports.tables.rows import RowLine
from nonlocal_video.reports.tables.sheet import Sheet

PAPER_DATA = ("kinetics400", "charades")
"""The data of the numbers in the paper's tables."""
PAPER = ("top1", "top5", "map")
"""The metrics that the paper has."""


def table_sheets(lines: Sequence[RowLine], *, metrics: Sequence[str]) -> list[Sheet]:
    """The accuracies beside the paper's, and the gains over the baselines."""
    gains = _gains(lines, metrics)
    return [_accuracies(lines, metrics), *([gains] if gains.rows else [])]


def _accuracies(lines: Sequence[RowLine], metrics: Sequence[str]) -> Sheet:
    # The paper's numbers may be of other videos.
    comparable = any(row.expected is not None and row.expected.data in PAPER_DATA for row, _, _ in lines)
    header, rows = ["row"], []
    for metric in metrics:
        header += [cells.title_of(metric), *(["paper"] if metric in PAPER else [])]
        header += ["difference"] if metric in PAPER and comparable else []
    for row_line in lines:
        row, _, line = row_line
        shown = [line.name]
        for metric in metrics:
            reached, paper = line.accuracy(metric), paper_value(row_line, metric)
            shown.append(f"{reached}" if reached else "not run" if row.expected else "")
            shown += [_number(paper, ".1f")] if metric in PAPER else []
            if metric in PAPER and comparable:
                shown.append(f"{reached.mean - paper:+.1f}" if reached and paper is not None else "")
        rows.append([*shown, *cells.cost_cells(line), str(len(line.runs)) if row.expected else "cited"])
    note = f"{cells.ACCURACY}, as in the paper."
    if not comparable:
        note += " The paper's numbers are of other videos than ours: compare the gains, not the accuracies."
    note += cells.one_class_note(line for _, _, line in lines)
    return Sheet("Accuracy", [*header, *cells.COSTS, "seeds"], rows, note)


def paper_value(row_line: RowLine, metric: str) -> float | None:
    """The paper's number; none for marked runs, which are not what it is of."""
    return None if row_line.marks else row_line.row.paper.get(metric)


def paper_gain(row_line: RowLine, lines: Sequence[RowLine], metric: str) -> float | None:
    """The gain over the baseline in the paper."""
    base = next((base for base in lines if base.row.name == row_line.row.baseline and not base.marks), None)
    ours, theirs = paper_value(row_line, metric), base and paper_value(base, metric)
    return None if ours is None or theirs is None else round(ours - theirs, 2)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _gains(lines: Sequence[RowLine], metrics: Sequence[str]) -> Sheet:
    labels = {row.name: row.label for row, _, _ in lines}
    header, rows = ["row", "over"], []
    for metric in metrics:
        header += [*cells.gain_header(metric), *(["paper"] if metric in PAPER else [])]
    for row_line in lines:
        row, _, line = row_line
        if row.baseline is None or row.expected is None:
            continue
        gains = [gain_of(line, metric) for metric in metrics]
        shown = [line.name, labels[row.baseline]]
        for metric, gain in zip(metrics, gains, strict=True):
            shown += cells.gain_cells(line, gain, metric)
            shown += [_number(paper_gain(row_line, lines, metric), "+.1f")] if metric in PAPER else []
        known = next((gain for gain in gains if gain is not None), None)
        rows.append([*shown, *([str(known.seeds.seeds), str(known.num_videos)] if known else ["", ""])])
    note = f"Differences in percent to the baseline {cells.GAIN} The one tells of training again, the other of other "
    return Sheet("Gain over the baseline", [*header, "seeds", "videos"], rows, f"{note}videos.")


def table_records(lines: Sequence[RowLine], *, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """The table for programs, a record a line."""
    records = []
    for row_line in lines:
        row, marks, line = row_line
        record: dict[str, Any] = {"row": row.name, "label": row.label, "marks": "; ".join(marks)}
        record["baseline"] = row.baseline
        for metric in metrics:
            record[f"{metric}_paper"] = paper_value(row_line, metric)
            record[f"{metric}_paper_gain"] = paper_gain(row_line, lines, metric)
            record |= cells.gain_record(line, metric)
        records.append(record | cells.line_record(line, metrics=metrics))
    return records
