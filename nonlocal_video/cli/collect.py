"""Fills tables with tested runs: which runs are of which row, and what the rows' networks cost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import torch

from nonlocal_video.cli.tables import EVERY_START, row_config
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.complexity import Cost, complexity
from nonlocal_video.models.nonlocal_block import Pairwise
from nonlocal_video.reports.tables.paper import Expected, PaperRow, RowLine, row_lines
from nonlocal_video.reports.tables.runs import Run
from nonlocal_video.runs.network import is_foreign, network_of, own_function
from nonlocal_video.settings import RowConfig, RunConfig, TableConfig
from nonlocal_video.settings.detector import detector_options
from nonlocal_video.settings.identity import row_key
from nonlocal_video.settings.network import options_of

Configs = Mapping[Path, RunConfig]
"""The settings of runs, by the folders of their tests."""
ANYWHERE = (EVERY_START, "data.root=data")
"""For reading about rows where neither their weights nor their videos are."""


class Filled(NamedTuple):
    """A table of the paper, with what was run of it."""

    table: TableConfig
    lines: list[RowLine]
    tests: set[Path]
    """All that belong to it, those of its parents too."""


def fill(table: TableConfig, runs: Sequence[Run], configs: Configs, *, protocol: str | None = None) -> Filled:
    """A table of the paper; runs belong to the row with their settings.

    Args:
        protocol: that the rows are to be tested with; their own if None.
    """
    keys = {test: row_key(config) for test, config in configs.items()}
    rows, by_row = [], {}
    for name, row in table.rows.items():
        config = None if row.run is None else row_config(table, row, ANYWHERE)
        rows.append(_paper_row(row, config, protocol, table.metrics))
        by_row[name] = [run for run in runs if config is not None and keys[run.test] == row_key(config)]
    parents = {row_key(row_config(table, parent, ANYWHERE)) for parent in table.parents.values()}
    tests = {run.test for group in by_row.values() for run in group} | {test for test in keys if keys[test] in parents}
    return Filled(table, row_lines(rows, by_row), tests)


def _paper_row(row: RowConfig, config: RunConfig | None, protocol: str | None, metrics: Sequence[str]) -> PaperRow:
    paper = {} if row.paper is None else dict(zip(metrics, row.paper, strict=True))
    expected = None
    if config is not None:
        optim, data, protocol = config.optim, config.data, protocol or config.test or config.usual_test
        expected = Expected(
            steps=optim.steps, milestones=tuple(optim.milestones), data=data.name, subset=getattr(data, "subset", None),
            num_classes=config.model.num_classes, protocol=protocol,
            cost=cost_of_composed(config),
        )  # fmt: skip
    return PaperRow(row.name, row.label, paper, row.baseline, expected)


def cost_of(config: RunConfig, pairwise: Pairwise | None = None) -> Cost | None:
    """The cost of the network for a clip or an image; None where nobody says what its pairwise function costs.

    Args:
        config: of a run's folder, which names no code, or of a table.
        pairwise: the function that a table names, if it is not one of the project's.
    """
    known = pairwise is not None or not is_foreign(config.model.pairwise)
    return _cost(json.dumps(asdict(config.model), sort_keys=True), pairwise) if known else None


def cost_of_composed(config: RunConfig) -> Cost | None:
    """The cost of the network that the user has composed, with a pairwise function of his own if he names one."""
    return cost_of(config, own_function(config.model.pairwise))


@cache
def _cost(model: str, pairwise: Pairwise | None) -> Cost | None:
    options = json.loads(model)
    with torch.device("meta"):  # Shapes without numbers or memory.
        if "kind" in options:
            from nonlocal_video.models.detection.complexity import detector_cost  # noqa: PLC0415  # torchvision takes seconds to import.
            from nonlocal_video.models.detection.detector import Detector  # noqa: PLC0415

            detector = Detector(replace(detector_options(options), pairwise=pairwise or options["pairwise"]))
            count = partial(detector_cost, detector)
        else:
            network = network_of(options_of(options), where="model", pairwise=pairwise)
            count = partial(_cost_of_clip, network)
        try:
            return count()
        except ValueError:
            return None


def _cost_of_clip(network: Classifier) -> Cost:
    options = network.options
    costs = complexity(network, length=options.clip_length, height=options.crop, width=options.crop)
    return sum(costs.values(), Cost())
