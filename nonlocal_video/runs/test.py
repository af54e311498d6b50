"""One test, in one process: from weights and videos to the report."""

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from nonlocal_video.data.lists.labels import numbers_of
from nonlocal_video.data.loader import testing_loader
from nonlocal_video.engine.evaluate import Journal, Timing, evaluate, journals, read_journals
from nonlocal_video.reports.test.report import build_report, format_report, write_report
from nonlocal_video.reports.versions import commit
from nonlocal_video.runs.loading import Loaded, load
from nonlocal_video.runs.network import own_function
from nonlocal_video.runs.tested import TestJob, check_fit, describe, identify, protocol_facts, side_of
from nonlocal_video.runs.videos import build_testing_videos
from nonlocal_video.settings.identity import config_hash, recipe_hash
from nonlocal_video.system.distributed import (
    all_gather,
    all_reduce_sum,
    check_same,
    gather,
    is_main,
    rank,
    set_threads,
    world_size,
)
from nonlocal_video.system.launch import only_job
from nonlocal_video.system.plain import json_lines
from nonlocal_video.tasks import task_of
from nonlocal_video.tasks.views import Scorer, VideoJudge
from nonlocal_video.types import Evaluation, Failure, Prediction


def run(job: TestJob) -> None:
    """Scores this process's share of the videos; the main process writes the report.

    What a killed test of the same weights, videos and protocol has scored is not scored again.

    Raises:
        ValueError: what a user can mend.
    """
    folder = Path(str(job.config.run)) / "test" / str(job.config.name)
    set_threads(job.config.runtime.threads)
    with only_job(folder):
        pairwise = own_function(job.config.model.pairwise)
        loaded = load(
            job.weights.path,
            job.run,
            classes=job.videos.classes,
            pairwise=pairwise,
            channels_last=job.config.runtime.channels_last,
        )
        check_fit(loaded, job.config.protocol, length=job.run.clip.length)
        identity = identify(job, loaded)
        check_same("videos or weights", identity)
        _say(describe(job, loaded))
        before = _resume(folder, identity, job, loaded) if is_main() else []
        outcome = _score(job, loaded, folder, identity, before)
        if is_main():
            _report(job, loaded, folder, outcome)


def _resume(folder: Path, identity: dict[str, Any], job: TestJob, loaded: Loaded) -> list[Prediction]:
    """What a killed test has left; journals of another test are deleted."""
    listed, classes = {entry.video for entry in job.videos.entries}, (loaded.model.options.num_classes,)
    try:
        before = read_journals(folder, test=identity, read=Prediction.from_json)
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
    work: Timing
    """Of all together."""
    pixels: float
    """That went through the network."""
    seconds: float
    """By the clock."""
    num_before: int
    """Predictions of an earlier job."""
    chunk: int | None
    """Views that ran together at the end."""


def _score(job: TestJob, loaded: Loaded, folder: Path, identity: dict[str, Any], before: list[Prediction]) -> _Outcome:
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
    judge = VideoJudge(scorer, combine=config.protocol.combine, keep_views=config.save_views)
    predictions, failures = list[Prediction](), list[Failure]()
    with closing(Journal(folder, rank=rank(), test=identity)) as journal:

        def finished(outcome: Prediction | Failure) -> None:
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                journal.add(outcome)
                predictions.append(outcome)

        work = evaluate(judge, loader, finished=finished, total=len(loader), unit="video")
    everything = [*before, *(one for part in gather(predictions) for one in part)]
    lost = [one for part in gather(failures) for one in part]
    *times, pixels = all_reduce_sum(torch.tensor([*work, judge.pixels], dtype=torch.float64)).tolist()
    evaluation = Evaluation(sorted(everything, key=lambda one: one.video), sorted(lost))
    return _Outcome(evaluation, Timing(*times), pixels, time.perf_counter() - began, len(before), scorer.chunk)


def _report(job: TestJob, loaded: Loaded, folder: Path, outcome: _Outcome) -> None:
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
            **protocol_facts(job),
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
            "task": task_of(settings.data).name,
            "cost": {
                "pixels_per_video": round(outcome.pixels / scored_now) if scored_now else None,
                "pixels_per_video_10x3": 30 * clip.length * side_of(protocol) ** 2,
                "data_wait": round(100 * work.waited_s / work.seconds, 2),
            },
        },
        metrics=list(json_lines(Path(str(config.run)) / "metrics.jsonl", dict)) if loaded.step is not None else [],
        seconds=outcome.seconds,
        resumed=outcome.num_before,
        num_classes=loaded.model.options.num_classes,
        classes=loaded.classes,
        known={entry.video: numbers_of(entry.label) for entry in found.listed},
    )
    write_report(folder, report, evaluation, classes=loaded.classes)
    for path in journals(folder):
        path.unlink()
    _say(f"{format_report(report)}\nreport: {folder}/report.md, report.json, predictions.jsonl")


def _say(text: str) -> None:
    if is_main():
        print(text, flush=True)


def _note(text: str) -> None:
    tqdm.write(f"process {rank()}: {text}", file=sys.stderr)
