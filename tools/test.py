"""Tests a trained network: python tools/test.py run=runs/NAME, or weights=FILE.safetensors data=NAME"""

import time
from pathlib import Path
from typing import NamedTuple

import hydra
from omegaconf import DictConfig

from nonlocal_video import build
from nonlocal_video.config import build_model, evaluation_config, one_job, run_tool
from nonlocal_video.data.lists.manifest import hash_entries
from nonlocal_video.data.loader import testing_loader
from nonlocal_video.distributed import check_same, is_main, local_device, rank, set_threads, world_size
from nonlocal_video.engine.checkpoint import list_checkpoints, read_checkpoint
from nonlocal_video.engine.evaluate import evaluate
from nonlocal_video.engine.log import read_metrics
from nonlocal_video.launch import launch
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.weights.file import load_model, load_weights, read_model_file
from nonlocal_video.reports.report import build_report, format_report, write_report
from nonlocal_video.science import config_hash, recipe_hash
from nonlocal_video.settings import TestConfig, TrainConfig
from nonlocal_video.types import Failure


class Job(NamedTuple):
    """What every process gets: the settings, the weights' file and the videos, which were looked for once."""

    config: TestConfig
    run: TrainConfig
    weights: Path
    videos: build.Found


@hydra.main(version_base="1.3", config_path="../configs", config_name="test")
def main(cfg: DictConfig) -> None:
    with one_job():
        config, run = evaluation_config(cfg)
        weights = find_weights(Path(str(config.run)), config.weights)
        found = build.find_videos(run.data, "val")
        # An unwritable folder fails here, before the work.
        (Path(str(config.run)) / "test" / str(config.name)).mkdir(parents=True, exist_ok=True)
        launch(
            test, Job(config, run, weights, found), processes=config.runtime.devices, timeout_s=config.runtime.timeout_s
        )


def find_weights(run: Path, weights: str | None) -> Path:
    """The file that `weights` stands for: itself, or a run's newest checkpoint (None) or best one ("best").

    Raises:
        ValueError: the run has none.
    """
    if weights not in (None, "best"):
        return Path(str(weights))
    checkpoints = list_checkpoints(run / "checkpoints")
    if not checkpoints:
        raise ValueError(f"{run}: no checkpoint yet; train it first, or name a file with weights=...")
    if weights is None:
        return checkpoints[-1]
    best = read_checkpoint(checkpoints[-1])["best"]
    if best is None:
        raise ValueError(f"{run}: weights=best: it was not validated while it trained (runtime.validate_every)")
    return run / "checkpoints" / f"step_{best['step']:08d}.pt"


class Loaded(NamedTuple):
    """A network with its weights, and what their file says of them."""

    model: Classifier
    step: int | None
    """The steps that it was trained for."""
    census: dict[str, object] | None
    """Of the videos that it was trained on."""
    batch_norm: str
    """What it normalises with: the running averages of training, precise statistics, or those of a file."""


def load(job: Job) -> Loaded:
    """The network.

    Raises:
        ValueError: not such a file, or one of another network.
    """
    if job.weights.suffix == ".safetensors":
        loaded = Loaded(load_model(job.weights), None, None, "as in the file")
    else:
        model, content = build_model(job.run), read_checkpoint(job.weights)
        precise = content["precise_bn"]
        load_weights(model, {**content["model"], **(precise or {})}, where=job.weights)
        census = content["facts"].get("census")
        loaded = Loaded(model, content["step"], census, "precise" if precise else "running averages")
    if loaded.model.options.num_classes != job.run.data.num_classes:
        raise ValueError(
            f"{job.weights}: got weights for {loaded.model.options.num_classes} classes, "
            f"expected {job.run.data.num_classes}, those of {job.run.data.name}"
        )
    return loaded


def class_names(job: Job) -> list[str] | None:
    """Those of the data set, or else those that the file of weights tells."""
    names = build.class_names(job.run.data)
    if names is None and job.weights.suffix == ".safetensors":
        return read_model_file(job.weights, with_weights=False).classes
    return names


def test(job: Job) -> None:
    """Scores this process's share of the videos; the main process writes the report."""
    runtime, run, found = job.config.runtime, Path(str(job.config.run)), job.videos
    set_threads(runtime.threads)
    check_same("videos", (hash_entries(found.entries), job.weights.name))
    model, step, train_census, batch_norm = load(job)
    model.lay_out(channels_last=runtime.channels_last)
    model.to(local_device())
    videos = build.build_testing_videos(job.run, found.entries)
    loader = testing_loader(
        videos,
        rank=rank(),
        world_size=world_size(),
        workers=runtime.workers,
        limit_s=job.run.data.decode_limit_s,
    )
    start = time.perf_counter()
    evaluation = evaluate(model, loader, chunk=runtime.chunk, precision=runtime.precision)
    if is_main():
        missing = [Failure(entry.video, f"{entry.path}: no such file") for entry in found.missing]
        broken = [Failure(entry.video, f"{entry.path}: {cause}, says the census") for entry, cause in found.broken]
        evaluation = evaluation._replace(failures=sorted([*evaluation.failures, *broken]))
        report = build_report(
            evaluation,
            missing,
            facts={
                "run": job.config.run,
                "network": job.run.choices["model"],
                "data": job.run.data.name,
                "seed": job.run.seed,
                "weights": str(job.weights),
                "step": step,
                "steps": job.run.optim.steps if step is not None else None,
                "clips": {
                    "length": job.run.clip.length,
                    "stride": job.run.clip.stride,
                    "num_clips": job.run.clip.num_clips,
                },
                "views": {"short_side": job.run.clip.short_side, "num_crops": job.run.clip.num_crops},
                "census": found.census._asdict(),
                "train_census": train_census,
                "batch_norm": batch_norm,
                "precision": runtime.precision,
                "config_hash": config_hash(job.run),
                "recipe_hash": recipe_hash(job.run),
            },
            metrics=read_metrics(run) if job.weights.is_relative_to(run) else [],
            seconds=time.perf_counter() - start,
        )
        folder = run / "test" / str(job.config.name)
        write_report(folder, report, evaluation, classes=class_names(job))
        print(format_report(report))
        print(f"report: {folder}/report.json, predictions: {folder}/predictions.jsonl", flush=True)


if __name__ == "__main__":
    run_tool(main)
