"""The parts that tables over many runs share: the cells of a line, records, and where the numbers come from."""

from collections.abc import Iterable, Sequence
from typing import Any

from nonlocal_video.reports.tables.lines import Gain, TableLine, gain_of, has_interval, measured
from nonlocal_video.reports.tables.measures import Measure, measure_of, title_of
from nonlocal_video.reports.tables.runs import Run
from nonlocal_video.reports.tables.sheet import Sheet

COSTS = ("parameters (M)", "GFLOPs")


def gain_note(metrics: Sequence[str]) -> str:
    """How the gains of a table are made."""
    if not any(map(has_interval, metrics)):
        return "with the same seeds: mean ± standard deviation over the seeds."
    return (
        "with the same seeds, on the videos that both decoded: mean ± standard deviation over the seeds, and the "
        "paired 95% interval over the choice of the videos, of these trained networks."
    )


def seeds_words(runs: Sequence[Run]) -> str:
    """`seed 0`, or `seeds 0, 1, 2`."""
    return f"seed{'s' * (len(runs) > 1)} {', '.join(str(run.seed) for run in runs)}"


def cost_cells(line: TableLine, measure: Measure) -> list[str]:
    """Millions of parameters and billions of multiply-adds."""
    if line.cost is None:
        return ["", ""]
    return [f"{getattr(line.cost, measure.size) / 1e6:.4g}", f"{line.cost.macs / 1e9:.4g}"]


def one_class_note(lines: Iterable[TableLine]) -> str:
    """Which tests took every video for one class, which their accuracies do not tell; nothing if none did."""
    alike = []
    for line in lines:
        runs = [run for run in line.runs if run.report.get("only_class") is not None]
        alike += [f"{line.name} ({seeds_words(runs)})"] if runs else []
    return f" Every video was taken for one and the same class in these rows: {'; '.join(alike)}." if alike else ""


def gain_header(metric: str, *, column: str = "") -> list[str]:
    """The names of the columns of a gain."""
    return [title_of(metric, column=column), *(["95% over videos"] if has_interval(metric) else [])]


def gain_cells(line: TableLine, gain: Gain | None, metric: str) -> list[str]:
    """A gain, and its interval over the videos where there is one for the metric."""
    interval = [""] if has_interval(metric) else []
    if gain is None:
        return ["no baseline" if line.runs else "not run", *interval]
    if gain.videos is not None:
        interval = [f"{gain.videos.low:+.1f} to {gain.videos.high:+.1f}"]
    return [f"{gain.seeds:+}", *interval]


def gain_record(line: TableLine, metric: str) -> dict[str, Any]:
    """A gain with all digits, for programs; empty if there is none."""
    gain = gain_of(line, metric)
    if gain is None:
        return {}
    mean, deviation, seeds = gain.seeds
    record = {f"{metric}_gain": mean, f"{metric}_gain_deviation": deviation, "gain_seeds": seeds}
    if gain.videos is not None:
        record |= {f"{metric}_gain_low": gain.videos.low, f"{metric}_gain_high": gain.videos.high}
        record |= {"gain_videos": gain.num_videos}
    return record


def line_record(line: TableLine, *, metrics: Sequence[str]) -> dict[str, Any]:
    """Accuracies with all digits, the network's cost, and where they come from."""
    record: dict[str, Any] = {}
    for metric in metrics:
        mean, deviation, _ = line.accuracy(metric) or (None, None, 0)
        record |= {metric: mean, f"{metric}_deviation": deviation}
    if line.cost is not None:
        record |= {"weights": line.cost.weights, "parameters": line.cost.parameters, "macs": line.cost.macs}
    return {**record, **_origin(line, measure_of(metrics[0])), "runs": " ".join(str(run.folder) for run in line.runs)}


def origin_sheet(lines: Iterable[TableLine]) -> Sheet:
    """The code, the videos or images, and the protocol of each line."""
    lines = list(lines)
    measure = measured(lines)
    header = ["row", "seeds", "commit", f"test {measure.things}", f"training {measure.things}", "protocol"]
    rows = [[line.name, *_origin(line, measure).values()] for line in lines if line.runs]
    note = f"{measure.counts_note} A commit stands for training, then for testing where that was another."
    return Sheet("Where the numbers come from", header, rows, note)


def _origin(line: TableLine, measure: Measure) -> dict[str, str]:
    counts = [f"{part}_{measure.things}" for part in ("test", "train")]
    found: dict[str, list[str]] = {key: [] for key in ("seeds", "commit", *counts, "protocol")}
    for run in line.runs:
        commit, census = run.report.get("commit") or {}, run.report.get("train_census")
        trained, tested = (commit.get(key) or "unknown" for key in ("training", "testing"))
        found["seeds"].append(str(run.seed))
        found["commit"].append(trained if trained == tested else f"{trained}, tested {tested}")
        for key, words, listed in zip(counts, measure.counts, (run.report[measure.things], census), strict=True):
            found[key].append(words.format(**listed) if listed else "unknown")
        found["protocol"].append(str(run.report["protocol"]["name"]))
    return {key: (", " if key == "seeds" else "; ").join(dict.fromkeys(words)) for key, words in found.items()}
