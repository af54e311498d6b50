"""What a run folder says: its settings, which are plain data, whoever wrote them."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nonlocal_video.engine.checkpoint import list_checkpoints
from nonlocal_video.reports.tables.unfinished import SETTINGS
from nonlocal_video.reports.test.predictions import REPORT
from nonlocal_video.runs.network import plain_model
from nonlocal_video.settings import TrainConfig
from nonlocal_video.settings.identity import science
from nonlocal_video.system.files import whole_file
from nonlocal_video.system.plain import check_folder, read_json, read_yaml

MOVED = ("short_side", "num_clips", "num_crops")
"""What the clips of earlier runs said, and protocols say now."""


def run_folder(config: TrainConfig) -> Path:
    """Where a run is."""
    return Path(config.runtime.runs) / str(config.name)


def read_run(folder: Path) -> TrainConfig:
    """The settings of a run. Nothing in its folder names code, is looked up, or leads out of it.

    Raises:
        ValueError: not the folder of a run, or one that does.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise ValueError(f"{folder}: not the folder of a training run (it has no {SETTINGS})")
    check_folder(folder)
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("clip"), dict):
        raise ValueError(f"{path}: expected the settings of a run, which name model, data, clip and more")
    for key in MOVED:
        content["clip"].pop(key, None)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(TrainConfig), content)
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise ValueError(f"{path}: has no value of {', '.join(missing)}")
        config: Any = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ValueError(f"{path}: is of another version: {error}") from error
    unknown = [key for key in ("model", "data") if key not in config.choices]
    if unknown:
        raise ValueError(f"{path}: has no value of {', '.join(f'choices.{key}' for key in unknown)}")
    config.model = plain_model(config.model, where=f"{path}: model")
    return config


def check_run(config: TrainConfig, folder: Path) -> None:
    """Makes sure that a run folder is free, or holds the same run.

    Raises:
        ValueError: it holds a trained run with other scientific settings; says which.
    """
    if not list_checkpoints(folder / "checkpoints"):
        return
    old, new = science(read_run(folder)), science(config)
    changed = [f"{k}: was {old.get(k)}, now {new.get(k)}" for k in sorted(old | new) if old.get(k) != new.get(k)]
    if changed:
        raise ValueError(
            f"{folder} holds a run with other settings:\n  " + "\n  ".join(changed) + "\n"
            "Give this run another name=..., with init.weights=FILE if it is to begin with that one's weights"
        )


def write_run(config: TrainConfig, folder: Path) -> None:
    """Keeps the resolved settings of a run in `config.yaml`.

    Raises:
        ValueError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / SETTINGS) as file:
            file.write(OmegaConf.to_yaml(OmegaConf.structured(config)).encode())
    except OSError as error:
        raise ValueError(f"the run folder {folder} cannot be written: {error}") from error


def is_trained(config: TrainConfig) -> bool:
    """Whether a run has made all its steps.

    Raises:
        ValueError: the folder holds a run with other settings.
    """
    folder = run_folder(config)
    check_run(config, folder)
    last = folder / "checkpoints" / f"step_{config.optim.steps:08d}.pt"
    return last.is_file() and (folder / "model.safetensors").is_file()


def is_tested(config: TrainConfig) -> bool:
    """Whether there is a report of the protocol that the run is to be tested with, after all its steps."""
    path = run_folder(config) / "test" / str(config.test) / REPORT
    return path.is_file() and read_json(path).get("step") == config.optim.steps
