"""The tables of the paper as sweeps: a row is an experiment with changes, and a job is a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.conf import HydraConf
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from nonlocal_video.cli.compose import train_config
from nonlocal_video.settings import RowConfig, TableConfig, TrainConfig, settings_of

CONFIGS = Path(__file__).parents[2] / "configs"
NOT_OF_A_ROW = ("experiment", "row", "hydra")
"""What the command line of a sweep says of the table, and not of its rows."""
EVERY_START = "machine.starts={imagenet_r50: imagenet_r50, imagenet_r101: imagenet_r101}"
"""For reading about a row where its weights are not."""


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    name: str
    label: str
    run: str | None
    """Its experiment; None for a number of other people."""
    change: tuple[str, ...] = ()
    start: str | None = None
    """The one of the table's parents whose weights it begins with."""
    paper: tuple[float, ...] | None = None
    """What it should reach, of each of the table's metrics."""
    baseline: str | None = None
    """The row that it is compared with, if it is not that row itself."""
    ceiling: float = 100.0
    """The accuracy in percent that its network can reach at all."""


@dataclass(frozen=True)
class Table:
    """A table of the paper."""

    name: str
    """As in experiment=NAME."""
    title: str
    rows: tuple[Row, ...]
    parents: tuple[Row, ...]
    """Runs that rows begin with."""
    metrics: tuple[str, ...]
    """What the numbers of the paper are."""

    def job(self, name: str) -> Row:
        """The row or the parent of a name.

        Raises:
            ValueError: there is none.
        """
        jobs = {row.name: row for row in (*self.parents, *self.rows) if row.run is not None}
        if name not in jobs:
            raise ValueError(f"row: got {name!r}, expected one of {self.name}: {', '.join(jobs)}")
        return jobs[name]


def read_table(name: str, *, configs: Path = CONFIGS) -> Table:
    """A table by its name, such as kinetics/table2a.

    Raises:
        ValueError: there is no such table.
    """
    path = configs / "experiment" / f"{name}.yaml"
    content = OmegaConf.load(path) if path.is_file() else OmegaConf.create()
    if "table" not in content:
        known = sorted(f"{path.parent.name}/{path.stem}" for path in configs.glob("experiment/*/table*.yaml"))
        raise ValueError(f"got the table {name}, expected one of {', '.join(known)}")
    return table_of(name, settings_of(TableConfig, OmegaConf.to_container(content.table)))


def table_of(name: str, config: TableConfig) -> Table:
    """A table from its settings.

    Raises:
        ValueError: a row begins with, or is compared with, one that is not there; or has other numbers than the table.
    """

    def row_of(key: str, row: RowConfig) -> Row:
        if row.paper is not None and len(row.paper) != len(config.metrics):
            raise ValueError(f"{name}: paper of {key}: got {row.paper}, expected {' and '.join(config.metrics)}")
        paper = None if row.paper is None else tuple(row.paper)
        baseline = row.baseline or config.baseline
        baseline = None if row.run is None or baseline == key else baseline
        ceiling = config.ceiling if row.ceiling is None else row.ceiling
        return Row(key, row.label or key, row.run, tuple(row.change), row.start, paper, baseline, ceiling)

    rows, parents = (tuple(map(row_of, part.keys(), part.values())) for part in (config.rows, config.parents))
    for row in rows:
        for what, other, known in (("start", row.start, parents), ("baseline", row.baseline, rows)):
            names = [one.name for one in known]
            if other is not None and other not in names:
                raise ValueError(f"{name}: {what} of {row.name}: got {other!r}, expected one of {', '.join(names)}")
    return Table(name, config.title, rows, parents, tuple(config.metrics))


def _jobs(table: DictConfig) -> str:
    """The jobs of a sweep over a table, parents first, as Hydra's sweeper wants them."""
    return ",".join([*table.get("parents", {}), *(name for name, row in table.rows.items() if row.get("run"))])


def _num_parents(table: DictConfig) -> int | None:
    """How many jobs a launcher may start together: not a row beside the parent that it waits for."""
    return len(table.get("parents", {})) or None


OmegaConf.register_new_resolver("jobs_of", _jobs, replace=True)
OmegaConf.register_new_resolver("parents_of", _num_parents, replace=True)


def composed(name: str, overrides: Sequence[str], *, configs: Path = CONFIGS) -> tuple[DictConfig, HydraConf]:
    """What Hydra makes of a command line, and what it says of it."""
    around = GlobalHydra.instance()
    tool, around.hydra = around.hydra, None  # Hydra composes one thing at a time, and a job is inside the tool's.
    try:
        with initialize_config_dir(str(configs), version_base="1.3"):
            cfg = compose(name, list(overrides), return_hydra_config=True)
    finally:
        around.hydra = tool
    hydra: Any = cfg.hydra
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg, hydra


def row_config(table: Table, row: Row, overrides: Sequence[str] = (EVERY_START,)) -> TrainConfig:
    """The settings of a row: those of its experiment with its changes, and with those of the sweep's command line.

    Raises:
        ValueError: as `train_config`.
    """
    if row.run is None:
        raise ValueError(f"{table.name}: {row.name} is of other people, it cannot be run")
    rest = [one for one in overrides if one.lstrip("+~").split("=")[0].split(".")[0].split("/")[0] not in NOT_OF_A_ROW]
    cfg, hydra = composed("train", [f"experiment={row.run}", *row.change, *rest])
    if row.start is not None:
        parent = row_config(table, table.job(row.start), overrides)
        cfg.init.weights = str(Path(parent.runtime.runs) / str(parent.name) / "model.safetensors")
        cfg.init.part = None  # It is of the file that the parent began with.
    return train_config(cfg, hydra)
