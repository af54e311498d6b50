"""What the tables over many runs share: the cells of a line, and where its numbers come from."""

from collections.abc import Iterable, Sequence
from typing import Any

from nonlocal_video.reports.tables.lines import Gain, Line, gain_of, has_interval
from nonlocal_video.reports.tables.runs import Run
from nonlocal_video.reports.tables.sheet import Sheet


def title_of(metric: str) -> str:
    """first_clip_top1 -> first clip top-1, weighted_map -> weighted mAP."""
    if metric.endswith("map"):
        return f"{metric.removesuffix('map').replace('_', ' ')}mAP"
    kind, _, k = metric.rpartition("top")
    words = {"train_": "training ", "mean_class_": "mean of classes "}.get(kind, kind.replace("_", " "))
    return f"{words}top-{k.replace('_', ' ')}"


def cost_cells(line: Line) -> list[str]:
    """Millions of weights and billions of multiply-adds."""
    if line.cost is None:
        return ["", ""]
    return [f"{line.cost.weights / 1e6:.4g}", f"{line.cost.macs / 1e9:.4g}"]


def one_class_note(lines: Iterable[Line]) -> str:
    """Which tests took every video for one class, which their accuracies do not tell; nothing if none did."""
    alike = []
    for line in lines:
        seeds = [str(run.seed) for run in line.runs if run.report.get("only_class") is not None]
        if seeds:
            alike.append(f"{line.name} (seed{'s' * (len(seeds) > 1)} {', '.join(seeds)})")
    return f" Every video was taken for one and the same class in these rows: {'; '.join(alike)}." if alike else ""


def gain_header(metric: str, *, column: str = "") -> list[str]:
    """The names of the columns of a gain."""
    interval = ["95% over videos"] if has_interval(metric) else []
    return [f"{column}: {title_of(metric)}" if column else title_of(metric), *interval]


def gain_cells(line: Line, gain: Gain | None, metric: str) -> list[str]:
    """A gain, and its interval over the videos where there is one for the metric."""
    interval = [""] if has_interval(metric) else []
    if gain is None:
        return ["no baseline" if line.runs else "not run", *interval]
    if gain.videos is not None:
        interval = [f"{gain.videos.low:+.1f} to {gain.videos.high:+.1f}"]
    return [gain.seeds.signed(), *interval]


def gain_record(line: Line, metric: str) -> dict[str, Any]:
    """The same with all digits."""
    gain = gain_of(line, metric)
    if gain is None:
        return {}
    record: dict[str, Any] = {
        f"{metric}_gain": gain.seeds.mean,
        f"{metric}_gain_deviation": gain.seeds.deviation,
        "gain_seeds": gain.seeds.seeds,
    }
    if gain.videos is not None:
        record |= {f"{metric}_gain_low": gain.videos.low, f"{metric}_gain_high": gain.videos.high}
        record |= {"gain_videos": gain.num_videos}
    return record


def origin_sheet(lines: Iterable[Line]) -> Sheet:
    """Which code, videos and protocol each line is of."""
    header = ["row", "seeds", "commit", "test videos", "training videos", "protocol"]
    rows = [[line.name, *_origin(line).values()] for line in lines if line.runs]
    note = "Videos: listed / missing / broken. A commit stands for training, then for testing where that was another."
    return Sheet("Where the numbers come from", header, rows, note)


def _origin(line: Line) -> dict[str, str]:
    return {
        "seeds": ", ".join(str(run.seed) for run in line.runs),
        "commit": _all(_commit(run) for run in line.runs),
        "test_videos": _all(_test_videos(run) for run in line.runs),
        "train_videos": _all(_train_videos(run) for run in line.runs),
        "protocol": _all(str(run.report["protocol"]["name"]) for run in line.runs),
    }


def line_record(line: Line, *, metrics: Sequence[str]) -> dict[str, Any]:
    """Accuracies with all digits, the network's cost, and where they come from."""
    record: dict[str, Any] = {}
    for metric in metrics:
        reached = line.accuracy(metric)
        record |= {metric: reached and reached.mean, f"{metric}_deviation": reached and reached.deviation}
    if line.cost is not None:
        record |= {"weights": line.cost.weights, "parameters": line.cost.parameters, "macs": line.cost.macs}
    return {**record, **_origin(line), "runs": " ".join(str(run.folder) for run in line.runs)}


def _all(words: Iterable[str]) -> str:
    """Each once."""
    return "; ".join(dict.fromkeys(words))


def _commit(run: Run) -> str:
    commit = run.report.get("commit") or {}
    trained, tested = (commit.get(key) or "unknown" for key in ("training", "testing"))
    return trained if trained == tested else f"{trained}, tested {tested}"


def _test_videos(run: Run) -> str:
    videos = run.report["videos"]
    return f"{videos['listed']} / {videos['missing']} / {videos['failed']}"


def _train_videos(run: Run) -> str:
    census = run.report.get("train_census")
    return "unknown" if census is None else f"{census['listed']} / {census['missing']} / {census['broken']}"
