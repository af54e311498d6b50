"""Tables over the reports of many runs."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any


def find_reports(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """All `report.json` files of runs in these folders or below.

    Raises:
        ValueError: a folder without any, or a report that a table over runs cannot hold.
    """
    reports = []
    for folder in folders:
        paths = sorted(folder.rglob("report.json"))
        if not paths:
            raise ValueError(f"{folder}: no report.json here or below; run tools/test.py first")
        reports += [_read(path) for path in paths]
    return reports


def _read(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text())
    if "ensemble" in report:
        raise ValueError(f"{path}: is of an ensemble of {len(report['ensemble'])} tests, not of a run; leave it out")
    if "protocol" not in report:
        raise ValueError(f"{path}: is of an older version; test that run again")
    if not report["labels"]:
        raise ValueError(f"{path}: has no accuracies, its list has no labels; leave it out")
    return report


def accuracy_table(reports: Sequence[dict[str, Any]]) -> str:
    """A Markdown table: a row for each network; for each data set its top-1 video accuracy and, beside it, training's.

    Accuracies in percent, of all listed videos; mean and standard deviation over seeds.

    Raises:
        ValueError: reports that cannot stand in one table: other clips or another protocol, unfinished training, or
            runs of one network with different settings.
    """
    _check_alike(reports)
    data_sets = sorted({report["data"] for report in reports})
    networks = sorted({report["network"] for report in reports}, key=lambda name: ("i3d" in name, "nl_" in name, name))
    header = ["network", *(f"{data}: {what}" for data in data_sets for what in ("top-1", "training top-1")), "seeds"]
    rows = []
    for network in networks:
        cells, seeds = [network], []
        for data in data_sets:
            group = [report for report in reports if (report["network"], report["data"]) == (network, data)]
            cells += [_mean([report[key] for report in group]) for key in ("top1_of_listed", "train_top1")]
            seeds.append(", ".join(str(seed) for seed in sorted(report["seed"] for report in group)) or "none")
        rows.append([*cells, " / ".join(dict.fromkeys(seeds))])
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _check_alike(reports: Sequence[dict[str, Any]]) -> None:
    protocols = {json.dumps([report["clips"], report["protocol"]], sort_keys=True) for report in reports}
    if len(protocols) > 1:
        raise ValueError(
            f"reports with different clips and protocols do not go into one table: {'; '.join(sorted(protocols))}"
        )
    for report in reports:
        if report["step"] != report["steps"]:
            raise ValueError(
                f"{report['run']}: was tested at step {report['step']} of {report['steps']}; finish it first"
            )
    recipes: dict[str, str] = {}
    for report in reports:
        if recipes.setdefault(report["network"], report["recipe_hash"]) != report["recipe_hash"]:
            raise ValueError(
                f"{report['run']}: differs from other runs of {report['network']} in more than seed and data"
            )
    keys = [(report["network"], report["data"], report["seed"]) for report in reports]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"several reports for one network, data set and seed: {sorted(twice)}")


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "not run"
    return f"{fmean(known):.1f}" + (f" ± {stdev(known):.1f}" if len(known) > 1 else "")


def replace_block(path: Path, *, name: str, text: str) -> None:
    """Puts text between the lines `<!-- name -->` and `<!-- /name -->` of a file.

    Raises:
        ValueError: the file has no such lines.
    """
    content = path.read_text()
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if start not in content or end not in content:
        raise ValueError(f"{path}: expected the lines {start.strip()} and {end}")
    before, rest = content.split(start, 1)
    path.write_text(before + start + text + "\n" + end + rest.split(end, 1)[1])
