"""One test, in one process: from weights and videos to the report."""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nonlocal_video.data.census.usable import format_census
from nonlocal_video.data.lists.labels import numbers_of
from nonlocal_video.data.lists.manifest import hash_entries
from nonlocal_video.data.loader import testing_loader
from nonlocal_video.engine.evaluate import evaluate_rest, journals
from nonlocal_video.reports.test.report import build_report, format_report, protocol_words, write_report
from nonlocal_video.reports.versions import versions
from nonlocal_video.runs.evaluation import TestJob, facts_of, say
from nonlocal_video.runs.network import own_function
from nonlocal_video.runs.videos import ListedVideos, clips_of, side_of, views_of
from nonlocal_video.runs.weights import TrainedNetwork, load
from nonlocal_video.settings import ProtocolConfig, TrainConfig
from nonlocal_video.settings.values import expect
from nonlocal_video.system import distributed
from nonlocal_video.system.distributed import is_main, local_device, rank, world_size
from nonlocal_video.system.launch import only_job
from nonlocal_video.system.plain import json_lines
from nonlocal_video.tasks import task_of
from nonlocal_video.tasks.views import Scorer, VideoJudge
from nonlocal_video.types import Evaluation, Failure, Prediction

VideoTestJob = TestJob[TrainConfig, ListedVideos]


def run(job: VideoTestJob) -> None:
    """Scores this process's share of the videos; the main process writes the report.

    What a killed test of the same weights, videos and protocol has scored is not scored again. Raises ValueError: what
    a user can mend.
    """
    runtime = job.config.runtime
    distributed.set_threads(runtime.threads)
    with only_job(job.folder):
        own, names = own_function(job.config.model.pairwise), job.listed.classes
        trained = load(job.weights, job.run, classes=names, pairwise=own, channels_last=runtime.channels_last)
        identity, screen = _identify(job, trained), _describe(job, trained)
        distributed.check_same("videos or weights", identity)
        say(screen)
        evaluation, measured = _score(job, trained, identity)
        if is_main():
            _report(job, trained, evaluation, measured)


def _identify(job: VideoTestJob, trained: TrainedNetwork) -> dict[str, Any]:
    """The facts that make a test what it is: predictions of another one are not gone on with."""
    return {
        "weights": trained.weights_hash,
        "videos": hash_entries(job.listed.entries),
        "clip": [job.run.clip.length, job.run.clip.stride],
        "protocol": asdict(job.config.protocol),
        "precision": job.config.runtime.precision,
        "decoder": job.run.data.decoder,
        "save_views": job.config.save_views,
        "versions": versions(),
    }


def _describe(job: VideoTestJob, trained: TrainedNetwork) -> str:
    """One screen on what will be tested. Raises ValueError: the network has no map left of such small views."""
    protocol, runtime, found = job.config.protocol, job.config.runtime, job.listed
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


def _protocol_facts(job: VideoTestJob) -> dict[str, Any]:
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


def _score(job: VideoTestJob, trained: TrainedNetwork, identity: dict[str, Any]) -> tuple[Evaluation, dict[str, Any]]:
    """Scores what is left to do; the main process gets what all together found, and what it cost."""
    began, config, runtime, clip = time.perf_counter(), job.config, job.config.runtime, job.run.clip
    protocol, entries, num_classes = config.protocol, job.listed.entries, trained.model.options.num_classes
    pick = clips_of(protocol, length=clip.length, stride=clip.stride)
    videos, limit_s = views_of(protocol, job.run.data)(entries, pick=pick), job.run.data.decode_limit_s
    share = partial(testing_loader, videos, workers=runtime.workers, limit_s=limit_s)
    scorer = Scorer(trained.model.eval().scores, chunk=runtime.chunk, precision=runtime.precision, note=_note)
    judge = VideoJudge(scorer, combine=protocol.combine, keep_views=config.save_views)

    def read(plain: Mapping[str, Any]) -> Prediction:
        done = Prediction.from_json(plain)
        expect(done.scores.shape == (num_classes,), done.video, f"{len(done.scores)} scores", f"{num_classes}")
        return done

    names = [entry.video for entry in entries]
    found = evaluate_rest(judge, share, names, folder=job.folder, test=identity, read=read, unit="video", note=say)
    sums = torch.tensor([*found.timing, judge.pixels], dtype=torch.float64)
    seconds, waited_s, pixels = distributed.all_reduce_sum(sums).tolist()
    num_scored = len(found.outcomes) - found.resumed
    cost = {
        "pixels_per_video": round(pixels / num_scored) if num_scored else None,
        "pixels_per_video_10x3": 30 * clip.length * side_of(protocol) ** 2,
        "data_wait": round(100 * waited_s / seconds, 2),
    }
    evaluation = Evaluation(sorted(found.outcomes, key=lambda prediction: prediction.video), found.failures)
    seconds = time.perf_counter() - began
    return evaluation, {"chunk": scorer.chunk, "cost": cost, "seconds": seconds, "resumed": found.resumed}


def _report(job: VideoTestJob, trained: TrainedNetwork, evaluation: Evaluation, measured: dict[str, Any]) -> None:
    """Writes the report, and then deletes the journals."""
    found, folder = job.listed, job.folder
    broken = [Failure(entry.video, f"{entry.path}: {cause}, says the census") for entry, cause in found.broken]
    facts = {
        **facts_of(job, trained),
        **_protocol_facts(job),
        "task": task_of(job.run.data).name,
        "census": found.census._asdict(),
        "batch_norm": trained.batch_norm,
        "chunk": measured["chunk"],
        "published": trained.published,
        "cost": measured["cost"],
    }
    report = build_report(
        evaluation._replace(failures=sorted([*evaluation.failures, *broken])),
        [Failure(entry.video, f"{entry.path}: no such file") for entry in found.missing],
        facts=facts,
        metrics=list(json_lines(Path(str(job.config.run)) / "metrics.jsonl", dict)) if trained.step is not None else [],
        seconds=measured["seconds"],
        resumed=measured["resumed"],
        num_classes=trained.model.options.num_classes,
        classes=trained.classes,
        known={entry.video: numbers_of(entry.label) for entry in found.listed},
    )
    write_report(folder, report, evaluation, classes=trained.classes)
    for path in journals(folder):
        path.unlink()
    say(f"{format_report(report)}\nreport: {folder}/report.md, report.json, predictions.jsonl, scores.npz")


def _note(text: str) -> None:
    tqdm.write(f"process {rank()}: {text}", file=sys.stderr)
