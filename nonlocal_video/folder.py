"""What a run folder says: its settings, which are plain data, whoever wrote them."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nonlocal_video.network import plain_model
from nonlocal_video.plain import check_folder, read_yaml
from nonlocal_video.reports.runs import SETTINGS
from nonlocal_video.settings import TrainConfig

MOVED = ("short_side", "num_clips", "num_crops")
"""What the clips of earlier runs said, and protocols say now."""


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
