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
from nonlocal_video.engine.evaluate import Work, evaluate
from nonlocal_video.engine.journal import Journal, journals, read_journals
from nonlocal_video.engine.log import read_metrics
from nonlocal_video.reports.test.report import build_report, format_report, write_report
from nonlocal_video.reports.versions import commit
from nonlocal_video.runs.loading import TrainedNetwork, load
from nonlocal_video.runs.network import own_function
from nonlocal_video.runs.tested import TestJob, describe_test, identify, protocol_facts
from nonlocal_video.runs.videos import clips_of, side_of, views_of
from nonlocal_video.settings.identity import config_hash, recipe_hash
from nonlocal_video.system import distributed
from nonlocal_video.system.distributed import gather, is_main, rank, world_size
from nonlocal_video.system.launch import only_job
from nonlocal_video.tasks import task_of
from nonlocal_video.tasks.views import Scorer, VideoJudge
from nonlocal_video.types import Evaluation, Failure, Prediction


def run(job: TestJob) -> None:
    """Scores this process's share of the videos; the main process writes the report.

    What a killed test of the same weights, videos and protocol has scored is not scored again.

    Raises:
        ValueError: what a user can mend.
    """
    folder, runtime = Path(str(job.config.run)) / "test" / str(job.config.name), job.config.runtime
    distributed.set_threads(runtime.threads)
    with only_job(folder):
        own, names = own_function(job.config.model.pairwise), job.videos.classes
        trained = load(job.weights, job.run, classes=names, pairwise=own, channels_last=runtime.channels_last)
        identity, screen = identify(job, trained), describe_test(job, trained)
        distributed.check_same("videos or weights", identity)
        _say(screen)
        before = _resume(folder, identity, job, trained) if is_main() else []
        outcome = _score(job, trained, folder, identity, before)
        if is_main():
            _report(job, trained, folder, outcome)


def _resume(folder: Path, identity: dict[str, Any], job: TestJob, trained: TrainedNetwork) -> list[Prediction]:
    """What a killed test has left; journals of another test are deleted."""
    listed, classes = {entry.video for entry in job.videos.entries}, (trained.model.options.num_classes,)
    try:
        before = read_journals(folder, test=identity, read=Prediction.from_json)
        strange = [done.video for done in before if done.video not in listed or done.scores.shape != classes]
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
    pixels: float
    """That went through the network."""
    seconds: float
    """By the clock."""
    num_before: int
    """Predictions of an earlier job."""
    chunk: int | None
    """Views that ran together at the end."""


def _score(
    job: TestJob, trained: TrainedNetwork, folder: Path, identity: dict[str, Any], before: list[Prediction]
) -> _Outcome:
    """Scores what is left to do."""
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
    everything = [*before, *(prediction for part in gather(predictions) for prediction in part)]
    lost = [failure for part in gather(failures) for failure in part]
    costs = torch.tensor([*work, judge.pixels], dtype=torch.float64)
    *times, pixels = distributed.all_reduce_sum(costs).tolist()
    evaluation = Evaluation(sorted(everything, key=lambda prediction: prediction.video), sorted(lost))
    return _Outcome(evaluation, Work(*times), pixels, time.perf_counter() - began, len(before), scorer.chunk)


def _report(job: TestJob, trained: TrainedNetwork, folder: Path, outcome: _Outcome) -> None:
    """Writes the report, and then deletes the journals."""
    found, was_trained = job.videos, trained.step is not None
    broken = [Failure(entry.video, f"{entry.path}: {cause}, says the census") for entry, cause in found.broken]
    evaluation = outcome.evaluation._replace(failures=sorted([*outcome.evaluation.failures, *broken]))
    report = build_report(
        evaluation,
        [Failure(entry.video, f"{entry.path}: no such file") for entry in found.missing],
        facts=_facts(job, trained, outcome),
        metrics=read_metrics(Path(str(job.config.run))) if was_trained else [],
        seconds=outcome.seconds,
        resumed=outcome.num_before,
        num_classes=trained.model.options.num_classes,
        classes=trained.classes,
        known={entry.video: numbers_of(entry.label) for entry in found.listed},
    )
    write_report(folder, report, outcome.evaluation, classes=trained.classes)
    for path in journals(folder):
        path.unlink()
    _say(f"{format_report(report)}\nreport: {folder}/report.md, report.json, predictions.jsonl")


def _facts(job: TestJob, trained: TrainedNetwork, outcome: _Outcome) -> dict[str, Any]:
    """Where the numbers of a report come from."""
    run, work = job.run, outcome.work
    scored_now = len(outcome.evaluation.predictions) - outcome.num_before
    return {
        "run": job.config.run,
        "network": run.choices["model"],
        "data": run.data.name,
        "seed": run.seed,
        "weights": str(job.weights),
        "weights_hash": trained.weights_hash,
        "step": trained.step,
        "steps": run.optim.steps if trained.step is not None else None,
        **protocol_facts(job),
        "census": job.videos.census._asdict(),
        "train_census": trained.census,
        "commit": {"training": trained.commit, "testing": commit()},
        "batch_norm": trained.batch_norm,
        "precision": job.config.runtime.precision,
        "chunk": outcome.chunk,
        "processes": world_size(),
        "config_hash": config_hash(run),
        "recipe_hash": recipe_hash(run),
        "published": trained.published,
        "task": task_of(run.data).name,
        "cost": {
            "pixels_per_video": round(outcome.pixels / scored_now) if scored_now else None,
            "pixels_per_video_10x3": 30 * run.clip.length * side_of(job.config.protocol) ** 2,
            "data_wait": round(100 * work.waited_s / work.seconds, 2),
        },
    }


def _say(text: str) -> None:
    if is_main():
        print(text, flush=True)


def _note(text: str) -> None:
    tqdm.write(f"process {rank()}: {text}", file=sys.stderr)
