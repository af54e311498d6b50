"""Tables over tested runs: python tools/report.py kinetics/table2a runs, or --rows model.pairwise runs"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from torch._subclasses import FakeTensorMode

from nonlocal_video.config import build_component, read_run, run_tool
from nonlocal_video.models.complexity import Cost, complexity
from nonlocal_video.reports.cells import origin_sheet
from nonlocal_video.reports.paper import table_records, table_sheets
from nonlocal_video.reports.pivot import grid, grid_records, grid_sheets, pick
from nonlocal_video.reports.plots import draw
from nonlocal_video.reports.rows import Expected, PaperRow, RowLine, row_lines
from nonlocal_video.reports.runs import Found, Run, find_tests, left_out
from nonlocal_video.reports.tables import Report, format_markdown, format_sheet, replace_block, write_files
from nonlocal_video.science import flat, row_key, science
from nonlocal_video.settings import ProtocolConfig, TrainConfig
from nonlocal_video.tables import CONFIGS, EVERY_START, Row, read_table, row_config

Configs = Mapping[Path, TrainConfig]
"""The settings of runs, by the folders of their tests."""
ANYWHERE = (EVERY_START, "data.root=data")
"""For reading about rows where neither their weights nor their videos are."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Collects tested runs into tables of the paper, or into any table over the settings of a sweep: "
        "Markdown, CSV, LaTeX, and one HTML page with plots."
    )
    parser.add_argument(
        "what",
        nargs="+",
        metavar="TABLE|FOLDER",
        help="tables, such as kinetics/table2a, then folders of (folders of) runs",
    )
    parser.add_argument(
        "--rows", metavar="KEY", help="any setting of config.yaml, such as model.pairwise: its values are rows"
    )
    parser.add_argument("--cols", metavar="KEY", help="the same for columns, such as data.name")
    parser.add_argument("--baseline", metavar="ROW", help="with --rows: the row that others are compared with")
    parser.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE", help="with --rows: only runs with this setting"
    )
    parser.add_argument(
        "--metric", type=lambda text: text.split(","), metavar="M,...",
        help="numbers of report.json, such as top1,train_top1 (default: top1; tables of the paper: top1,top5)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the files go (default: reports)")
    parser.add_argument(
        "--into", type=Path, metavar="FILE", help="put the tables into this file, between <!-- NAME --> lines"
    )
    parser.add_argument("--block", default="results", metavar="NAME", help="of those lines (default: %(default)s)")
    return parser


def parse() -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_intermixed_args()
    is_table = [(CONFIGS / "experiment" / f"{what}.yaml").is_file() for what in arguments.what]
    arguments.tables = [what for what, table in zip(arguments.what, is_table, strict=True) if table]
    folders = [Path(what) for what, table in zip(arguments.what, is_table, strict=True) if not table]
    arguments.folders = folders or [Path("runs")]
    strange = [str(folder) for folder in arguments.folders if not folder.is_dir()]
    if strange:
        parser.error(
            f"{', '.join(strange)}: neither a folder, nor a table of configs/experiment, such as kinetics/table2a"
        )
    if bool(arguments.tables) == bool(arguments.rows):
        parser.error("expected either a table, such as kinetics/table2a, or --rows KEY")
    if not arguments.rows and (arguments.cols or arguments.baseline or arguments.where):
        parser.error("--cols, --baseline and --where go with --rows")
    if not all("=" in one for one in arguments.where):
        parser.error(f"--where: got {' '.join(arguments.where)}, expected KEY=VALUE")
    return arguments


def main() -> None:
    arguments = parse()
    found = find_tests(arguments.folders)
    configs = {test: read_run(test.parent.parent) for test in found.tests}
    runs = [_run(test, config) for test, config in configs.items()]
    if arguments.rows:
        reports = [_sweep(runs, configs, found, arguments)]
    else:
        tables = [_table(name, runs, configs) for name in arguments.tables]
        known = {test for table in tables for test in table.tests}
        left = left_out({**found.left_out, "of no row": [test for test in found.tests if test not in known]})
        reports = [_paper_report(table, left, arguments.metric) for table in tables]
    for report in reports:
        print(format_markdown(report, pictures=False))
    if arguments.into:
        sheets = [format_sheet(sheet, form="markdown") for report in reports for sheet in report.sheets]
        replace_block(arguments.into, name=arguments.block, text="\n\n".join(sheets))
    if arguments.out or not arguments.into:
        for report in reports:
            first, *rest = write_files(arguments.out or Path("reports"), report)
            print(f"report: {first}; {', '.join(path.name for path in rest)}")


def _run(test: Path, config: TrainConfig) -> Run:
    report: dict[str, Any] = json.loads((test / "report.json").read_text())
    return Run(test.parent.parent, test, report, flat(asdict(config)))


class Filled(NamedTuple):
    """A table of the paper, with what was run of it."""

    name: str
    title: str
    lines: list[RowLine]
    tests: set[Path]
    """All that belong to it, those of its parents too."""


def _table(name: str, runs: Sequence[Run], configs: Configs) -> Filled:
    """A table of the paper; runs belong to the row with their scientific settings."""
    table = read_table(name)
    keys = {test: row_key(config) for test, config in configs.items()}
    rows, by_row = [], {}
    for row in table.rows:
        config = None if row.run is None else row_config(table, row, ANYWHERE)
        rows.append(_paper_row(row, config))
        by_row[row.name] = [run for run in runs if config is not None and keys[run.test] == row_key(config)]
    parents = {row_key(row_config(table, parent, ANYWHERE)) for parent in table.parents}
    tests = {run.test for group in by_row.values() for run in group} | {test for test in keys if keys[test] in parents}
    return Filled(name, table.title, row_lines(rows, by_row), tests)


def _paper_report(table: Filled, left: list[str], metrics: list[str] | None) -> Report:
    if metrics is None:
        many = any(one.row.expected is not None and one.row.expected.num_classes > 5 for one in table.lines)
        metrics = ["top1", "top5"] if many else ["top1"]
    return Report(
        table.name.replace("/", "_"),
        f"{table.title} ({table.name})",
        table_sheets(table.lines, metrics=metrics),
        origin_sheet(one.line for one in table.lines),
        left,
        table_records(table.lines, metrics=metrics),
        draw([one.line for one in table.lines], metric=metrics[0]),
    )


def _paper_row(row: Row, config: TrainConfig | None) -> PaperRow:
    if config is None:
        return PaperRow(row.name, row.label, row.paper, row.baseline, None)
    optim, data, protocol = config.optim, config.data, config.test or ProtocolConfig().name
    expected = Expected(
        steps=optim.steps, milestones=tuple(optim.milestones), data=data.name, subset=data.subset,
        num_classes=config.model["num_classes"], protocol=protocol, cost=_cost(config),
    )  # fmt: skip
    return PaperRow(row.name, row.label, row.paper, row.baseline, expected)


def _cost(config: TrainConfig) -> Cost:
    """Of the network, for a clip."""
    return _cost_of(json.dumps(config.model, sort_keys=True))


@cache
def _cost_of(model: str) -> Cost:
    with FakeTensorMode():  # Shapes without numbers or memory.
        network = build_component(json.loads(model))
        options = network.options
        costs = complexity(network, length=options.clip_length, height=options.crop, width=options.crop)
    return sum(costs.values(), Cost())


def _sweep(runs: Sequence[Run], configs: Configs, found: Found, arguments: argparse.Namespace) -> Report:
    """A table over settings."""
    where = dict(one.split("=", 1) for one in arguments.where)
    kept, metrics = pick(runs, where), arguments.metric or ["top1"]
    made = grid(
        kept,
        rows=arguments.rows,
        columns=arguments.cols,
        baseline=arguments.baseline,
        science={run.test: {**science(configs[run.test]), "optim.steps": run.settings["optim.steps"]} for run in kept},
        costs={run.test: _cost(configs[run.test]) for run in kept},
    )
    keys = [key for key in (arguments.rows, arguments.cols) if key]
    rest = [test for test in configs if test not in {run.test for run in kept}]
    return Report(
        "_by_".join(key.replace(".", "_") for key in keys),
        " by ".join([*keys, *arguments.where]),
        grid_sheets(made, metrics=metrics),
        origin_sheet(made.lines.values()),
        left_out({**found.left_out, "left out by --where": rest}),
        grid_records(made, metrics=metrics),
        draw(list(made.lines.values()), metric=metrics[0]),
    )


if __name__ == "__main__":
    run_tool(main)
