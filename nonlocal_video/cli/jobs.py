"""The jobs of the command line: which run a job of Hydra is, and how it fails."""

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from nonlocal_video.cli.compose import evaluation_config, train_config
from nonlocal_video.cli.fitting import with_fitting
from nonlocal_video.cli.tables import Table, composed, row_config, table_of
from nonlocal_video.reports.tables.unfinished import SETTINGS
from nonlocal_video.runs.folder import is_tested, is_trained, read_run, run_folder
from nonlocal_video.runs.jobs import failure_kept, test, train_steps
from nonlocal_video.settings import TableConfig, TestConfig, TrainConfig, settings_of
from nonlocal_video.system.launch import started_by_srun, started_by_torchrun


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
    table, overrides = job_table(cfg, hydra), list(hydra.overrides.task)
    config = row_job(cfg, table, overrides)
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
    own = None if named or cfg.run is None else read_run(Path(str(cfg.run))).test
    if own is not None and not re.fullmatch(r"[\w-]+", own):  # No path out of configs/protocol, no words of Hydra.
        raise ValueError(f"{cfg.run}/{SETTINGS}: test: got {own!r}, expected the name of a protocol, such as full_10")
    return evaluation_config(*((cfg, hydra) if own is None else composed("test", [*overrides, f"protocol={own}"])))


def job_table(cfg: DictConfig, hydra: Any) -> Table:
    return table_of(hydra.runtime.choices["experiment"], settings_of(TableConfig, OmegaConf.to_container(cfg.table)))


def row_job(cfg: DictConfig, table: Table, overrides: list[str]) -> TrainConfig:
    names = [one.removeprefix("row=") for one in overrides if one.startswith("row=")]
    if not names:
        raise ValueError(f"{table.name} is a table: it runs as a sweep over its rows, or with row=NAME")
    config = row_config(table, table.job(names[-1]), overrides)
    config.test = config.test or cfg.test
    return config


def train_and_test(config: TrainConfig, overrides: list[str]) -> None:
    """Trains a run and tests it by its protocol; what is done already is not done again.

    Args:
        overrides: the command line; what it says of the runtime holds for the test, too.

    Raises:
        ValueError: what a user can mend; the run's folder keeps it.
    """
    with failure_kept(config):
        if not is_trained(config):
            train_steps(config)
        if not is_tested(config):
            runtime = [one for one in overrides if one.startswith(("runtime=", "runtime."))]
            cfg, hydra = composed("test", [f"run={run_folder(config)}", f"protocol={config.test}", *runtime])
            cfg.model.pairwise = config.model.pairwise  # The user's word, if it is one.
            test(*evaluation_config(cfg, hydra))
