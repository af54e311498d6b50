"""Trains a network: python tools/train.py experiment=miniature/nl_c2d"""

from pathlib import Path
from typing import Any, NamedTuple

import hydra
import torch
from omegaconf import DictConfig
from torch import Tensor

from nonlocal_video import build
from nonlocal_video.config import build_model, check_run, one_job, run_tool, train_config, write_run
from nonlocal_video.data.census.usable import format_census, hash_listed
from nonlocal_video.data.lists.manifest import hash_entries
from nonlocal_video.data.loader import step_plan, training_loader
from nonlocal_video.distributed import check_same, is_main, launch, local_device, rank, set_threads, world_size
from nonlocal_video.engine.checkpoint import list_checkpoints, read_checkpoint, restore, save_checkpoint
from nonlocal_video.engine.log import RunLog
from nonlocal_video.engine.optim import StepSchedule, build_sgd
from nonlocal_video.engine.state import TrainState
from nonlocal_video.engine.train import train
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.initialise import initialise
from nonlocal_video.models.placement import format_places
from nonlocal_video.models.weights import FORMATS
from nonlocal_video.models.weights.file import read_model_file, save_model
from nonlocal_video.settings import InitConfig, TrainConfig

SHAPING = ("stem", "pool1_padding", "pool2", "inflation", "pairwise", "axes", "subsample", "w_z_bias", "bn_eps")
"""Options in which a file of weights usually agrees with the network that starts from it."""


class Job(NamedTuple):
    """What every process gets: the settings, and the videos, which were looked for once."""

    config: TrainConfig
    videos: build.Found


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(cfg: DictConfig) -> None:
    with one_job():
        config = train_config(cfg)
        launch(run, Job(config, build.find_videos(config.data, "train")), processes=config.runtime.devices)


def run(job: Job) -> None:
    """Trains in this process, from the newest checkpoint if there is one."""
    config, runtime, optim, found = job.config, job.config.runtime, job.config.optim, job.videos
    folder = Path(runtime.runs) / str(config.name)
    set_threads(runtime.threads)
    torch.manual_seed(config.seed)
    model = build_model(config)
    clips_per_rank = optim.clips_per_device * runtime.accumulate
    global_batch = clips_per_rank * world_size()
    lr = optim.lr * global_batch / optim.reference_batch
    check_run(config, folder)
    if is_main():
        print(describe(job, model, global_batch=global_batch, lr=lr), flush=True)
    facts = {
        "global_batch": global_batch,
        "listed_videos": hash_listed(found.entries + found.missing + [entry for entry, _ in found.broken]),
        "present_videos": hash_entries(found.entries),
        "census": found.census._asdict(),
        "processes": world_size(),
    }
    state = new_or_resumed(model, config, folder / "checkpoints", lr=lr, facts=facts)
    check_same("videos or checkpoint", (facts, state.step))
    log = None
    if is_main():
        write_run(config, folder)
        (folder / "missing_videos.txt").write_text("".join(f"{entry.video}\n" for entry in found.missing))
        log = RunLog(folder, step=state.step)
    plan = step_plan(
        first_step=state.step,
        last_step=optim.steps,
        clips_per_rank=clips_per_rank,
        rank=rank(),
        world_size=world_size(),
    )
    videos = build.build_training_videos(config, found.entries)
    train(
        state,
        training_loader(videos, plan, workers=runtime.workers, limit_s=config.data.decode_limit_s),
        last_step=optim.steps,
        schedule=StepSchedule(lr, optim.milestones),
        seed=config.seed,
        precision=runtime.precision,
        accumulate=runtime.accumulate,
        max_failed=config.data.max_failed,
        log_every=runtime.log_every,
        write_log=log.write if log else None,
        checkpoint_every=runtime.checkpoint_every,
        save=lambda: save_checkpoint(folder / "checkpoints", state, facts=facts, keep=runtime.keep_checkpoints),
    )
    if log:
        log.close()
        origin = f"run {config.name}, {state.step} steps on {config.data.name}"
        save_model(folder / "model.safetensors", model, origin=origin, classes=build.class_names(config.data))
        print(
            f"trained {state.step} steps, {state.num_failures} videos could not be decoded: {folder}/model.safetensors"
        )
        print(f"next: python tools/test.py run={folder}\n      tensorboard --logdir {runtime.runs}", flush=True)


def new_or_resumed(
    model: Classifier, config: TrainConfig, folder: Path, *, lr: float, facts: dict[str, object]
) -> TrainState:
    """The state that training begins with: that of the newest checkpoint, or a new one with `init`'s weights."""
    optim, checkpoints = config.optim, list_checkpoints(folder)
    if not checkpoints:
        start_from(model, config.init)
    model.to(local_device())
    optimizer = build_sgd(
        model, lr=lr, momentum=optim.momentum, nesterov=optim.nesterov, weight_decay=optim.weight_decay
    )
    scaler = torch.amp.GradScaler(local_device().type, enabled=config.runtime.precision == "fp16")
    state = TrainState(model, optimizer, scaler)
    if checkpoints:
        resume(state, checkpoints[-1], facts=facts, last_step=optim.steps)
    return state


def describe(job: Job, model: Classifier, *, global_batch: int, lr: float) -> str:
    """One screen on what is about to run."""
    config, optim, options, passes = job.config, job.config.optim, model.options, job.config.runtime.accumulate
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    milestones = [str(milestone) for milestone in optim.milestones if milestone < optim.steps]
    return "\n".join(
        [
            f"run {config.name} on {world_size()} x {local_device().type}, {config.runtime.precision}",
            f"network {options.name}: {num_parameters / 1e6:.2f}M parameters, {options.stem} stem, {options.norm} norm",
            format_places(model),
            f"data {config.data.name}: {job.videos.census.listed} videos listed, {job.videos.census.missing} missing",
            format_census(job.videos.census._asdict()),
            f"batch {optim.clips_per_device} clips x {passes} passes x {world_size()} processes = {global_batch}",
            f"learning rate {optim.lr:g} x {global_batch} / {optim.reference_batch} = {lr:g}, "
            f"/10 at {', '.join(milestones) or 'none'} of {optim.steps} steps",
        ]
    )


def start_from(model: Classifier, init: InitConfig) -> None:
    """Loads the weights that training starts from, if any, and says what was loaded."""
    if init.imagenet and init.weights:
        raise ValueError("init: got both init.imagenet and init.weights, expected one of them")
    if not init.imagenet and not init.weights:
        return
    path = init.imagenet or str(init.weights)
    weights, options = read_start(path, imagenet=init.imagenet is not None)
    for name in SHAPING:
        here = getattr(model.options, name)
        if options.get(name, here) != here and is_main():
            print(f"note: model.{name} is {here}, but {options[name]} in {path}")
    loaded = initialise(model, weights, where=path)
    if is_main():
        blocks = sum(name.endswith("w_z.weight") for name in loaded.fresh)
        print(
            f"started from {path}: {loaded.num_loaded} tensors ({loaded.num_inflated} inflated over time); "
            f"fresh: the classifier and {blocks} non-local blocks; unused: {', '.join(loaded.unused) or 'none'}"
        )


def read_start(path: str, *, imagenet: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights to start from, and the options of their network if the file tells them."""
    if imagenet:
        return FORMATS["caffe2" if path.endswith(".pkl") else "torchvision"](path).weights, {}
    if path.endswith(".safetensors"):
        content = read_model_file(path)
        return content.weights, content.options
    return read_checkpoint(Path(path))["model"], {}


def resume(state: TrainState, path: Path, *, facts: dict[str, object], last_step: int) -> None:
    """Continues from a checkpoint of this run."""
    content = read_checkpoint(path)
    before = content["facts"]
    if before["listed_videos"] != facts["listed_videos"]:
        raise ValueError(f"{path}: was trained on another list of videos; give this run another name=...")
    if before["global_batch"] != facts["global_batch"]:
        raise ValueError(
            f"{path}: was trained with a global batch of {before['global_batch']}, got {facts['global_batch']}: "
            "set runtime.accumulate so that clips x passes x processes is the same"
        )
    restore(state, content, where=path)
    if state.step > last_step:
        raise ValueError(f"{path}: has {state.step} steps, got optim.steps={last_step}, expected as many or more")
    if is_main():
        print(f"resumed from {path}", flush=True)
        if before["present_videos"] != facts["present_videos"]:
            print("other videos are missing than before: from here on the stream of clips is another one")
        if before["processes"] != facts["processes"]:
            print("the number of processes changed: batch normalisation sees other clips together, dropout is another")


if __name__ == "__main__":
    run_tool(main)
