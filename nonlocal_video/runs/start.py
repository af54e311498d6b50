"""The start of a run: from its newest whole checkpoint, weights to start from, or random ones."""

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from nonlocal_video.engine.checkpoint import list_checkpoints, newest_checkpoint, restore
from nonlocal_video.engine.optim import build_optimizer
from nonlocal_video.engine.step import TrainState
from nonlocal_video.engine.task import Task
from nonlocal_video.models.weights.given import SOURCES
from nonlocal_video.reports.versions import commit, versions
from nonlocal_video.runs.folder import run_folder
from nonlocal_video.runs.recipe import Recipe
from nonlocal_video.settings import RunConfig
from nonlocal_video.system.distributed import local_device
from nonlocal_video.system.launch import count_processes
from nonlocal_video.system.plain import differences

NUMERICAL = ("precision", "channels_last", "compile", "recompute", "fused", "threads")
"""Settings of the runtime that change the rounding."""


def check_start(config: RunConfig) -> None:
    """Raises ValueError where the weights that a run starts from are not there, unless it has a checkpoint."""
    weights = config.init.weights
    if weights is None or os.path.isfile(weights) or list_checkpoints(run_folder(config) / "checkpoints"):
        return
    run = Path(weights).parent.name
    first = f"experiment=kinetics/{run.removeprefix('kinetics_')} writes it at its end; " if "kinetics_" in run else ""
    raise ValueError(
        f"init.weights: {weights}: no such file; {first}"
        f"give another one with init.weights=FILE, or start from random weights with init.weights=null; {SOURCES}"
    )


def keep_batch(config: RunConfig) -> RunConfig:
    """The settings with as many passes a step as keep the global batch of a run that goes on, unless they say how many.

    Raises:
        ValueError: no number of passes does.
    """
    _, content, _ = newest_checkpoint(run_folder(config) / "checkpoints", mapped=True)
    batch, clips = content.get("facts", {}).get("global_batch"), config.optim.clips_per_device
    if config.runtime.accumulate is not None or not isinstance(batch, int):
        return config
    processes = count_processes(config.runtime.devices)
    passes, rest = divmod(batch, clips * processes)
    if rest:
        raise ValueError(
            f"{run_folder(config)}: was trained with a global batch of {batch}, got {processes} processes of {clips} "
            f"clips: set runtime.devices, or optim.clips_per_device, so that their product divides {batch}"
        )
    return replace(config, runtime=replace(config.runtime, accumulate=passes))


def facts_of(config: RunConfig, recipe: Recipe, facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of a run for its checkpoints, in plain values: `facts` of the data and the network, and all others."""
    return {
        **facts,
        "global_batch": recipe.global_batch,
        "processes": recipe.processes,
        "schedule": {**asdict(recipe.schedule), "milestones": list(recipe.schedule.milestones)},
        "config": asdict(config),
        "versions": versions(),
        "commit": commit(),
    }


def begin(
    config: RunConfig,
    model: Any,
    recipe: Recipe,
    *,
    facts: dict[str, Any],
    task: Task,
    start: Callable[[str, str | None], list[str]],
    say: Callable[[str], None],
) -> TrainState:
    """The state that training begins with. Raises ValueError: weights or a checkpoint that do not fit.

    Args:
        start: loads the weights of a file, or of a part of it, and says what it did.
    """
    path, content, problems = newest_checkpoint(run_folder(config) / "checkpoints")
    if path is None:
        for line in begin_anew(config, start):
            say(line)
        return fresh_state(config, model, recipe)
    for problem in problems:
        say(f"warning: {problem}; going back to {path.name}")
    state = fresh_state(config, model, recipe)
    try:
        lines = _resume(state, content, where=path, facts=facts, source=task.source, last_step=config.optim.steps)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path}: not a checkpoint of this project: it lacks {error}") from error
    for line in lines:
        say(line)
    return state


def begin_anew(config: RunConfig, start: Callable[[str, str | None], list[str]]) -> list[str]:
    """Loads the weights to start from, if there are any; what to say about them. Raises ValueError: as `start` does."""
    if config.init.weights is None:
        return ["starts from random weights; init.weights=FILE gives others"]
    return start(config.init.weights, config.init.part)


def fresh_state(config: RunConfig, model: Any, recipe: Recipe) -> TrainState:
    """The state before the first step, on the device."""
    optim, runtime = config.optim, config.runtime
    model.to(local_device())
    groups = model.groups(backbone_lr=optim.backbone_lr)
    optimizer = build_optimizer(groups, optim, lr=recipe.schedule.base_lr, fused=runtime.fused)
    scaler = torch.amp.GradScaler(local_device().type, enabled=runtime.precision == "fp16")
    return TrainState(model, optimizer, scaler)


def _resume(
    state: TrainState, content: dict[str, Any], *, where: Path, facts: dict[str, Any], source: str, last_step: int
) -> list[str]:
    """Continues from a checkpoint of this run; what to say about it."""
    before = content["facts"]
    if before[f"listed_{source}"] != facts[f"listed_{source}"]:
        raise ValueError(f"{where}: was trained on another list of {source}; give this run another name=...")
    if before["global_batch"] != facts["global_batch"]:
        raise ValueError(
            f"{where}: was trained with a global batch of {before['global_batch']}, got {facts['global_batch']}: "
            "set runtime.accumulate so that clips x passes x processes is the same"
        )
    restore(state, content, where=where)
    if state.step > last_step:
        raise ValueError(f"{where}: has {state.step} steps, got optim.steps={last_step}, expected as many or more")
    lines = [f"resumed from {where}"]
    if before[f"present_{source}"] != facts[f"present_{source}"]:
        lines.append(f"other {source} are missing than before: from here on other ones are drawn")
    if before["processes"] != facts["processes"]:
        lines.append(
            "the number of processes changed: batch normalisation sees other clips together, dropout is another"
        )
    old, new = before.get("config", {}).get("runtime", {}), facts["config"]["runtime"]
    names = [name for name in NUMERICAL if name in old]
    changed = differences({name: old[name] for name in names}, {name: new[name] for name in names})
    return lines + [f"runtime.{change}: from here on rounding differs" for change in changed]
