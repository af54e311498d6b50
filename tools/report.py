"""Tables over tested runs: python tools/report.py kinetics/table2a runs, or --rows KEY runs; runs alone lists keys"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from nonlocal_video.cli.collect import Configs, Filled, cost_of, fill
from nonlocal_video.cli.compose import run_tool
from nonlocal_video.cli.tables import CONFIGS, read_table
from nonlocal_video.reports.tables.cells import origin_sheet
from nonlocal_video.reports.tables.findings import FINDINGS, format_verdicts, judge
from nonlocal_video.reports.tables.lines import TableLine
from nonlocal_video.reports.tables.measures import shared_metrics
from nonlocal_video.reports.tables.paper import table_records, table_sheets
from nonlocal_video.reports.tables.pivot import grid, grid_records, grid_sheets, pick
from nonlocal_video.reports.tables.plots import draw
from nonlocal_video.reports.tables.runs import FoundTests, Run, find_tests, left_out
from nonlocal_video.reports.tables.sheet import Report, format_markdown, format_sheet, write_files, write_into
from nonlocal_video.reports.tables.varying import example, varying, varying_sheet
from nonlocal_video.reports.test.predictions import REPORT
from nonlocal_video.runs.folder import read_run
from nonlocal_video.settings.identity import flat, identity
from nonlocal_video.system.plain import read_json


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Collects tested runs into tables of the paper, or into any table over the settings of a sweep: "
        "Markdown, CSV, LaTeX, and one HTML page with plots. Folders alone are listed: what differs between their runs."
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
        help="numbers of report.json, such as top1,train_top1 (default: top1, map or AP; tables of the paper: theirs)",
    )  # fmt: skip
    parser.add_argument(
        "--protocol", metavar="NAME", help="only tests with this protocol, such as 10x3, also where a table has another"
    )
    parser.add_argument(
        "--findings", action="store_true", help="with tables 2a to 2g: which findings of the paper the runs show"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the files go (default: reports)")
    parser.add_argument(
        "--into", type=Path, metavar="FILE",
        help="put the tables into this Markdown file, between <!-- NAME --> lines; pictures of several go beside it",
    )  # fmt: skip
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
    if arguments.tables and arguments.rows:
        parser.error("expected either a table, such as kinetics/table2a, or --rows KEY, not both")
    if arguments.findings and len(arguments.tables) < 7:
        parser.error("--findings goes with all of tables 2a to 2g")
    if not arguments.rows and (arguments.cols or arguments.baseline or arguments.where):
        parser.error("--cols, --baseline and --where go with --rows")
    if not arguments.rows and not arguments.tables and (arguments.out or arguments.into or arguments.metric):
        parser.error("--out, --into and --metric go with a table or with --rows")
    if not all("=" in pair for pair in arguments.where):
        parser.error(f"--where: got {' '.join(arguments.where)}, expected KEY=VALUE")
    return arguments


def main() -> None:
    arguments = parse()
    found = find_tests(arguments.folders)
    configs = {test: read_run(test.parent.parent) for test in found.tests}
    tested = [
        Run(
            test.parent.parent,
            test,
            read_json(test / REPORT),
            flat(asdict(config)),
            {**identity(config), "optim.steps": config.optim.steps},
        )
        for test, config in configs.items()
    ]
    runs = [run for run in tested if arguments.protocol in (None, run.report["protocol"]["name"])]
    configs = {run.test: configs[run.test] for run in runs}
    if not runs:
        known = sorted({run.report["protocol"]["name"] for run in tested})
        raise ValueError(f"--protocol: got {arguments.protocol}, expected one of {', '.join(known)}")
    others = [run.test for run in tested if run.test not in configs]
    found = found._replace(left_out={**found.left_out, "with another protocol": others})
    if not arguments.rows and not arguments.tables:
        print(_overview(runs, found, arguments.folders))
        return
    verdicts = ""
    if arguments.rows:
        reports = [_sweep(runs, configs, found, arguments)]
    else:
        tables = [fill(read_table(name), runs, configs, protocol=arguments.protocol) for name in arguments.tables]
        known = {test for table in tables for test in table.tests}
        left = left_out({**found.left_out, "of no row": [test for test in configs if test not in known]})
        reports = [_paper_report(table, left, arguments.metric) for table in tables]
        verdicts = _verdicts(tables) if arguments.findings else ""
    for report in reports:
        print(format_markdown(report, pictures=False))
    print(verdicts)
    if arguments.into:
        write_into(arguments.into, reports, block=arguments.block, first=verdicts)
    if arguments.out or not arguments.into:
        for report in reports:
            first, *rest = write_files(arguments.out or Path("reports"), report)
            print(f"report: {first}; {', '.join(path.name for path in rest)}")


def _paper_report(filled: Filled, left: list[str], metrics: list[str] | None) -> Report:
    lines = filled.lines
    if metrics is None:
        many = any(line.row.expected is not None and line.row.expected.num_classes > 5 for line in lines)
        metrics = [metric for metric in filled.table.metrics if many or metric != "top5"]
    return Report(
        filled.table.name.replace("/", "_"),
        f"{filled.table.title} ({filled.table.name})",
        table_sheets(lines, metrics=metrics),
        origin_sheet(line.line for line in lines),
        left,
        table_records(lines, metrics=metrics),
        draw([line.line for line in lines], metric=metrics[0]),
    )


def _verdicts(tables: Sequence[Filled]) -> str:
    lines, ceilings = dict[str, TableLine](), dict[str, float]()
    for filled in tables:
        short = filled.table.name.rpartition("/")[2]
        lines |= {f"{short}/{line.row.name}": line.line for line in filled.lines if not line.marks}
        rows = filled.table.rows.items()
        ceilings |= {f"{short}/{name}": row.ceiling or filled.table.ceiling for name, row in rows}
    return format_verdicts([judge(finding, lines, ceilings=ceilings) for finding in FINDINGS])


def _overview(runs: Sequence[Run], found: FoundTests, folders: Sequence[Path]) -> str:
    """The runs that tables can be made of."""
    differing = varying(runs)
    sheet = varying_sheet(differing, num_tests=len(runs))
    parts = [f"# {sheet.title}", format_sheet(sheet, form="markdown") if sheet.rows else "nothing"]
    parts.append(
        f"A table of it: {example(differing, folders)}\nA table of the paper: name one, such as kinetics/table2a"
    )
    left = left_out(found.left_out)
    return "\n\n".join([*parts, *(["## Left out", "\n".join(f"- {line}" for line in left)] if left else [])])


def _sweep(runs: Sequence[Run], configs: Configs, found: FoundTests, arguments: argparse.Namespace) -> Report:
    """A table over settings."""
    where = dict(pair.split("=", 1) for pair in arguments.where)
    kept = pick(runs, where)
    metrics = arguments.metric or shared_metrics(run.report for run in kept)
    made = grid(
        kept,
        rows=arguments.rows,
        columns=arguments.cols,
        baseline=arguments.baseline,
        costs={run.test: cost_of(configs[run.test]) for run in kept},
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
        draw(list(made.lines.values()), metric=metrics[0], rows=", ".join(keys)),
    )


if __name__ == "__main__":
    run_tool(main)
