"""A sweep over a table: what its jobs would do, and what they came to."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from nonlocal_video.cli.collect import cost_of_composed
from nonlocal_video.cli.jobs import row_job
from nonlocal_video.cli.tables import row_config, table_of
from nonlocal_video.reports.tables.unfinished import FAILED
from nonlocal_video.runs.dry_run import rehearse
from nonlocal_video.runs.folder import is_tested, is_trained, run_folder
from nonlocal_video.settings import DetectionConfig, RunConfig
from nonlocal_video.settings.identity import changes

DONE = "trained and tested"


class Summary(Callback):
    """Lists what the jobs of a sweep came to; its exit code is 1 unless all are done."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra."""
        if config.dry_run:
            return
        print("the rows of the table:")
        states = [(row, _state(job), "" if job is None else run_folder(job)) for row, job in jobs(config)]
        for row, state, folder in states:
            print(f"  {row:24} {state:20} {folder}")
        if any(state != DONE for _, state, _ in states):
            print("not all is done: the same command goes on with what is left", file=sys.stderr)
            sys.exit(1)


def jobs(config: DictConfig) -> Iterator[tuple[str, RunConfig | None]]:
    """The jobs of a sweep over a table, by the names of their rows; None where the settings are not those of a run."""
    table = table_of(config.hydra.runtime.choices["experiment"], config.table)
    words = [f"row={config.hydra.sweeper.params.row}", *config.hydra.overrides.task]
    choices = {}
    for word in OverridesParser.create().parse_overrides(words):
        values = word.sweep_string_iterator() if word.is_sweep_override() else [word.get_value_element_as_str()]
        choices[word.get_key_element()] = [f"{word.get_key_element()}={value}" for value in values]
    for row, *overrides in product(*choices.values()):
        job = None
        with suppress(ValueError):  # The job itself has said so.
            job = row_job(config, table, [row, *overrides])
        yield row.removeprefix("row="), job


def rehearse_job(cfg: DictConfig, config: RunConfig) -> None:
    """Says what a job would do: its folder, what it changes, what it should reach, and all that `rehearse` tells."""
    lines, awaited = [f"{cfg.row or config.name}: {run_folder(config)} ({_state(config)})"], None
    if cfg.table is not None:
        hydra = HydraConfig.get()
        table, overrides = table_of(hydra.runtime.choices["experiment"], cfg.table), list(hydra.overrides.task)
        row = table.job(cfg.row)
        lines.append(f"  {row.run} {' '.join(row.change)}".rstrip())
        if row.start is not None:
            lines.append(f"  begins with the weights of {row.start}: {config.init.weights}")
            awaited = None if Path(str(config.init.weights)).is_file() else row.start
        if row.baseline is not None:
            base = row_config(table, table.job(row.baseline), overrides)
            lines += [f"  against {row.baseline}: {key}: {old} -> {new}" for key, old, new in changes(base, config)]
        if row.paper is not None:
            lines.append("  in the paper: " + ", ".join(map("{} {:g}".format, table.metrics, row.paper)))
    print("\n".join(lines), flush=True)
    rehearse(config, awaited=awaited)
    if isinstance(config, DetectionConfig):
        print(_image_cost(config))


def _image_cost(config: DetectionConfig) -> str:
    model, cost = config.model, cost_of_composed(config)
    if cost is None:
        return "cost: not known, the pairwise function does not say its own"
    return (
        f"cost: {cost.parameters:,} parameters, {cost.macs / 1e9:.1f} GFLOPs (multiply-adds) for an image of "
        f"{model.short_side}x{model.long_side} with {model.proposals} proposals and {model.detections} detections"
    )


def _state(config: RunConfig | None) -> str:
    if config is None:
        return "REFUSED"
    try:
        trained = is_trained(config)
    except ValueError:  # The job itself has said so.
        return "IS ANOTHER RUN"
    if not trained:
        return "FAILED" if (run_folder(config) / FAILED).is_file() else "NOT TRAINED"
    return DONE if is_tested(config) else "TRAINED, NOT TESTED"
