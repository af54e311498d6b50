"""What a table of the paper shows: accuracies beside the paper's, gains over the baselines, where they come from."""

from collections.abc import Sequence
from typing import Any

from nonlocal_video.reports.tables.cells import (
    cost_cells,
    gain_cells,
    gain_header,
    gain_record,
    line_record,
    one_class_note,
    title_of,
)
from nonlocal_video.reports.tables.lines import Gain, gain_of
from nonlocal_video.reports.tables.rows import RowLine
from nonlocal_video.reports.tables.sheet import Sheet

PAPER_DATA = ("kinetics400", "charades")
"""What the numbers of the paper's tables are of."""
PAPER = ("top1", "top5", "map")
"""The metrics that they are in."""


def table_sheets(lines: Sequence[RowLine], *, metrics: Sequence[str]) -> list[Sheet]:
    """The accuracies beside the paper's, and the gains over the baselines."""
    gains = _gains(lines, metrics)
    return [_accuracies(lines, metrics), *([gains] if gains.rows else [])]


def _accuracies(lines: Sequence[RowLine], metrics: Sequence[str]) -> Sheet:
    comparable = any(_comparable(one) for one in lines)
    header, rows = ["row"], []
    for metric in metrics:
        header += [title_of(metric), *(["paper"] if metric in PAPER else [])]
        header += ["difference"] if metric in PAPER and comparable else []
    for one in lines:
        cells = [one.line.name]
        for metric in metrics:
            reached, paper = one.line.accuracy(metric), paper_value(one, metric)
            cells.append(str(reached) if reached else "not run" if one.row.expected else "")
            cells += [_number(paper)] if metric in PAPER else []
            if metric in PAPER and comparable:
                cells.append(f"{reached.mean - paper:+.1f}" if reached and paper is not None else "")
        rows.append([*cells, *cost_cells(one.line), str(len(one.line.runs)) if one.row.expected else "cited"])
    note = (
        "Percent of all listed videos, a missing or broken one counts as not recognised; mean ± standard deviation "
        "over the seeds. Parameters are weights of convolutions and fc, FLOPs multiply-adds of a clip, as in the paper."
    )
    if not comparable:
        note += " The paper's numbers are of other videos than ours: compare the gains, not the accuracies."
    note += one_class_note(one.line for one in lines)
    return Sheet("Accuracy", [*header, "parameters (M)", "GFLOPs", "seeds"], rows, note)


def _comparable(one: RowLine) -> bool:
    """Whether a row is of the videos that the paper's number is of."""
    return one.row.expected is not None and one.row.expected.data in PAPER_DATA


def paper_value(one: RowLine, metric: str) -> float | None:
    """The paper's number; none for marked runs, which are not what it is of."""
    return None if one.marks else one.row.paper.get(metric)


def paper_gain(one: RowLine, lines: Sequence[RowLine], metric: str) -> float | None:
    """What the paper gains over its baseline."""
    for base in lines:
        if base.row.name == one.row.baseline and not base.marks:
            ours, theirs = paper_value(one, metric), paper_value(base, metric)
            return None if ours is None or theirs is None else round(ours - theirs, 2)
    return None


def _number(value: float | None, form: str = ".1f") -> str:
    return "" if value is None else format(value, form)


def _gains(lines: Sequence[RowLine], metrics: Sequence[str]) -> Sheet:
    labels = {one.row.name: one.row.label for one in lines}
    header, rows = ["row", "over"], []
    for metric in metrics:
        header += [*gain_header(metric), *(["paper"] if metric in PAPER else [])]
    for one in lines:
        if one.row.baseline is None or one.row.expected is None:
            continue
        gains = [gain_of(one.line, metric) for metric in metrics]
        cells = [one.line.name, labels[one.row.baseline]]
        for metric, gain in zip(metrics, gains, strict=True):
            cells += gain_cells(one.line, gain, metric)
            cells += [_number(paper_gain(one, lines, metric), "+.1f")] if metric in PAPER else []
        rows.append([*cells, *_shared(gains)])
    note = (
        "Differences in percent to the baseline with the same seeds, on the videos that both decoded: mean ± standard "
        "deviation over the seeds, and the paired 95% interval over the choice of the videos, of these trained "
        "networks. The one tells of training again, the other of other videos."
    )
    return Sheet("Gain over the baseline", [*header, "seeds", "videos"], rows, note)


def _shared(gains: Sequence[Gain | None]) -> list[str]:
    """The numbers of seeds and of videos of a comparison."""
    known = [gain for gain in gains if gain is not None]
    return [str(known[0].seeds.seeds), str(known[0].num_videos)] if known else ["", ""]


def table_records(lines: Sequence[RowLine], *, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """The same for programs, a line of the table each."""
    records = []
    for one in lines:
        record: dict[str, Any] = {
            "row": one.row.name,
            "label": one.row.label,
            "marks": "; ".join(one.marks),
            "baseline": one.row.baseline,
        }
        for metric in metrics:
            record |= {f"{metric}_paper": paper_value(one, metric)}
            record |= {f"{metric}_paper_gain": paper_gain(one, lines, metric)}
            record |= gain_record(one.line, metric)
        records.append(record | line_record(one.line, metrics=metrics))
    return records
