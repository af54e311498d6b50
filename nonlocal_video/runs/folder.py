"""The folder of a run: its settings, which are plain data, whoever wrote them, and how far the run is."""

from dataclasses import asdict
from pathlib import Path

import yaml

from nonlocal_video.engine.checkpoint import list_checkpoints
from nonlocal_video.reports.tables.unfinished import SETTINGS
from nonlocal_video.reports.test.predictions import REPORT
from nonlocal_video.runs.network import plain_model
from nonlocal_video.settings import RUNS, RunConfig, TrainConfig, settings_of
from nonlocal_video.settings.identity import flat, identity
from nonlocal_video.system.files import whole_file
from nonlocal_video.system.plain import check_folder, differences, read_json, read_yaml


def run_folder(config: RunConfig) -> Path:
    """The folder of a run."""
    return Path(config.runtime.runs) / str(config.name)


def read_run(folder: Path) -> RunConfig:
    """The settings of a run. Raises ValueError: what its folder holds is no run, names code, or leads elsewhere."""
    path = folder / SETTINGS
    if not path.is_file():
        raise ValueError(f"{folder}: not the folder of a training run (it has no {SETTINGS})")
    check_folder(folder)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected the settings of a run, which name model, data, clip and more")
    missing = sorted(key for key, value in flat(content).items() if value == "???")
    if not missing:
        content["model"] = plain_model(content.get("model") or {}, where=f"{path}: model")
        kind = RUNS.get(str(content.get("task")), TrainConfig)  # It names the tasks that there are.
        config = settings_of(kind, content, where=f"{path}: is of another version: ")
        missing = [f"choices.{key}" for key in ("model", "data") if key not in config.choices]
        if config.data.num_classes is not None and not missing:
            return config
    raise ValueError(f"{path}: has no value of {', '.join(missing or ['data.num_classes'])}")


def check_run(config: RunConfig, folder: Path) -> None:
    """Raises ValueError where a folder holds a trained run with other settings than these; says which."""
    if not list_checkpoints(folder / "checkpoints"):
        return
    changed = sorted(differences(identity(read_run(folder)), identity(config)))
    if changed:
        raise ValueError(
            f"{folder} holds a run with other settings:\n  " + "\n  ".join(changed) + "\n"
            "Give this run another name=..., with init.weights=FILE if it is to begin with that one's weights"
        )


def write_run(config: RunConfig, folder: Path) -> None:
    """Keeps the resolved settings of a run in `config.yaml`, but for those of this machine."""
    content = {key: value for key, value in asdict(config).items() if key != "machine"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / SETTINGS) as file:
            file.write(yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
    except OSError as error:
        raise ValueError(f"the run folder {folder} cannot be written: {error}") from error


def is_trained(config: RunConfig) -> bool:
    """Whether a run has made all its steps. Raises ValueError: the folder holds a run with other settings."""
    folder = run_folder(config)
    check_run(config, folder)
    last = folder / "checkpoints" / f"step_{config.optim.steps:08d}.pt"
    return last.is_file() and (folder / "model.safetensors").is_file()


def is_tested(config: RunConfig) -> bool:
    """Whether there is a report of the protocol that the run is to be tested with, after all its steps."""
    path = run_folder(config) / "test" / str(config.test) / REPORT
    return path.is_file() and read_json(path).get("step") == config.optim.steps
