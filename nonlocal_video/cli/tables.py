"""The tables of the paper as sweeps: a row is an experiment with changes, and a job is a row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nonlocal_video.cli.compose import composed, train_config
from nonlocal_video.runs.folder import run_folder
from nonlocal_video.runs.recipe import CONFIGS
from nonlocal_video.settings import RowConfig, RunConfig, TableConfig, settings_of
from nonlocal_video.settings.identity import key_of

NOT_OF_A_ROW = ("experiment", "row", "hydra")
"""Settings of a sweep's command line that are about the table, and not about its rows."""
EVERY_START = "machine.starts={imagenet_r50: imagenet_r50, imagenet_r101: imagenet_r101, imagenet_x152: imagenet_x152}"
"""For reading about a row where its weights are not."""


def read_table(name: str, *, configs: Path = CONFIGS) -> TableConfig:
    """A table by its name, such as kinetics/table2a. Raises ValueError: there is none, or it has a loose end."""
    path = configs / "experiment" / f"{name}.yaml"
    content = OmegaConf.load(path) if path.is_file() else OmegaConf.create()
    if "table" not in content:
        known = sorted(f"{path.parent.name}/{path.stem}" for path in configs.glob("experiment/*/table*.yaml"))
        raise ValueError(f"got the table {name}, expected one of {', '.join(known)}")
    return table_of(name, content.table)


def table_of(name: str, content: DictConfig) -> TableConfig:
    """A table from what its file says. Raises ValueError: as `TableConfig`."""
    plain: Any = OmegaConf.to_container(content)
    return settings_of(TableConfig, {**plain, "name": name})


def _jobs(table: DictConfig) -> str:
    """The jobs of a sweep over a table, parents first, as Hydra's sweeper wants them."""
    return ",".join([*table.get("parents", {}), *(name for name, row in table.rows.items() if row.get("run"))])


OmegaConf.register_new_resolver("jobs_of", _jobs, replace=True)
# How many jobs a launcher may start together: not a row beside the parent that it waits for.
OmegaConf.register_new_resolver("parents_of", lambda table: len(table.get("parents", {})) or None, replace=True)


def row_config(table: TableConfig, row: RowConfig, overrides: Sequence[str] = (EVERY_START,)) -> RunConfig:
    """The settings of a row: those of its experiment with its changes, and with those of the sweep's command line."""
    if row.run is None:
        raise ValueError(f"{table.name}: {row.name} is of other people, it cannot be run")
    rest = [word for word in overrides if key_of(word).split(".")[0].split("/")[0] not in NOT_OF_A_ROW]
    cfg, hydra = composed("train", [f"experiment={row.run}", *row.change, *rest])
    if row.start is not None:
        cfg.init.weights = str(run_folder(row_config(table, table.job(row.start), overrides)) / "model.safetensors")
        cfg.init.part = None  # It is of the file that the parent began with.
    return train_config(cfg, hydra)
