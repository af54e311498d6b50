"""A test: its settings, its videos, and what it will do."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.data.census.usable import format_census
from nonlocal_video.data.lists.manifest import hash_entries
from nonlocal_video.reports.test.page import protocol_words
from nonlocal_video.reports.versions import versions
from nonlocal_video.runs.loading import TrainedNetwork
from nonlocal_video.runs.videos import ListedVideos, side_of
from nonlocal_video.settings import ProtocolConfig, TestConfig, TrainConfig
from nonlocal_video.system.distributed import local_device, world_size


class TestJob(NamedTuple):
    """What every process gets: the settings, the file of weights and the videos, which were looked for once."""

    config: TestConfig
    run: TrainConfig
    weights: Path
    notes: list[str]
    """What to know about the choice of the weights."""
    videos: ListedVideos


def identify(job: TestJob, trained: TrainedNetwork) -> dict[str, Any]:
    """What makes a test what it is: predictions of another one are not gone on with."""
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


def describe_test(job: TestJob, trained: TrainedNetwork) -> str:
    """What will be tested, on one screen.

    Raises:
        ValueError: the network has no map left of views of the protocol's size.
    """
    protocol, runtime, found = job.config.protocol, job.config.runtime, job.videos
    length, side, options = job.run.clip.length, side_of(protocol), trained.model.options
    try:
        trained.model.backbone.final_map(length, side, side)
    except ValueError as error:
        raise ValueError(f"protocol.short_side: got {side}: {error}") from error
    step = "" if trained.step is None else f", step {trained.step} of {job.run.optim.steps}"
    together = f", {runtime.chunk} views at a time" if runtime.chunk else ""
    lines = [
        f"network: {options.name or job.run.choices['model']}, {options.num_classes} classes",
        f"weights: {job.weights}{step}, hash {trained.weights_hash}, batch normalisation: {trained.batch_norm}",
        *(f"  {note}" for note in job.notes),
        f"videos: {job.run.data.name}, {job.run.data.val}; {format_census(found.census._asdict())}",
        f"protocol: {protocol_words(protocol_facts(job))}",
        f"cost of a video of 340x256, million pixels through the network: {_costs(protocol, length)}",
        f"device: {world_size()} x {local_device().type}, {runtime.precision}{together}",
    ]
    if all(entry.label is None for entry in found.entries):
        lines.append("labels: none in this list: predictions only, no accuracy")
    return "\n".join(lines)


def protocol_facts(job: TestJob) -> dict[str, Any]:
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
