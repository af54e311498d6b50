"""A sweep over a table: which run a job is, what it would do, and what the jobs came to."""

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from nonlocal_video.config import evaluation_config, train_config
from nonlocal_video.dry_run import rehearse
from nonlocal_video.fitting import with_fitting
from nonlocal_video.folder import read_run
from nonlocal_video.jobs import is_tested, is_trained, run_folder
from nonlocal_video.launch import started_by_srun, started_by_torchrun
from nonlocal_video.reports.runs import SETTINGS
from nonlocal_video.reports.unfinished import FAILED
from nonlocal_video.science import science
from nonlocal_video.settings import TestConfig, TrainConfig
from nonlocal_video.tables import Table, composed, row_config, table_of

DONE = "trained and tested"


@contextmanager
def one_job(*, listed_later: bool = False) -> Iterator[None]:
    """Names a sweep's job when it fails; Hydra itself tells of the first failure only, and at the end.

    Args:
        listed_later: the sweep lists at its end what is not done; no failure keeps it from its other jobs.
    """
    hydra = HydraConfig.get()
    try:
        if hydra.mode == RunMode.MULTIRUN and (started_by_torchrun() or started_by_srun()):
            raise ValueError("a sweep (-m) cannot run under torchrun or srun; set runtime.devices instead")
        yield
    except Exception as error:  # Of whatever kind: it must not keep a sweep from its other jobs.
        if hydra.mode != RunMode.MULTIRUN:
            raise
        print(f"failed: {' '.join(hydra.overrides.task)}\n  {error}", file=sys.stderr, flush=True)
        if not listed_later:
            raise
        if not isinstance(error, ValueError):
            traceback.print_exc()


def job_config(cfg: DictConfig) -> TrainConfig:
    """The settings of this job of Hydra: those of its row, if it is one of a table.

    Raises:
        ValueError: as `train_config`; no row of the table; or one whose parent is not trained.
    """
    hydra = HydraConfig.get()
    if cfg.table is None:
        return train_config(*with_fitting(cfg, hydra))
    table, overrides = _table(cfg, hydra), list(hydra.overrides.task)
    config = _row(cfg, table, overrides)
    start = table.job(cfg.row).start
    if start is not None and not config.dry_run and not is_trained(config):
        parent = row_config(table, table.job(start), overrides)
        if not is_trained(parent):
            raise ValueError(f"begins with the weights of {start}, which is not trained: {run_folder(parent)}")
    return config


def test_job_config(cfg: DictConfig) -> tuple[TestConfig, TrainConfig]:
    """The settings of this testing job of Hydra; without protocol=, its run's own protocol (`test`) if it has one.

    Raises:
        ValueError: as `evaluation_config`.
    """
    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    named = any(one.lstrip("+").startswith("protocol=") for one in overrides)
    own = None if named or cfg.run is None else read_run(Path(cfg.run)).test
    if own is not None and not re.fullmatch(r"[\w-]+", own):  # No path out of configs/protocol, no words of Hydra.
        raise ValueError(f"{cfg.run}/{SETTINGS}: test: got {own!r}, expected the name of a protocol, such as full_10")
    return evaluation_config(*((cfg, hydra) if own is None else composed("test", [*overrides, f"protocol={own}"])))


def _table(cfg: DictConfig, hydra: Any) -> Table:
    return table_of(hydra.runtime.choices["experiment"], OmegaConf.to_object(cfg.table))


def _row(cfg: DictConfig, table: Table, overrides: list[str]) -> TrainConfig:
    names = [one.removeprefix("row=") for one in overrides if one.startswith("row=")]
    if not names:
        raise ValueError(f"{table.name} is a table: it runs as a sweep over its rows, or with row=NAME")
    config = row_config(table, table.job(names[-1]), overrides)
    config.test = config.test or cfg.test
    return config


class Summary(Callback):
    """Lists what the jobs of a sweep came to; its exit code is 1 unless all are done."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Called by Hydra."""
        if config.dry_run:
            return
        done = True
        print("the rows of the table:")
        for row, job in jobs(config):
            state = _state(job)
            done = done and state == DONE
            print(f"  {row:24} {state:20} {run_folder(job)}")
        if not done:
            print("not all is done: the same command goes on with what is left", file=sys.stderr)
            sys.exit(1)


def jobs(config: DictConfig) -> Iterator[tuple[str, TrainConfig]]:
    """The jobs of a sweep over a table, by the names of their rows."""
    table = _table(config, config.hydra)
    words = [f"row={config.hydra.sweeper.params.row}", *config.hydra.overrides.task]
    choices = {}
    for one in OverridesParser.create().parse_overrides(words):
        values = one.sweep_string_iterator() if one.is_sweep_override() else [one.get_value_element_as_str()]
        choices[one.get_key_element()] = [f"{one.get_key_element()}={value}" for value in values]
    for row, *overrides in product(*choices.values()):
        yield row.removeprefix("row="), _row(config, table, [row, *overrides])


def rehearse_job(cfg: DictConfig, config: TrainConfig) -> None:
    """Says what a job would do: its folder, what it changes, what it should reach, and all that `rehearse` tells.

    Raises:
        ValueError: as `rehearse`.
    """
    lines, awaited = [f"{cfg.row or config.name}: {run_folder(config)} ({_state(config)})"], None
    if cfg.table is not None:
        hydra = HydraConfig.get()
        table = _table(cfg, hydra)
        row, overrides = table.job(cfg.row), list(hydra.overrides.task)
        lines += [f"  {row.run} {' '.join(row.change)}".rstrip()]
        if row.start is not None:
            lines.append(f"  begins with the weights of {row.start}: {config.init.weights}")
            awaited = None if Path(str(config.init.weights)).is_file() else row.start
        if row.baseline is not None:
            base = row_config(table, table.job(row.baseline), overrides)
            lines += [f"  against {row.baseline}: {change}" for change in _changes(base, config)]
        if row.paper is not None:
            lines.append("  in the paper: " + ", ".join(map("{} {:g}".format, table.metrics, row.paper)))
    print("\n".join(lines), flush=True)
    rehearse(config, awaited=awaited)


def _state(config: TrainConfig) -> str:
    try:
        trained = is_trained(config)
    except ValueError:  # The job itself has said so.
        return "IS ANOTHER RUN"
    if not trained:
        return "FAILED" if (run_folder(config) / FAILED).is_file() else "NOT TRAINED"
    return DONE if is_tested(config) else "TRAINED, NOT TESTED"


def _changes(base: TrainConfig, config: TrainConfig) -> list[str]:
    old, new = science(base), science(config)
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in sorted(old | new) if old.get(key) != new.get(key)]
