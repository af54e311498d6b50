"""One test of a detector, in one process: from weights and images to the results file and the report."""

import os
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.data.coco.annotations import read_annotations, read_results
from nonlocal_video.data.coco.dataset import TestingImages
from nonlocal_video.data.loader import testing_loader
from nonlocal_video.engine.checkpoint import read_checkpoint
from nonlocal_video.engine.evaluate import Journal, evaluate, journals, read_journals
from nonlocal_video.metrics.detection import FIELDS
from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.models.detection.weights import load_detector
from nonlocal_video.models.weights.file import load_weights
from nonlocal_video.reports.test.detection import build_report, format_report, write_report
from nonlocal_video.reports.versions import commit, versions
from nonlocal_video.runs.network import own_function
from nonlocal_video.runs.pictures import ListedImages, format_images, hash_pictures
from nonlocal_video.runs.weights import hash_weights
from nonlocal_video.settings import DetectionConfig, TestConfig
from nonlocal_video.settings.identity import config_hash, recipe_hash
from nonlocal_video.settings.values import expect
from nonlocal_video.system import distributed
from nonlocal_video.system.distributed import gather, is_main, local_device, rank, world_size
from nonlocal_video.system.launch import only_job
from nonlocal_video.tasks.detection.results import Detected, ImageJudge
from nonlocal_video.tasks.detection.task import MEASURED
from nonlocal_video.types import Failure


class DetectionTestJob(NamedTuple):
    """A testing job as every process gets it: the settings, the weights, and the images, which were looked for once."""

    config: TestConfig
    run: DetectionConfig
    weights: Path
    notes: list[str]
    """Notes on the choice of the weights."""
    images: ListedImages


def run(job: DetectionTestJob) -> None:
    """Detects the objects of this process's share of the images; the main process evaluates and writes the report.

    What a killed test of the same weights and images has found is not looked for again. Raises ValueError: what a user
    can mend.
    """
    folder, runtime = Path(str(job.config.run)) / "test" / str(job.config.name), job.config.runtime
    distributed.set_threads(runtime.threads)
    with only_job(folder):
        network, trained = _load(job)
        identity = _identify(job, network)
        distributed.check_same("images or weights", identity)
        _say(_describe(job, network, trained.get("step")))
        before = _resume(folder, identity, job) if is_main() else []
        began = time.perf_counter()
        found, failures = _detect(job, network, folder, identity, before)
        if is_main():
            facts = {**_facts(job, network, trained), "seconds": round(time.perf_counter() - began, 2)}
            _report(job, folder, found, failures, facts)


def _load(job: DetectionTestJob) -> tuple[Detector, Mapping[str, Any]]:
    """The detector of the run with the weights, on the device, and what a checkpoint says of its training."""
    if job.weights.suffix == ".safetensors":
        network, trained = load_detector(job.weights)[0], dict[str, Any]()
        same = network.plain_options() == Detector(job.run.model).plain_options()
        expect(same, str(job.weights), "weights of another detector", "that of the run")
    else:
        content, function = read_checkpoint(job.weights), own_function(job.config.model.pairwise)
        network = Detector(replace(job.run.model, pairwise=function or job.run.model.pairwise))
        trained = {**content["facts"], "step": content["step"]}
        load_weights(network, content["model"], where=job.weights)
    network.lay_out(channels_last=job.config.runtime.channels_last)
    got, expected = len(job.images.categories), network.options.num_classes
    expect(got == expected, "data.val", f"{got} categories", f"{expected}, as the detector was trained for")
    return network.eval().to(local_device()), trained


def _identify(job: DetectionTestJob, network: Detector) -> dict[str, Any]:
    """The facts that make a test what it is: results of another one are not gone on with."""
    return {
        "weights": hash_weights(network),
        "images": job.images.census["hash"],
        "precision": job.config.runtime.precision,
        "versions": versions(),
    }


def _describe(job: DetectionTestJob, network: Detector, step: int | None) -> str:
    """One screen on what will be tested."""
    options, runtime = network.options, job.config.runtime
    trained = "" if step is None else f", step {step} of {job.run.optim.steps}"
    lines = [
        f"network: {options.name or options.kind}, {options.num_classes} categories",
        f"weights: {job.weights}{trained}, hash {hash_weights(network)}",
        *(f"  {note}" for note in job.notes),
        f"images: {job.run.data.name}, {job.run.data.val}; {format_images(job.images.census)}",
        f"each alone, short side {options.short_side}, long side up to {options.long_side}",
        f"device: {world_size()} x {local_device().type}, {runtime.precision}",
    ]
    return "\n".join(lines)


def _resume(folder: Path, identity: dict[str, Any], job: DetectionTestJob) -> list[Detected]:
    """The results that a killed test has left; journals of another test are deleted."""
    listed = {picture.name for picture in job.images.pictures}
    try:
        before = read_journals(folder, test=identity, read=Detected.from_json)
        if strange := [done.name for done in before if done.name not in listed]:
            raise ValueError(f"{strange[0]!r} is not a listed image")
    except ValueError as error:
        _say(f"begins anew: what {folder} holds of an unfinished test is of another one ({error})")
        for path in journals(folder):
            path.unlink()
        return []
    if before:
        _say(f"goes on: {len(before)} images were tested before")
    return before


def _detect(
    job: DetectionTestJob, network: Detector, folder: Path, identity: dict[str, Any], before: list[Detected]
) -> tuple[list[Detected], list[Failure]]:
    """Tests what is left to do: all results by image, and what could not be read, on the main process."""
    pictures, runtime = job.images.pictures, job.config.runtime
    done = distributed.all_gather({found.name for found in before})[0]  # Before anyone writes a journal.
    todo = [row for row, picture in enumerate(pictures) if picture.name not in done]
    place = {"rank": rank(), "world_size": world_size()}
    limit_s = job.run.data.decode_limit_s
    loader = testing_loader(TestingImages(pictures), todo, workers=runtime.workers, limit_s=limit_s, **place)
    judge = ImageJudge(network, categories=job.images.category_ids, precision=runtime.precision)
    found, failures = list[Detected](), list[Failure]()
    with closing(Journal(folder, rank=rank(), test=identity)) as journal:

        def finished(outcome: Detected | Failure) -> None:
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                journal.add(outcome)
                found.append(outcome)

        evaluate(judge, loader, finished=finished, total=len(loader), unit="image")
    everything = [*before, *(one for part in gather(found) for one in part)]
    lost = [failure for part in gather(failures) for failure in part]
    return sorted(everything, key=lambda one: one.image_id), sorted(lost)


def _facts(job: DetectionTestJob, network: Detector, trained: Mapping[str, Any]) -> dict[str, Any]:
    run, step = job.run, trained.get("step")
    return {
        "run": job.config.run,
        "network": run.choices["model"],
        "data": run.data.name,
        "seed": run.seed,
        "task": run.task,
        "weights": str(job.weights),
        "weights_hash": hash_weights(network),
        "step": step,
        "steps": run.optim.steps if step is not None else None,
        "protocol": asdict(job.config.protocol),
        "census": job.images.census,
        "listed_images": hash_pictures([*job.images.pictures, *job.images.missing]),
        "train_census": trained.get("census"),
        "commit": {"training": trained.get("commit"), "testing": commit()},
        "precision": job.config.runtime.precision,
        "processes": world_size(),
        "config_hash": config_hash(run),
        "recipe_hash": recipe_hash(run),
    }


def _report(
    job: DetectionTestJob, folder: Path, found: list[Detected], failures: list[Failure], facts: Mapping[str, Any]
) -> None:
    """Writes the results and the report, and then deletes the journals."""
    missing = [Failure(picture.name, f"{picture.path}: no such file") for picture in job.images.missing]
    results = [result for one in found for result in one.results]
    assert job.images.content is not None, "these are the images to test on"
    categories = dict(job.images.categories)
    report, precisions = build_report(
        job.images.content, results, measured=MEASURED[job.run.task], categories=categories,
        failures=[*missing, *failures], facts=facts, tested=len(found),
    )  # fmt: skip
    write_report(folder, report, results, precisions)
    for path in journals(folder):
        path.unlink()
    _say(f"{format_report(report)}\nreport: {folder}/report.md, report.json, results.json")


def evaluate_file(results: str, annotations: str, *, runs: str) -> None:
    """Evaluates a file of results in COCO's format, and writes a report below `runs`.

    Raises:
        ValueError: no such file, not in COCO's format, or results of other images or categories.
    """
    for setting, path in (("detections", results), ("data.val", annotations)):
        expect(os.path.isfile(path), setting, path, "a JSON file in COCO's format")
    found = read_results(results)
    measured = [of for of, field in FIELDS.items() if found and all(field in result for result in found)] or ["box"]
    listed = read_annotations(annotations, root=None, kind="faster_rcnn")
    names: dict[str, Any] = {
        "network": Path(results).stem,
        "data": Path(annotations).stem,
        "detections": results,
    }
    try:
        report, precisions = build_report(
            listed.content, found, measured=measured, categories=dict(listed.categories), failures=(), facts=names,
            tested=len({result["image_id"] for result in found}),
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{results}: {error}") from error
    folder = Path(runs) / names["network"] / "test" / names["data"]
    write_report(folder, report, found, precisions)
    _say(f"{format_report(report)}\nreport: {folder}/report.md, report.json, results.json")


def _say(text: str) -> None:
    if is_main():
        print(text, flush=True)
