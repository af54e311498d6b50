"""The recipe of a run, from its settings and the number of processes: computed once, and told in one screen."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nonlocal_video.data.census.usable import format_census
from nonlocal_video.engine.optim import Schedule
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.placement import format_places
from nonlocal_video.settings import OptimConfig, RunConfig, RuntimeConfig, TrainConfig
from nonlocal_video.settings.values import expect
from nonlocal_video.system.distributed import local_device
from nonlocal_video.tasks.clips import ClipTask

CONFIGS = Path(__file__).parents[2] / "configs"


@dataclass(frozen=True)
class Recipe:
    """The numbers that follow from the settings and the number of processes."""

    processes: int
    clips_per_rank: int
    """Clips of a step in each process."""
    global_batch: int
    schedule: Schedule


def check_machine(runtime: RuntimeConfig, optim: OptimConfig | None = None, *, elsewhere: bool = False) -> None:
    """Raises ValueError where the GPUs that a job asks for are not there.

    Args:
        optim: of a job that trains.
        elsewhere: the GPUs are those of another machine, as in a dry run.
    """
    gpus = torch.cuda.device_count()
    if gpus and not elsewhere:
        expect((runtime.devices or 1) <= gpus, "runtime.devices", runtime.devices, f"at most {gpus}, the GPUs here")
    if optim is not None and not gpus:
        expect(runtime.precision != "fp16", "runtime.precision", "fp16", "fp32 or bf16 to train without a GPU")
        expect(not optim.sync_bn, "optim.sync_bn", True, "false: it needs GPUs, none is here")


def make_recipe(config: RunConfig, *, processes: int) -> Recipe:
    """The learning rate is given for `reference_batch` clips a step and is proportional to them (Goyal et al. 2017)."""
    optim = config.optim
    clips_per_rank = optim.clips_per_device * (config.runtime.accumulate or 1)
    global_batch = clips_per_rank * processes
    base_lr = optim.lr * global_batch / optim.reference_batch
    schedule = Schedule(base_lr, optim.steps, optim.schedule, optim.milestones, optim.warmup_steps, optim.warmup_from)
    return Recipe(processes, clips_per_rank, global_batch, schedule)


def describe_run(
    config: TrainConfig, model: Classifier, recipe: Recipe, *, task: ClipTask, census: dict[str, Any] | None
) -> str:
    """One screen on what is about to run; `census` is that of the training videos, None if nobody looked for them."""
    clip, options, runtime = config.clip, model.options, config.runtime
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    how = [runtime.precision, "channels last" if runtime.channels_last else "channels first"]
    how += [name for name in ("compile", "recompute") if getattr(runtime, name)]
    fps = f" at {clip.fps:g} frames a second" if clip.fps else ""
    lines = [
        f"run {config.name} on {recipe.processes} x {local_device().type}, {', '.join(how)}",
        f"network {options.name}: {num_parameters / 1e6:.2f}M parameters, {options.stem} stem, {options.norm} norm",
        format_places(model),
        *_videos(config, census, task),
        f"clips of {clip.length} frames, 1 of {clip.stride}{fps}, short side {clip.jitter[0]} to {clip.jitter[1]}, "
        f"crop {clip.crop}{', mirrored every second time' if clip.flip else ''}",
    ]
    lines += describe_defaults(config)
    lines += [
        *describe_batch(config, recipe, unit="clips"),
        *_optimiser(config, model),
        *describe_expected(config.choices.get("experiment")),
    ]
    return "\n".join(lines)


def describe_defaults(config: RunConfig) -> list[str]:
    """The groups of settings that nobody chose."""
    if not config.by_default:
        return []
    taken = " ".join(f"{group}={config.choices[group]}" for group in config.by_default)
    folders = ", ".join(f"configs/{group}/" for group in config.by_default)
    return [f"note: by default, the paper's: {taken}; choose others of {folders} on the command line"]


def _videos(config: TrainConfig, census: dict[str, Any] | None, task: ClipTask) -> list[str]:
    data = config.data
    classes = f"{data.num_classes} classes" + (f" of {data.classes}" if data.classes else "")
    classes += f", only videos of those in {data.subset}" if data.subset else ""
    classes += task.words
    if census is None:
        return [f"data {data.name}: not looked for, {classes}"]
    counts = f"{census['listed']} videos listed, {census['missing']} missing"
    return [f"data {data.name}: {counts}, {classes}", format_census(census)]


def describe_batch(config: RunConfig, recipe: Recipe, *, unit: str) -> list[str]:
    """The batch and the learning rate; `unit` is the word for what is in a batch."""
    optim, passes = config.optim, config.runtime.accumulate or 1
    lines = [
        f"batch {optim.clips_per_device} {unit} x {passes} passes x {recipe.processes} processes = "
        f"{recipe.global_batch}",
        f"learning rate {optim.lr:g} x {recipe.global_batch} / {optim.reference_batch} = {recipe.schedule.base_lr:g} "
        f"(linear rule), {recipe.schedule.words()}",
    ]
    if recipe.global_batch != optim.reference_batch:
        steps = round(optim.steps * optim.reference_batch / recipe.global_batch)
        lines.append(
            f"note: the settings are for {optim.reference_batch} {unit} a step, so the learning rate was scaled; "
            f"as many {unit} as there take optim.steps={steps}, and milestones in proportion"
        )
    return lines


def _optimiser(config: TrainConfig, model: Classifier) -> list[str]:
    optim = config.optim
    nesterov = " (Nesterov)" if optim.nesterov else ""
    line = (
        f"SGD: momentum {optim.momentum:g}{nesterov}, weight decay {optim.weight_decay:g}, none on batch normalisation"
    )
    line += f", dropout {model.options.dropout:g}"
    if optim.clip_norm is not None:
        line += f", gradient norm up to {optim.clip_norm:g}"
    if optim.backbone_lr != 1:
        line += f", backbone at {optim.backbone_lr:g} of the rate" if optim.backbone_lr else ", classifier only"
    if model.options.norm != "batch":
        return [line]
    statistics = f"averaged over {optim.precise_bn} batches a process" if optim.precise_bn else "running averages"
    clips = "all GPUs" if optim.sync_bn else "each pass"
    return [line, f"batch normalisation: over the clips of {clips}; for evaluation {statistics}"]


def describe_expected(experiment: str | None) -> list[str]:
    """The numbers that an experiment should reach, as the head of its file says."""
    path = CONFIGS / "experiment" / f"{experiment}.yaml"
    text = path.read_text() if experiment and path.is_file() else ""
    said = re.search(r"^# (?:Expected|What it reaches:) (.+?)\.?$", text, re.MULTILINE)
    return [f"expected of experiment={experiment} as it stands: {said[1]}"] if said else []
