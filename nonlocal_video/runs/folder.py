"""What a run folder says: its settings, which are plain data, whoever wrote them."""

from dataclasses import asdict
from pathlib import Path

import yaml

from nonlocal_video.engine.checkpoint import list_checkpoints
from nonlocal_video.reports.tables.unfinished import SETTINGS
from nonlocal_video.reports.test.predictions import REPORT
from nonlocal_video.runs.network import plain_model
from nonlocal_video.settings import RUNS, TrainConfig, settings_of
from nonlocal_video.settings.identity import flat, science
from nonlocal_video.system.files import whole_file
from nonlocal_video.system.plain import check_folder, differences, read_json, read_yaml

MOVED = ("short_side", "num_clips", "num_crops")
"""What the clips of earlier runs said, and protocols say now."""
ELSEWHERE = ("machine", "roots", "lists", "starts")
"""What belongs to the machine that a run was trained on."""


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
    missing = sorted(key for key, value in flat(content).items() if value == "???")
    if missing:
        raise ValueError(f"{path}: has no value of {', '.join(missing)}")
    for key in MOVED:
        content["clip"].pop(key, None)
    for key in ELSEWHERE:
        content.pop(key, None)
    content["model"] = plain_model(content.get("model") or {}, where=f"{path}: model")
    task = content.get("task", "single_label")
    if not isinstance(task, str) or task not in RUNS:
        raise ValueError(f"{path}: task: got {task!r}, expected one of {', '.join(RUNS)}")
    config = settings_of(RUNS[task], content, where=f"{path}: is of another version: ")
    if config.data.num_classes is None:
        raise ValueError(f"{path}: has no value of data.num_classes")
    unknown = [key for key in ("model", "data") if key not in config.choices]
    if unknown:
        raise ValueError(f"{path}: has no value of {', '.join(f'choices.{key}' for key in unknown)}")
    return config


def check_run(config: TrainConfig, folder: Path) -> None:
    """Makes sure that a run folder is free, or holds the same run.

    Raises:
        ValueError: it holds a trained run with other scientific settings; says which.
    """
    if not list_checkpoints(folder / "checkpoints"):
        return
    changed = sorted(differences(science(read_run(folder)), science(config)))
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
            file.write(_to_yaml(config).encode())
    except OSError as error:
        raise ValueError(f"the run folder {folder} cannot be written: {error}") from error


def _to_yaml(config: TrainConfig) -> str:
    content = {key: value for key, value in asdict(config).items() if key not in ELSEWHERE}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


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
