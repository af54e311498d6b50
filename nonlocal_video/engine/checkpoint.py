"""Checkpoints: `checkpoints/step_00000400.pt` in the run folder, whole or not there."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from nonlocal_video.engine.state import TrainState
from nonlocal_video.files import whole_file
from nonlocal_video.models.weights.file import read_torch_file

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
    state.step, state.num_failures = content["step"], content["num_failures"]


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor], *, where: Path) -> None:
    """Loads weights of exactly this network.

    Raises:
        ValueError: names or shapes differ; says which, and the number of classes where it is that.
    """
    own = model.state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
    if "fc.weight" in shapes and "fc.weight" in expected and shapes["fc.weight"][0] != expected["fc.weight"][0]:
        raise ValueError(
            f"{where}: got weights for {shapes['fc.weight'][0]} classes, expected {expected['fc.weight'][0]}; "
            "for another data set train with init.weights, which makes a fresh classifier"
        )
    if shapes != expected:
        missing, unused = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
        other = [
            f"{k} {shapes[k]} for {expected[k]}"
            for k in sorted(shapes.keys() & expected.keys())
            if shapes[k] != expected[k]
        ]
        differences = [
            f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for kind, names in (("missing", missing), ("unknown", unused), ("of another shape", other))
            if names
        ]
        raise ValueError(f"{where}: weights of another network: {'; '.join(differences)}")
    model.load_state_dict(weights)
