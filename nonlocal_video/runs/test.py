"""One test, in one process: from weights and videos to the report."""

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from nonlocal_video.data.census.usable import format_census
from nonlocal_video.data.lists.manifest import hash_entries
from nonlocal_video.data.loader import testing_loader
from nonlocal_video.data.targets import classes_of
from nonlocal_video.engine.evaluate import Scorer, Work, evaluate
from nonlocal_video.engine.journal import Journal, journals, read_journals
from nonlocal_video.engine.log import read_metrics
from nonlocal_video.reports.test.page import protocol_words
from nonlocal_video.reports.test.report import build_report, format_report, write_report
from nonlocal_video.reports.versions import commit, versions
from nonlocal_video.runs.loading import Loaded, load
from nonlocal_video.runs.network import own_function
from nonlocal_video.runs.videos import Found, build_testing_videos
from nonlocal_video.runs.weights import Weights
from nonlocal_video.settings import ProtocolConfig, TestConfig, TrainConfig
from nonlocal_video.settings.identity import config_hash, recipe_hash
from nonlocal_video.system.distributed import (
    all_gather,
    all_reduce_sum,
    check_same,
    gather,
    is_main,
    local_device,
    rank,
    set_threads,
    world_size,
)
from nonlocal_video.system.launch import only_job
from nonlocal_video.types import Entry, Evaluation, Failure, Prediction


class Job(NamedTuple):
    """What every process gets: the settings, the file of weights and the videos, which were looked for once."""

    config: TestConfig
    run: TrainConfig
    weights: Weights
    videos: Found


def run(job: Job) -> None:
    """Scores this process's share of the videos; the main process writes the report.

    What a killed test of the same weights, videos and protocol has scored is not scored again.

    Raises:
        ValueError: what a user can mend.
    """
    folder = Path(str(job.config.run)) / "test" / str(job.config.name)
    set_threads(job.config.runtime.threads)
    with only_job(folder):
        pairwise = own_function(job.config.model.pairwise)
        loaded = load(job.weights.path, job.run, pairwise=pairwise, channels_last=job.config.runtime.channels_last)
        _check_fit(loaded, job.config.protocol, length=job.run.clip.length)
        identity = identify(job, loaded)
        check_same("videos or weights", identity)
        _say(describe(job, loaded))
        before = _resume(folder, identity, job, loaded) if is_main() else []
        outcome = _score(job, loaded, folder, identity, before)
        if is_main():
            _report(job, loaded, folder, outcome)


def _check_fit(loaded: Loaded, protocol: ProtocolConfig, *, length: int) -> None:
    """Raises: ValueError: the network has no map left of such views."""
    side = _side(protocol)
    try:
        loaded.model.backbone.final_map(length, side, side)
    except ValueError as error:
        raise ValueError(f"protocol.short_side: got {side}: {error}") from error


def identify(job: Job, loaded: Loaded) -> dict[str, Any]:
    """What makes a test what it is: predictions of another one are not gone on with."""
    return {
        "weights": loaded.weights_hash,
        "videos": hash_entries(job.videos.entries),
        "clip": [job.run.clip.length, job.run.clip.stride],
        "protocol": asdict(job.config.protocol),
        "precision": job.config.runtime.precision,
        "decoder": job.run.data.decoder,
        "save_views": job.config.save_views,
        "versions": versions(),
    }


def describe(job: Job, loaded: Loaded) -> str:
    """What will be tested, on one screen."""
    protocol, runtime, found = job.config.protocol, job.config.runtime, job.videos
    clip, options = job.run.clip, loaded.model.options
    trained = "" if loaded.step is None else f", step {loaded.step} of {job.run.optim.steps}"
    costs = [f"{one.name} {_pixels(one, clip.length, _side(protocol)) / 1e6:.3g}" for one in _beside(protocol)]
    together = f", {runtime.chunk} views at a time" if runtime.chunk else ""
    lines = [
        f"network: {options.name or job.run.choices['model']}, {options.num_classes} classes",
        f"weights: {job.weights.path}{trained}, hash {loaded.weights_hash}, batch normalisation: {loaded.batch_norm}",
        *(f"  {note}" for note in job.weights.notes),
        f"videos: {job.run.data.name}, {job.run.data.val}; {format_census(found.census._asdict())}",
        f"protocol: {protocol_words(_protocol_facts(job))}",
        f"cost of a video of 340x256, million pixels through the network: {', '.join(costs)}",
        f"device: {world_size()} x {local_device().type}, {runtime.precision}{together}",
    ]
    if all(entry.label is None for entry in found.entries):
        lines.append("labels: none in this list: predictions only, no accuracy")
    return "\n".join(lines)


def _protocol_facts(job: Job) -> dict[str, Any]:
    clip = job.run.clip
    return {"clips": {"length": clip.length, "stride": clip.stride}, "protocol": asdict(job.config.protocol)}


def _side(protocol: ProtocolConfig) -> int:
    assert protocol.short_side is not None, "config.py fills it in"
    return protocol.short_side


def _beside(protocol: ProtocolConfig) -> list[ProtocolConfig]:
    """This protocol, and the paper's and the released code's to compare its cost with."""
    named = [ProtocolConfig("full_10", crops="full"), ProtocolConfig("10x3", crops="3")]
    return [protocol, *(one for one in named if one.name != protocol.name)]


def _pixels(protocol: ProtocolConfig, length: int, short_side: int) -> int:
    """Those that a video of 340x256 sends through the network, at this short side."""
    views = protocol.num_clips * (3 if protocol.crops == "3" else 1) * (2 if protocol.flips else 1)
    width = short_side * 340 // 256 if protocol.crops == "full" else short_side
    return views * length * short_side * width


def _resume(folder: Path, identity: dict[str, Any], job: Job, loaded: Loaded) -> list[Prediction]:
    """What a killed test has left; journals of another test are deleted."""
    listed, classes = {entry.video for entry in job.videos.entries}, (loaded.model.options.num_classes,)
    try:
        before = read_journals(folder, test=identity)
        strange = [one.video for one in before if one.video not in listed or one.scores.shape != classes]
        if strange:
            raise ValueError(f"{strange[0]!r} is not a listed video with {classes[0]} scores")
    except ValueError as error:
        _say(f"begins anew: what {folder} holds of an unfinished test is of another one ({error})")
        for path in journals(folder):
            path.unlink()
        return []
    if before:
        _say(f"goes on: {len(before)} videos were scored before")
    return before


class _Outcome(NamedTuple):
    """What all processes together found, on the main one, and what it cost."""

    evaluation: Evaluation
    work: Work
    """Of all together."""
    seconds: float
    """By the clock."""
    num_before: int
    """Predictions of an earlier job."""
    chunk: int | None
    """Views that ran together at the end."""


def _score(job: Job, loaded: Loaded, folder: Path, identity: dict[str, Any], before: list[Prediction]) -> _Outcome:
    """Scores what is left to do."""
    began, runtime = time.perf_counter(), job.config.runtime
    config, entries = job.config, job.videos.entries
    done = all_gather({prediction.video for prediction in before})[0]  # Before anyone writes a journal.
    todo = [row for row, entry in enumerate(entries) if entry.video not in done]
    loader = testing_loader(
        build_testing_videos(job.run, config.protocol, entries),
        todo,
        rank=rank(),
        world_size=world_size(),
        workers=runtime.workers,
        limit_s=job.run.data.decode_limit_s,
    )
    scorer = Scorer(loaded.model.eval().scores, chunk=runtime.chunk, precision=runtime.precision, note=_note)
    predictions, failures = list[Prediction](), list[Failure]()
    with closing(Journal(folder, rank=rank(), test=identity)) as journal:

        def finished(outcome: Prediction | Failure) -> None:
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                journal.add(outcome)
                predictions.append(outcome)

        work = evaluate(
            scorer,
            loader,
            combine=config.protocol.combine,
            keep_views=config.save_views,
            finished=finished,
            total=len(loader),
        )
    everything = [*before, *(one for part in gather(predictions) for one in part)]
    lost = [one for part in gather(failures) for one in part]
    work = Work(*all_reduce_sum(torch.tensor(work, dtype=torch.float64)).tolist())
    evaluation = Evaluation(sorted(everything, key=lambda one: one.video), sorted(lost))
    return _Outcome(evaluation, work, time.perf_counter() - began, len(before), scorer.chunk)


def _report(job: Job, loaded: Loaded, folder: Path, outcome: _Outcome) -> None:
    """Writes the report, and then deletes the journals."""
    evaluation, work = outcome.evaluation, outcome.work
    config, settings, found = job.config, job.run, job.videos
    missing = [Failure(entry.video, f"{entry.path}: no such file") for entry in found.missing]
    broken = [Failure(entry.video, f"{entry.path}: {cause}, says the census") for entry, cause in found.broken]
    scored_now = len(evaluation.predictions) - outcome.num_before
    clip, protocol = settings.clip, config.protocol
    report = build_report(
        evaluation._replace(failures=sorted([*evaluation.failures, *broken])),
        missing,
        facts={
            "run": config.run,
            "network": settings.choices["model"],
            "data": settings.data.name,
            "seed": settings.seed,
            "weights": str(job.weights.path),
            "weights_hash": loaded.weights_hash,
            "step": loaded.step,
            "steps": settings.optim.steps if loaded.step is not None else None,
            **_protocol_facts(job),
            "census": found.census._asdict(),
            "train_census": loaded.census,
            "commit": {"training": loaded.commit, "testing": commit()},
            "batch_norm": loaded.batch_norm,
            "precision": config.runtime.precision,
            "chunk": outcome.chunk,
            "processes": world_size(),
            "config_hash": config_hash(settings),
            "recipe_hash": recipe_hash(settings),
            "published": loaded.published,
            "multi_label": loaded.model.options.activation == "sigmoid",
            "cost": {
                "pixels_per_video": round(work.pixels / scored_now) if scored_now else None,
                "pixels_per_video_10x3": 30 * clip.length * _side(protocol) ** 2,
                "data_wait": round(100 * work.waited_s / work.seconds, 2),
            },
        },
        metrics=read_metrics(Path(str(config.run))) if loaded.step is not None else [],
        seconds=outcome.seconds,
        resumed=outcome.num_before,
        num_classes=loaded.model.options.num_classes,
        classes=loaded.classes,
        lost=_several_labels([*found.entries, *found.missing, *(entry for entry, _ in found.broken)]),
    )
    write_report(folder, report, evaluation, classes=loaded.classes)
    for path in journals(folder):
        path.unlink()
    _say(f"{format_report(report)}\nreport: {folder}/report.md, report.json, predictions.jsonl")


def _several_labels(entries: Sequence[Entry]) -> dict[str, tuple[int, ...]]:
    """The classes of the videos that have several, by their names."""
    classes = {entry.video: classes_of(entry.label) for entry in entries}
    return {video: label for video, label in classes.items() if isinstance(label, tuple)}


def _say(text: str) -> None:
    if is_main():
        print(text, flush=True)


def _note(text: str) -> None:
    tqdm.write(f"process {rank()}: {text}", file=sys.stderr)
