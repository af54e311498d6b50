"""The report of a test as a page that people read, and the sentences that it shares with the console."""

from collections.abc import Mapping, Sequence
from typing import Any

from nonlocal_video.data.census.usable import format_census
from nonlocal_video.reports.published import compare_published

CONFUSIONS, CLIPS = PICTURES = ("confusion.png", "clips.png")
UNLABELLED = "the list has no labels: predictions only, no accuracies"
SHOWN = 20
"""Failures on the page; report.json has all."""

SOURCES = (
    ("run", "run"),
    ("seed", "seed"),
    ("weights_hash", "hash of the weights"),
    ("config_hash", "hash of the settings"),
    ("recipe_hash", "hash of the recipe"),
    ("batch_norm", "batch normalisation"),
    ("precision", "precision"),
    ("processes", "processes"),
    ("chunk", "views at a time"),
)
"""Facts that the page shows as they are, with their names there."""

Report = Mapping[str, Any]


def title(report: Report) -> str:
    """What was tested on what."""
    if "ensemble" in report:
        network = f" of {report['network']}" if "network" in report else ""
        return f"ensemble of {len(report['ensemble'])} tests{network} on {report['data']}"
    return f"{report['network']} on {report['data']}"


def tested(report: Report) -> list[str]:
    """The weights, and how videos were tested."""
    if "ensemble" in report:
        lines = [
            f"weight {member['weight']:.3g}: {member['folder']}"
            + ("" if member["top1"] is None else f", top1 {member['top1']:.2f}")
            for member in report["ensemble"]
        ]
    else:
        trained = "" if report["step"] is None else f", step {report['step']} of {report['steps']}"
        lines = [f"weights: {report['weights']}{trained}"]
    if "protocol" in report and "clips" in report:
        lines.append(f"protocol: {protocol_words(report)}")
    return lines


def protocol_words(report: Report) -> str:
    """Such as `10x3: 10 clips of 8x8 (released) x 3 squares, short side 256; mean over the views`."""
    protocol, clips = report["protocol"], report["clips"]
    number = protocol["num_clips"]
    crops = {"full": "the whole frame", "1": "1 square"}.get(protocol["crops"], f"{protocol['crops']} squares")
    mirrored = " and mirrored" if protocol["flips"] else ""
    rate = f", videos resampled to {protocol['fps']:g} frames/s" if protocol["fps"] else ""
    return (
        f"{protocol['name']}: {number} clip{'s' if number > 1 else ''} of {clips['length']}x{clips['stride']} "
        f"({protocol['placement']}) x {crops}{mirrored}, short side {protocol['short_side']}{rate}; "
        f"{protocol['combine']} over the views"
    )


def format_page(report: Report) -> str:
    """The whole page, in Markdown; its pictures lie beside it."""
    parts = [
        f"# {title(report)}",
        "\n".join(f"- {line}" for line in tested(report)),
        *(_accuracies(report) if report["labels"] else [UNLABELLED.capitalize() + "."]),
        *(_clips(report) if len(report.get("after_clips", ())) > 1 else []),
        *(_classes(report) if report["labels"] else []),
        *_failures(report),
        _origin(report),
    ]
    return "\n\n".join(parts) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _accuracies(report: Report) -> list[str]:
    """Video, clip and first-clip accuracy side by side, and the missing counted both ways."""
    videos, keys = report["videos"], [key for key in ("top1", "top5") if key in report]
    lost = videos["missing"] + videos["failed"]
    kinds = [("{}", f"video, of the {videos['decoded']} decoded")]
    if lost:
        kinds.append(("{}_of_listed", f"video, of all {videos['listed']} listed: the {lost} lost ones are wrong"))
    kinds += [
        ("first_clip_{}", "the first clip alone"),
        ("clip_{}", "single clips"),
        ("mean_class_{}", "mean of classes"),
    ]
    rows = []
    for pattern, words in kinds:
        cells = [words]
        for key in (pattern.format(key) for key in keys):
            cells += [_number(report.get(key)), _interval(report.get(f"{key}_interval"))]
        if any(cells[1:]):
            rows.append(cells)
    if report["train_top1"] is not None:
        rows.append(
            ["training clips, last tenth of the steps", _number(report["train_top1"]), *[""] * (2 * len(keys) - 1)]
        )
    header = ["%", *(cell for key in keys for cell in (f"top-{key[-1]}", "95% interval"))]
    note = "The intervals (Wilson's) are for the choice of these videos; another seed of training is another matter."
    return ["## Accuracy", *published(report), _table(header, rows), note]


def published(report: Report) -> list[str]:
    """What the published figures are, and whether they compare; none of a test without accuracies."""
    return compare_published(dict(report)) if report["labels"] else []


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"


def _clips(report: Report) -> list[str]:
    rows = report["after_clips"]
    keys = [key for key in ("top1", "top5") if key in rows[0]]
    table = _table(
        ["clips", *(str(row["clips"]) for row in rows)],
        [[f"top-{key[-1]}", *(_number(row[key]) for row in rows)] for key in keys],
    )
    return ["## After the first clips", table, f"![accuracy after the first clips]({CLIPS})"]


def _classes(report: Report) -> list[str]:
    worst = [
        [_class(one["class"], one["name"]), str(one["videos"]), _number(one["top1"])] for one in report["worst_classes"]
    ]
    confused = [
        [_class(pair["class"], pair["names"][0]), _class(pair["predicted"], pair["names"][1]), str(pair["videos"]),
         _number(pair["share"])]
        for pair in report["most_confused"]
    ]  # fmt: skip
    parts = ["## Classes", "All of them: [classes.csv](classes.csv). The worst:"]
    parts.append(_table(["class", "videos", "top-1"], worst))
    if confused:
        header = ["class", "taken for", "videos", "% of the class"]
        parts += ["Most often taken for another:", _table(header, confused)]
    return [*parts, f"![which classes are taken for which]({CONFUSIONS})"]


def _class(label: int, name: str | None) -> str:
    return str(label) if name is None else name


def _failures(report: Report) -> list[str]:
    failures = report["failures"]
    if not failures:
        return []
    shown = [f"    {' '.join(failure['cause'].split())}" for failure in failures[:SHOWN]]
    if len(failures) > SHOWN:
        shown.append(f"    ... and {len(failures) - SHOWN} more in report.json")
    return [f"## Videos without a prediction: {len(failures)}", "\n".join(shown)]


def _origin(report: Report) -> str:
    """Where the number comes from: what there is of it, since an ensemble has only what its members share."""
    videos, time = report["videos"], report["time"]
    counts = ", ".join(f"{videos[key]} {key}" for key in ("listed", "missing", "failed", "decoded"))
    rows = [("videos", counts), *_sources(report)]
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in report["versions"].items())))
    before = f"; {time['resumed_videos']} videos were scored before" if time["resumed_videos"] else ""
    rows.append(("time", f"{time['seconds']:.1f} s, {time['videos_per_s']:g} videos/s{before}"))
    return "## Origin\n\n" + _table(["what", "which"], rows).replace("---:", "---")


def _sources(report: Report) -> list[tuple[str, str]]:
    rows = []
    for key, words in SOURCES:
        if report.get(key) is not None:
            rows.append((words, str(report[key])))
    for key, words in (("census", "census"), ("train_census", "census of training")):
        if report.get(key) is not None:
            rows.append((words, format_census(report[key]).removeprefix("census ")))
    if "cost" in report:
        cost = report["cost"]
        pixels = cost["pixels_per_video"]
        if pixels is not None:
            usual = cost["pixels_per_video_10x3"]
            rows.append(("pixels of a video", f"{pixels / 1e6:.1f} million; 10x3 needs {usual / 1e6:.1f}"))
        rows.append(("waited for videos", f"{cost['data_wait']:g}% of the time"))
    return rows
