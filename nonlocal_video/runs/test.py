"""One test, in one process: from weights and videos to the report."""

import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from nonlocal_video.data.census.usable import format_census
from nonlocal_video.data.lists.labels import numbers_of
from nonlocal_video.data.lists.manifest import hash_entries
from nonlocal_video.data.loader import testing_loader
from nonlocal_video.engine.evaluate import Journal, evaluate, journals, resume
from nonlocal_video.reports.test.report import build_report, format_report, protocol_words, write_report
from nonlocal_video.reports.versions import commit, versions
from nonlocal_video.runs.network import own_function
from nonlocal_video.runs.videos import ListedVideos, clips_of, side_of, views_of
from nonlocal_video.runs.weights import TrainedNetwork, load
from nonlocal_video.settings import ProtocolConfig, TestConfig, TrainConfig
from nonlocal_video.settings.identity import config_hash, recipe_hash
from nonlocal_video.system import distributed
from nonlocal_video.system.distributed import gather, is_main, local_device, rank, world_size
from nonlocal_video.system.launch import only_job
from nonlocal_video.system.plain import json_lines
from nonlocal_video.tasks import task_of
from nonlocal_video.tasks.views import Scorer, VideoJudge
from nonlocal_video.types import Evaluation, Failure, Prediction


class TestJob(NamedTuple):
    """A testing job as every process gets it: the settings, the weights, and the videos, which were looked for once."""

    config: TestConfig
    run: TrainConfig
    weights: Path
    notes: list[str]
    """Notes on the choice of the weights."""
    videos: ListedVideos


def run(job: TestJob) -> None:
    """Scores this process's share of the videos; the main process writes the report.

    What a killed test of the same weights, videos and protocol has scored is not scored again. Raises ValueError: what
    a user can mend.
    """
    folder, runtime = Path(str(job.config.run)) / "test" / str(job.config.name), job.config.runtime
    distributed.set_threads(runtime.threads)
    with only_job(folder):
        own, names = own_function(job.config.model.pairwise), job.videos.classes
        trained = load(job.weights, job.run, classes=names, pairwise=own, channels_last=runtime.channels_last)
        identity, screen = _identify(job, trained), _describe(job, trained)
        distributed.check_same("videos or weights", identity)
        _say(screen)
        before = _resume(folder, identity, job, trained) if is_main() else []
        evaluation, measured = _score(job, trained, folder, identity, before)
        if is_main():
            _report(job, trained, folder, evaluation, measured, len(before))


def _identify(job: TestJob, trained: TrainedNetwork) -> dict[str, Any]:
    """The facts that make a test what it is: predictions of another one are not gone on with."""
    return {
        "weights": trained.weights_hash,
        "videos": hash_entries(job.videos.entries),
        "clip": [job.run.clip.length, job.run.clip.stride],
        "protocol": asdict(job.config.protocol),
        "precision": job.config.runtime.precision,
        "decoder": job.run.data.decoder,
        "save_views": job.config.save_views,
        "versions": versions(),
    }


def _describe(job: TestJob, trained: TrainedNetwork) -> str:
    """One screen on what will be tested. Raises ValueError: the network has no map left of such small views."""
    protocol, runtime, found = job.config.protocol, job.config.runtime, job.videos
    length, side, options = job.run.clip.length, side_of(protocol), trained.model.options
    try:
        trained.model.backbone.final_map(length, side, side)
    except ValueError as error:
        raise ValueError(f"protocol.short_side: got {side}: {error}") from error
    step = "" if trained.step is None else f", step {trained.step} of {job.run.optim.steps}"
    together = f", {runtime.chunk} views at a time" if runtime.chunk else ""
    labelled = any(entry.label is not None for entry in found.entries)
    lines = [
        f"network: {options.name or job.run.choices['model']}, {options.num_classes} classes",
        f"weights: {job.weights}{step}, hash {trained.weights_hash}, batch normalisation: {trained.batch_norm}",
        *(f"  {note}" for note in job.notes),
        f"videos: {job.run.data.name}, {job.run.data.val}; {format_census(found.census._asdict())}",
        f"protocol: {protocol_words(_protocol_facts(job))}",
        f"cost of a video of 340x256, million pixels through the network: {_costs(protocol, length)}",
        f"device: {world_size()} x {local_device().type}, {runtime.precision}{together}",
        *([] if labelled else ["labels: none in this list: predictions only, no accuracy"]),
    ]
    return "\n".join(lines)


def _protocol_facts(job: TestJob) -> dict[str, Any]:
    """The views of a test, as reports say them."""
    clip = job.run.clip
    return {"clips": {"length": clip.length, "stride": clip.stride}, "protocol": asdict(job.config.protocol)}


def _costs(protocol: ProtocolConfig, length: int) -> str:
    """Million pixels of a video of 340x256: by this protocol, and at its short side by the paper's and the released."""
    named = [ProtocolConfig("full_10", crops="full"), ProtocolConfig("10x3", crops="3")]
    side, costs = side_of(protocol), list[str]()
    for other in [protocol, *(other for other in named if other.name != protocol.name)]:
        views = other.num_clips * (3 if other.crops == "3" else 1) * (2 if other.flips else 1)
        width = side * 340 // 256 if other.crops == "full" else side
        costs.append(f"{other.name} {views * length * side * width / 1e6:.3g}")
    return ", ".join(costs)


def _resume(folder: Path, identity: dict[str, Any], job: TestJob, trained: TrainedNetwork) -> list[Prediction]:
    """The predictions that a killed test of the same videos and classes has left."""
    listed, classes = {entry.video for entry in job.videos.entries}, (trained.model.options.num_classes,)

    def read(plain: Mapping[str, Any]) -> Prediction:
        done = Prediction.from_json(plain)
        if done.video not in listed or done.scores.shape != classes:
            raise ValueError(f"{done.video!r} is not a listed video with {classes[0]} scores")
        return done

    return resume(folder, test=identity, read=read, unit="video", note=_say)


def _score(
    job: TestJob, trained: TrainedNetwork, folder: Path, identity: dict[str, Any], before: list[Prediction]
) -> tuple[Evaluation, dict[str, Any]]:
    """Scores what is left to do: what all processes together found, on the main one, and what it cost."""
    began, config, runtime, clip = time.perf_counter(), job.config, job.config.runtime, job.run.clip
    protocol, entries = config.protocol, job.videos.entries
    done = distributed.all_gather({prediction.video for prediction in before})[0]  # Before anyone writes a journal.
    todo = [row for row, entry in enumerate(entries) if entry.video not in done]
    pick = clips_of(protocol, length=clip.length, stride=clip.stride)
    videos, limit_s = views_of(protocol, job.run.data)(entries, pick=pick), job.run.data.decode_limit_s
    place = {"rank": rank(), "world_size": world_size()}
    loader = testing_loader(videos, todo, workers=runtime.workers, limit_s=limit_s, **place)
    scorer = Scorer(trained.model.eval().scores, chunk=runtime.chunk, precision=runtime.precision, note=_note)
    judge = VideoJudge(scorer, combine=protocol.combine, keep_views=config.save_views)
    predictions, failures = list[Prediction](), list[Failure]()
    with closing(Journal(folder, rank=rank(), test=identity)) as journal:

        def finished(outcome: Prediction | Failure) -> None:
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                journal.add(outcome)
                predictions.append(outcome)

        work = evaluate(judge, loader, finished=finished, total=len(loader), unit="video")
    scored = [prediction for part in gather(predictions) for prediction in part]
    lost = [failure for part in gather(failures) for failure in part]
    sums = torch.tensor([*work, judge.pixels], dtype=torch.float64)
    seconds, waited_s, pixels = distributed.all_reduce_sum(sums).tolist()
    cost = {
        "pixels_per_video": round(pixels / len(scored)) if scored else None,
        "pixels_per_video_10x3": 30 * clip.length * side_of(protocol) ** 2,
        "data_wait": round(100 * waited_s / seconds, 2),
    }
    evaluation = Evaluation(sorted([*before, *scored], key=lambda prediction: prediction.video), sorted(lost))
    return evaluation, {"chunk": scorer.chunk, "cost": cost, "seconds": time.perf_counter() - began}


def _report(
    job: TestJob, trained: TrainedNetwork, folder: Path, evaluation: Evaluation, measured: dict[str, Any], resumed: int
) -> None:
    """Writes the report, and then deletes the journals."""
    found, run = job.videos, job.run
    broken = [Failure(entry.video, f"{entry.path}: {cause}, says the census") for entry, cause in found.broken]
    facts = {
        "run": job.config.run,
        "network": run.choices["model"],
        "data": run.data.name,
        "seed": run.seed,
        "weights": str(job.weights),
        "weights_hash": trained.weights_hash,
        "step": trained.step,
        "steps": run.optim.steps if trained.step is not None else None,
        **_protocol_facts(job),
        "census": found.census._asdict(),
        "train_census": trained.census,
        "commit": {"training": trained.commit, "testing": commit()},
        "batch_norm": trained.batch_norm,
        "precision": job.config.runtime.precision,
        "chunk": measured["chunk"],
        "processes": world_size(),
        "config_hash": config_hash(run),
        "recipe_hash": recipe_hash(run),
        "published": trained.published,
        "task": task_of(run.data).name,
        "cost": measured["cost"],
    }
    report = build_report(
        evaluation._replace(failures=sorted([*evaluation.failures, *broken])),
        [Failure(entry.video, f"{entry.path}: no such file") for entry in found.missing],
        facts=facts,
        metrics=list(json_lines(Path(str(job.config.run)) / "metrics.jsonl", dict)) if trained.step is not None else [],
        seconds=measured["seconds"],
        resumed=resumed,
        num_classes=trained.model.options.num_classes,
        classes=trained.classes,
        known={entry.video: numbers_of(entry.label) for entry in found.listed},
    )
    write_report(folder, report, evaluation, classes=trained.classes)
    for path in journals(folder):
        path.unlink()
    _say(f"{format_report(report)}\nreport: {folder}/report.md, report.json, predictions.jsonl, scores.npz")


def _say(text: str) -> None:
    if is_main():
        print(text, flush=True)


def _note(text: str) -> None:
    tqdm.write(f"process {rank()}: {text}", file=sys.stderr)
