"""Checkpoints: `checkpoints/step_00000400.pt` in the run folder, whole or not there."""

from pathlib import Path
from typing import Any

import torch

from nonlocal_video.engine.state import TrainState
from nonlocal_video.files import whole_file
from nonlocal_video.models.weights.file import load_weights, read_torch_file

FORMAT = 1


def save_checkpoint(folder: Path, state: TrainState, *, facts: dict[str, Any], keep: int) -> Path:
    """Writes the state under its step and deletes all but the newest `keep` checkpoints.

    The file appears under its name only when it is whole and on the disk.

    Args:
        facts: plain values that resuming compares and reports show.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{state.step:08d}.pt"
    content = {
        "format": FORMAT,
        "step": state.step,
        "num_failures": state.num_failures,
        "num_by_chance": state.num_by_chance,
        "facts": facts,
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
    }
    with whole_file(path) as file:
        torch.save(content, file)
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob("step_*.pt"))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; no code in the file is run.

    Raises:
        ValueError: not one of our checkpoints, or damaged.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT or "model" not in content:
        raise ValueError(f"{path}: not a checkpoint of this project (format {FORMAT})")
    return content


def restore(state: TrainState, content: dict[str, Any], *, where: Path) -> None:
    """Continues from a checkpoint.

    Raises:
        ValueError: a checkpoint of another network.
    """
    load_weights(state.model, content["model"], where=where)
    state.optimizer.load_state_dict(content["optimizer"])
    if content["scaler"]:  # Empty unless the precision was fp16.
        state.scaler.load_state_dict(content["scaler"])
    state.step, state.num_failures, state.num_by_chance = (
        content[name] for name in ("step", "num_failures", "num_by_chance")
    )
