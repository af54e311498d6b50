"""What a test is of, and what it will do."""

from dataclasses import asdict
from typing import Any, NamedTuple

from nonlocal_video.data.census.usable import format_census
from nonlocal_video.data.lists.manifest import hash_entries
from nonlocal_video.reports.test.report import protocol_words
from nonlocal_video.reports.versions import versions
from nonlocal_video.runs.loading import Loaded
from nonlocal_video.runs.videos import Found
from nonlocal_video.runs.weights import Weights
from nonlocal_video.settings import ProtocolConfig, TestConfig, TrainConfig
from nonlocal_video.system.distributed import local_device, world_size


class TestJob(NamedTuple):
    """What every process gets: the settings, the file of weights and the videos, which were looked for once."""

    config: TestConfig
    run: TrainConfig
    weights: Weights
    videos: Found


def check_fit(loaded: Loaded, protocol: ProtocolConfig, *, length: int) -> None:
    """Raises: ValueError: the network has no map left of such views."""
    side = side_of(protocol)
    try:
        loaded.model.backbone.final_map(length, side, side)
    except ValueError as error:
        raise ValueError(f"protocol.short_side: got {side}: {error}") from error


def identify(job: TestJob, loaded: Loaded) -> dict[str, Any]:
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


def describe(job: TestJob, loaded: Loaded) -> str:
    """What will be tested, on one screen."""
    protocol, runtime, found = job.config.protocol, job.config.runtime, job.videos
    clip, options = job.run.clip, loaded.model.options
    trained = "" if loaded.step is None else f", step {loaded.step} of {job.run.optim.steps}"
    costs = [f"{one.name} {_pixels(one, clip.length, side_of(protocol)) / 1e6:.3g}" for one in _beside(protocol)]
    together = f", {runtime.chunk} views at a time" if runtime.chunk else ""
    lines = [
        f"network: {options.name or job.run.choices['model']}, {options.num_classes} classes",
        f"weights: {job.weights.path}{trained}, hash {loaded.weights_hash}, batch normalisation: {loaded.batch_norm}",
        *(f"  {note}" for note in job.weights.notes),
        f"videos: {job.run.data.name}, {job.run.data.val}; {format_census(found.census._asdict())}",
        f"protocol: {protocol_words(protocol_facts(job))}",
        f"cost of a video of 340x256, million pixels through the network: {', '.join(costs)}",
        f"device: {world_size()} x {local_device().type}, {runtime.precision}{together}",
    ]
    if all(entry.label is None for entry in found.entries):
        lines.append("labels: none in this list: predictions only, no accuracy")
    return "\n".join(lines)


def protocol_facts(job: TestJob) -> dict[str, Any]:
    clip = job.run.clip
    return {"clips": {"length": clip.length, "stride": clip.stride}, "protocol": asdict(job.config.protocol)}


def side_of(protocol: ProtocolConfig) -> int:
    assert protocol.short_side is not None, "it is filled in where the network is known"
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
