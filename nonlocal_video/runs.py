"""Run folders: the settings that a run was made with, and which of them make it what it is."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nonlocal_video.engine.checkpoint import list_checkpoints
from nonlocal_video.settings import TrainConfig, flat, to_settings, within

OPERATIONAL = (
    "name",
    "runtime",
    "choices",
    "roots",
    "lists",
    "data.root",
    "data.train",
    "data.val",
    "data.classes",
    "data.max_missing",
    "clip.short_side",
    "clip.num_clips",
    "clip.num_crops",
    "optim.clips_per_device",
    "optim.steps",
)
"""Settings that may change when a run is resumed; the global batch and the listed videos are compared themselves."""


def write_run(config: TrainConfig, folder: Path) -> None:
    """Keeps the resolved settings of a run in `config.yaml`.

    Raises:
        ValueError: the folder cannot be written, or holds a run with other scientific settings; says which.
    """
    path = folder / "config.yaml"
    if path.is_file() and list_checkpoints(folder / "checkpoints"):
        old, new = _science(read_run(folder)), _science(config)
        changed = [
            f"{key}: was {old.get(key)}, now {new.get(key)}"
            for key in sorted(old | new)
            if old.get(key) != new.get(key)
        ]
        if changed:
            raise ValueError(
                f"{folder} holds a run with other settings:\n  " + "\n  ".join(changed) + "\n"
                "Give this run another name=..., or delete that folder"
            )
    unfinished = path.with_suffix(".tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.structured(config), unfinished)
        os.replace(unfinished, path)
    except OSError as error:
        raise ValueError(f"the run folder {folder} cannot be written: {error}") from error


def read_run(folder: Path) -> TrainConfig:
    """The settings of a run.

    Raises:
        ValueError: not the folder of a run.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise ValueError(f"{folder}: not the folder of a training run (it has no config.yaml)")
    config: TrainConfig = to_settings(OmegaConf.merge(OmegaConf.structured(TrainConfig), OmegaConf.load(path)))
    return config


def config_hash(config: TrainConfig) -> str:
    """Names the scientific settings in 12 characters."""
    return _hash(_science(config))


def _hash(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def recipe_hash(config: TrainConfig) -> str:
    """Names the scientific settings but for seed and data: what the runs of one row of a table share."""
    recipe = {
        key: value for key, value in _science(config).items() if not within(key, ("seed", "data", "model.num_classes"))
    }
    return _hash({**recipe, "optim.steps": config.optim.steps})


def _science(config: TrainConfig) -> dict[str, Any]:
    """The settings that make a run what it is, by their dotted names."""
    settings = flat(OmegaConf.to_container(OmegaConf.structured(config)))
    return {key: value for key, value in settings.items() if not within(key, OPERATIONAL)}
