"""Checkpoints: `checkpoints/step_00000400.pt` in the run folder, whole or not there."""

import io
import reprlib
from pathlib import Path
from typing import Any

import torch

from nonlocal_video.engine.step import TrainState
from nonlocal_video.models.weights.file import load_weights
from nonlocal_video.models.weights.torch_file import read_torch_file
from nonlocal_video.system.files import whole_file

FORMAT = 2
PROGRESS: dict[str, Any] = {
    "step": int, "num_failures": int, "num_transient": int, "num_skipped": int, "best": dict | None,
    "evaluated": int, "precise_bn": dict | None,
}  # fmt: skip
"""The fields of `TrainState` that a checkpoint holds as they are, and their kinds."""
PARTS = {**PROGRESS, "facts": dict, "model": dict, "optimizer": dict, "scaler": dict}


def save_checkpoint(folder: Path, state: TrainState, *, facts: dict[str, Any], keep: int) -> Path:
    """Writes the state under its step, whole or not at all, and deletes all but the best and the newest checkpoints.

    `facts` are plain values that resuming compares and reports show. An OSError leaves the checkpoints before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{state.step:08d}.pt"
    content = {
        "format": FORMAT,
        **{name: getattr(state, name) for name in PROGRESS},
        "facts": facts,
        **{name: getattr(state, name).state_dict() for name in ("model", "optimizer", "scaler")},
    }
    packed = io.BytesIO()  # PyTorch's own writer hides a full disk behind an internal error.
    torch.save(content, packed)
    with whole_file(path) as file:
        file.write(packed.getbuffer())
    best = f"step_{int(state.best['step']):08d}.pt" if state.best else None
    for old in [old for old in list_checkpoints(folder)[:-keep] if old.name != best]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob("step_*.pt"))


def newest_checkpoint(folder: Path, *, mapped: bool = False) -> tuple[Path | None, dict[str, Any], list[str]]:
    """The newest checkpoint of a run that is whole, its content, and what is wrong with those after it.

    With `mapped` only the head of a file is read, and tensors are where they are on the disk, unchecked.

    Raises:
        ValueError: there are checkpoints, but none of them is whole.
    """
    problems: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            return path, read_checkpoint(path, mapped=mapped), problems
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(
            "no checkpoint of this run can be read; to begin anew give it another name=..., or delete the files:\n  "
            + "\n  ".join(problems)
        )
    return None, {}, []


def read_checkpoint(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """The content of a checkpoint, a ValueError if it is none of ours or damaged; no code in the file is run."""
    content, stranger = read_torch_file(path, mapped=mapped), f"{path}: not a checkpoint of this project"
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{stranger} (format {FORMAT})")
    for key, kind in PARTS.items():
        if not isinstance(content.get(key), kind):
            raise ValueError(f"{stranger}: {key}: got {reprlib.repr(content.get(key))}")
    if content["best"] is not None and not isinstance(content["best"].get("step"), int | float):
        raise ValueError(f"{stranger}: best: got {reprlib.repr(content['best'])}")
    for name, tensor in {**content["model"], **(content["precise_bn"] or {})}.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{stranger}: {name}: got {reprlib.repr(tensor)}")
    return content


def restore(state: TrainState, content: dict[str, Any], *, where: Path) -> None:
    """Continues from a checkpoint; one of another network is a ValueError."""
    load_weights(state.model, content["model"], where=where)
    fused = [group["fused"] for group in state.optimizer.param_groups]
    state.optimizer.load_state_dict(content["optimizer"])
    for group, is_fused in zip(state.optimizer.param_groups, fused, strict=True):
        group["fused"] = is_fused  # This process was told so, whatever the one that saved was.
    if content["scaler"]:  # Empty unless the precision was fp16.
        state.scaler.load_state_dict(content["scaler"])
    for name in PROGRESS:
        setattr(state, name, content[name])
