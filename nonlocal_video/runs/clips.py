"""A run on clips of videos: its network, its task, its batches, and what is said of them."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.data.census.usable import hash_listed
from nonlocal_video.data.clips import random_clip
from nonlocal_video.data.dataset import PRECISE_BN, TRAIN, TrainingVideos, ValidationVideos
from nonlocal_video.data.lists.manifest import hash_entries
from nonlocal_video.data.loader import Loader, Videos, shard_plan, step_plan
from nonlocal_video.data.transforms import training_crop
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.weights.file import save_model
from nonlocal_video.models.weights.start import start_from
from nonlocal_video.runs.network import composed_network
from nonlocal_video.runs.recipe import Recipe, describe_run
from nonlocal_video.runs.videos import ListedVideos, decode_with, look_for_videos
from nonlocal_video.settings import TrainConfig
from nonlocal_video.system.distributed import rank, world_size
from nonlocal_video.tasks import task_of
from nonlocal_video.types import ClipBatch


class ClipJob(NamedTuple):
    """A training job as every process gets it: the settings, and the videos, which were looked for once."""

    config: TrainConfig
    train: ListedVideos | None
    """None in a rehearsal of which nobody said where the videos are."""
    val: ListedVideos | None
    """The videos for validation while training, if there is any."""

    def subject(self) -> "ClipRun":
        """The run, in this process."""
        return ClipRun(self)


def find_job(config: TrainConfig) -> ClipJob:
    """Looks for the videos of a run: those to train on, to validate with, and to test on as soon as it is trained."""
    found = look_for_videos(config.data, "train")
    if config.runtime.validate_every:
        return ClipJob(config, found, look_for_videos(config.data, "val"))
    if config.test is not None:  # A list that is not there is told now, and not when all is trained.
        look_for_videos(config.data, "val", labelled=False)
    return ClipJob(config, found, None)


class ClipRun:
    """A run on clips; the network is on the CPU, with random weights."""

    def __init__(self, job: ClipJob) -> None:
        self.job, self.config, self.task = job, job.config, task_of(job.config.data)
        self.network: Classifier = composed_network(self.config.model)
        self.network.lay_out(channels_last=self.config.runtime.channels_last)
        self.network.backbone.recompute = self.config.runtime.recompute

    @property
    def train(self) -> ListedVideos:
        """The videos to train on, which only a rehearsal may lack."""
        assert self.job.train is not None
        return self.job.train

    def describe(self, recipe: Recipe) -> str:
        """One screen on what is about to run."""
        census = None if self.job.train is None else self.job.train.census._asdict()
        return describe_run(self.config, self.network, recipe, task=self.task, census=census)

    def facts(self) -> dict[str, Any]:
        """The data and the network in plain values, for checkpoints."""
        return {
            "listed_videos": hash_listed(self.train.listed),
            "present_videos": hash_entries(self.train.entries),
            "census": self.train.census._asdict(),
            "options": self.network.plain_options(),
        }

    def start(self, weights: str, part: str | None) -> list[str]:
        """Loads the weights of a file, or of a part of it, and says what it did."""
        return start_from(self.network, weights, part=part)

    def note_missing(self, folder: Path) -> None:
        """Writes which of the listed videos are not there."""
        (folder / "missing_videos.txt").write_text("".join(f"{entry.video}\n" for entry in self.train.missing))

    def batches(self, first_step: int, recipe: Recipe) -> Iterable[ClipBatch]:
        """The batches of this process, from a step to the last."""
        return self._stream(TRAIN, first_step, self.config.optim.steps, clips_per_rank=recipe.clips_per_rank)

    def statistics_batches(self) -> Iterable[ClipBatch]:
        """Batches of a stream of their own, to measure statistics of batch normalisation."""
        optim = self.config.optim
        return self._stream(PRECISE_BN, 0, optim.precise_bn, clips_per_rank=optim.clips_per_device)

    def _stream(self, stream: int, first_step: int, last_step: int, *, clips_per_rank: int) -> Iterable[ClipBatch]:
        seed, target = self.config.seed, self.task.target
        videos = TrainingVideos(self.train.entries, seed=seed, stream=stream, target=target, **self._clips())
        place = {"rank": rank(), "world_size": world_size()}
        plan = step_plan(first_step=first_step, last_step=last_step, clips_per_rank=clips_per_rank, **place)
        return self._load(videos, plan)

    def validation_batches(self) -> Iterable[ClipBatch] | None:
        """A clip of every video of this process's share, as in training; None if the run is not validated."""
        if self.job.val is None:
            return None
        entries = self.job.val.entries
        videos = ValidationVideos(entries, seed=self.config.seed, target=self.task.validation_target, **self._clips())
        clips = self.config.optim.clips_per_device
        return self._load(videos, shard_plan(len(videos), clips=clips, rank=rank(), world_size=world_size()))

    def _clips(self) -> dict[str, Any]:
        """How clips are picked, cut and decoded."""
        clip = self.config.clip
        return {
            "pick": partial(random_clip, length=clip.length, stride=clip.stride, sampling=clip.sampling, fps=clip.fps),
            "fit": partial(training_crop, jitter=(clip.jitter[0], clip.jitter[1]), crop=clip.crop, flip=clip.flip),
            "decode": decode_with(self.config.data),
        }

    def _load(self, videos: Videos, plan: list[range]) -> Iterable[ClipBatch]:
        workers, limit_s = self.config.runtime.workers, self.config.data.decode_limit_s
        return Loader(videos, plan, collate=self.task.collate, workers=workers, limit_s=limit_s)

    def validated(self, numbers: dict[str, float], step: int) -> str:
        """A validation in words."""
        return (
            f"single-clip validation at step {step}: {self.best(numbers)} of {numbers['videos']:.0f} videos, one "
            "random clip each; that of videos is tools/test.py's"
        )

    def best(self, numbers: dict[str, float]) -> str:
        """The number that networks are compared by, in words."""
        return f"{self.task.best_words} {numbers[self.task.number]:.1f}%"

    def export(self, path: Path, network: Classifier, *, steps: int) -> None:
        """Writes weights for use."""
        origin = f"run {self.config.name}, {steps} steps on {self.config.data.name}"
        save_model(path, network, origin=origin, classes=self.train.classes)
