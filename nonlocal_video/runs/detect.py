"""One test of a detector, in one process: from weights and images to the results file and the report."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nonlocal_video.data.coco.annotations import Picture, read_annotations, read_results
from nonlocal_video.data.coco.dataset import TestingImages
from nonlocal_video.data.coco.masks import fault_of
from nonlocal_video.data.coco.usable import format_images, hash_pictures
from nonlocal_video.data.loader import testing_loader
from nonlocal_video.engine.checkpoint import read_checkpoint
from nonlocal_video.engine.evaluate import evaluate_rest, journals
from nonlocal_video.metrics.detection import FIELDS
from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.models.detection.weights import read_detector_file
from nonlocal_video.models.weights.file import load_weights
from nonlocal_video.reports.test.detection import write_report
from nonlocal_video.reports.versions import versions
from nonlocal_video.runs.evaluation import TestJob, facts_of, say
from nonlocal_video.runs.network import own_function
from nonlocal_video.runs.pictures import ListedImages
from nonlocal_video.runs.weights import TrainedNetwork, hash_weights
from nonlocal_video.settings import DetectionConfig
from nonlocal_video.settings.values import expect
from nonlocal_video.system import distributed
from nonlocal_video.system.distributed import is_main, local_device, world_size
from nonlocal_video.system.launch import only_job
from nonlocal_video.tasks.detection.results import Detected, ImageJudge
from nonlocal_video.tasks.detection.task import MEASURED
from nonlocal_video.types import Failure

ImageTestJob = TestJob[DetectionConfig, ListedImages]


def run(job: ImageTestJob) -> None:
    """Detects the objects of this process's share of the images; the main process evaluates and writes the report.

    What a killed test of the same weights and images has found is not looked for again. Raises ValueError: what a user
    can mend.
    """
    distributed.set_threads(job.config.runtime.threads)
    with only_job(job.folder):
        trained = _load(job)
        identity = _identify(job, trained)
        distributed.check_same("images or weights", identity)
        say(_describe(job, trained))
        began = time.perf_counter()
        found, failures = _detect(job, trained.model, identity)
        if is_main():
            _report(job, trained, found, failures, seconds=time.perf_counter() - began)


def _load(job: ImageTestJob) -> TrainedNetwork:
    """The detector of the run with the weights, on the device, and what a checkpoint says of its training."""
    function, step, facts = own_function(job.config.model.pairwise), None, dict[str, Any]()
    network = Detector(replace(job.run.model, pairwise=function or job.run.model.pairwise))
    if job.weights.suffix == ".safetensors":
        content = read_detector_file(job.weights)
        same, weights = content.options == network.plain_options(), content.weights
        expect(same, str(job.weights), "weights of another detector", "that of the run")
    else:
        checkpoint = read_checkpoint(job.weights)
        weights, facts, step = checkpoint["model"], checkpoint["facts"], checkpoint["step"]
    load_weights(network, weights, where=job.weights)
    network.lay_out(channels_last=job.config.runtime.channels_last)
    got, expected = len(job.listed.categories), network.options.num_classes
    expect(got == expected, "data.val", f"{got} categories", f"{expected}, as the detector was trained for")
    network.eval().to(local_device())
    census, commit = facts.get("census"), facts.get("commit")
    return TrainedNetwork(network, hash_weights(network), step=step, census=census, commit=commit)


def _identify(job: ImageTestJob, trained: TrainedNetwork) -> dict[str, Any]:
    """The facts that make a test what it is: results of another one are not gone on with."""
    return {
        "weights": trained.weights_hash,
        "images": job.listed.census["hash"],
        "precision": job.config.runtime.precision,
        "versions": versions(),
    }


def _describe(job: ImageTestJob, trained: TrainedNetwork) -> str:
    options, runtime = trained.model.options, job.config.runtime
    step = "" if trained.step is None else f", step {trained.step} of {job.run.optim.steps}"
    lines = [
        f"network: {options.name or options.kind}, {options.num_classes} categories",
        f"weights: {job.weights}{step}, hash {trained.weights_hash}",
        *(f"  {note}" for note in job.notes),
        f"images: {job.run.data.name}, {job.run.data.val}; {format_images(job.listed.census)}",
        f"each alone, short side {options.short_side}, long side up to {options.long_side}",
        f"device: {world_size()} x {local_device().type}, {runtime.precision}",
    ]
    return "\n".join(lines)


def _detect(job: ImageTestJob, network: Detector, identity: dict[str, Any]) -> tuple[list[Detected], list[Failure]]:
    """All results by image, and what could not be read, on the main process."""
    pictures, runtime, limit_s = job.listed.pictures, job.config.runtime, job.run.data.decode_limit_s
    share = partial(testing_loader, TestingImages(pictures), workers=runtime.workers, limit_s=limit_s)
    judge = ImageJudge(network, categories=job.listed.category_ids, precision=runtime.precision)
    names, read = [str(picture.image_id) for picture in pictures], Detected.from_json
    found = evaluate_rest(judge, share, names, folder=job.folder, test=identity, read=read, unit="image", note=say)
    return sorted(found.outcomes, key=lambda one: one.image_id), found.failures


def _report(
    job: ImageTestJob, trained: TrainedNetwork, found: list[Detected], failures: list[Failure], *, seconds: float
) -> None:
    """Writes the results and the report, and then deletes the journals."""
    listed = job.listed
    missing = [Failure(picture.name, f"{picture.path}: no such file") for picture in listed.missing]
    facts = {
        **facts_of(job, trained),
        "census": listed.census,
        "listed_images": hash_pictures([*listed.pictures, *listed.missing]),
        "seconds": round(seconds, 2),
    }
    results = [result for one in found for result in one.results]
    assert listed.content is not None, "these are the images to test on"
    told = write_report(
        job.folder, listed.content, results, pictures=listed.pictures, categories=dict(listed.categories),
        measured=MEASURED[job.run.task], failures=[*missing, *failures], facts=facts, tested=len(found),
    )  # fmt: skip
    say(told)
    for path in journals(job.folder):
        path.unlink()


def evaluate_file(results: str, annotations: str, *, images: str | None, runs: str) -> None:
    """Evaluates a file of results in COCO's format, and writes a report below `runs`.

    The worst images are drawn from the folder `images`, or from that of the annotations.

    Raises:
        ValueError: no such file, not in COCO's format, or results of other images or categories.
    """
    for setting, path in (("detections", results), ("data.val", annotations)):
        expect(os.path.isfile(path), setting, path, "a JSON file in COCO's format")
    found = read_results(results)
    measured = [of for of, field in FIELDS.items() if any(field in result for result in found)] or ["box"]
    kinds = {MEASURED[kind][-1]: kind for kind in MEASURED}
    listed = read_annotations(annotations, root=images, kind=kinds[measured[-1]])
    _check_masks(found, listed.pictures, where=results)
    facts = {"network": Path(results).stem, "data": Path(annotations).stem, "detections": results}
    folder = Path(runs) / facts["network"] / "test" / facts["data"]
    try:
        told = write_report(
            folder, listed.content, found, pictures=listed.pictures, categories=dict(listed.categories),
            measured=measured, failures=(), facts=facts, tested=len(listed.pictures),
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{results}: {error}") from error
    say(told)


def _check_masks(results: Sequence[Mapping[str, Any]], pictures: Iterable[Picture], *, where: str) -> None:
    """Raises ValueError: a mask that does not fit its image, of which pycocotools would compute some number."""
    sizes = {picture.image_id: [picture.height, picture.width] for picture in pictures}
    for row, result in enumerate(results):
        number, mask = result.get("image_id"), result.get("segmentation")
        size = sizes.get(number) if type(number) is int else None
        coded = isinstance(mask, dict) and isinstance(mask.get("counts"), str)
        if size and "segmentation" in result and (not coded or fault_of(mask, size)):
            got = f"segmentation: got {result['segmentation']!r:.100}"
            raise ValueError(
                f"{where}: result {row}: {got}, expected a code of {size[0]}x{size[1]} pixels, as its image"
            )
