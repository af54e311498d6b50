"""A run on images with objects: its detector, its task, its batches, and what is said of them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.data.coco.annotations import mirror_of
from nonlocal_video.data.coco.dataset import TestingImages, TrainingImages
from nonlocal_video.data.coco.usable import format_images, hash_pictures
from nonlocal_video.data.loader import Loader, shard_plan, step_plan
from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.models.detection.weights import save_detector, start_detector
from nonlocal_video.models.placement import format_places
from nonlocal_video.runs.network import own_function
from nonlocal_video.runs.pictures import ListedImages, look_for_images
from nonlocal_video.runs.recipe import Recipe, describe_batch, describe_defaults, describe_expected
from nonlocal_video.settings import DetectionConfig
from nonlocal_video.settings.values import expect
from nonlocal_video.system.distributed import local_device, rank, world_size
from nonlocal_video.tasks.detection.task import DetectionTask
from nonlocal_video.types import ImageBatch


class ImageJob(NamedTuple):
    """A training job as every process gets it: the settings, and the images, which were looked for once."""

    config: DetectionConfig
    train: ListedImages | None
    """None in a rehearsal of which nobody said where the images are."""
    val: ListedImages | None
    """The images for validation while training, if there are any."""

    def subject(self) -> "ImageRun":
        """The run, in this process."""
        return ImageRun(self)


def find_image_job(config: DetectionConfig) -> ImageJob:
    """Looks for the images of a run: those to train on, and to validate with or to test on later."""
    options, data = config.model, config.data
    train = look_for_images(data, "train", kind=options.kind)
    classes, points, where = len(train.categories), len(train.keypoints), f"those of {data.train}"
    expect(options.num_classes == classes, "model.num_classes", options.num_classes, f"{classes}, {where}")
    fits = options.kind != "keypoint_rcnn" or options.num_keypoints == points
    expect(fits, "model.num_keypoints", options.num_keypoints, f"{points}, {where}")
    val = None
    if config.runtime.validate_every or config.test is not None:
        val = look_for_images(data, "val", kind=options.kind)
        expect(val.categories == train.categories, "data.val", data.val, f"the categories of {data.train}")
    return ImageJob(config, train, val if config.runtime.validate_every else None)


class ImageRun:
    """A run on images; the network is on the CPU, with random weights."""

    def __init__(self, job: ImageJob) -> None:
        self.job, self.config = job, job.config
        options, function = job.config.model, own_function(job.config.model.pairwise)
        self.network = Detector(options if function is None else replace(options, pairwise=function))
        self.network.lay_out(channels_last=self.config.runtime.channels_last)
        self.network.body.backbone.recompute = self.config.runtime.recompute
        self.network.training_sides = tuple(self.config.image.short_sides)
        self.network.bias_lr = self.config.optim.bias_lr
        content = None if job.val is None else job.val.content
        categories = () if job.train is None else job.train.category_ids
        self.task = DetectionTask(options.kind, categories, content)

    @property
    def train(self) -> ListedImages:
        """The images to train on, which only a rehearsal may lack."""
        assert self.job.train is not None
        return self.job.train

    def describe(self, recipe: Recipe) -> str:
        """One screen on what is about to run."""
        config, options, optim = self.config, self.network.options, self.config.optim
        num_parameters = sum(parameter.numel() for parameter in self.network.parameters())
        sides = config.image.short_sides
        shown = f"{sides[0]}" if len(sides) == 1 else f"one of {', '.join(map(str, sides))}"
        biases = f", biases at {optim.bias_lr:g} of the rate without decay" if optim.bias_lr != 1 else ""
        kind = "AdamW" if optim.kind == "adamw" else f"SGD: momentum {optim.momentum:g}"
        frozen = ("conv1", "res2", "res3", "res4", "res5")[: options.frozen_stages]
        lines = [
            f"run {config.name} on {recipe.processes} x {local_device().type}, {config.runtime.precision}",
            f"network {options.name or options.kind}: {num_parameters / 1e6:.2f}M parameters, {options.norm} norm, "
            f"frozen: {', '.join(frozen) or 'nothing'}",
            format_places(self.network),
            f"data {config.data.name}: {config.data.num_classes} categories",
            "not looked for" if self.job.train is None else format_images(self.job.train.census),
            f"images of short side {shown}, long side up to {options.long_side}"
            f"{', mirrored every second time' if config.image.flip else ''}",
            *describe_defaults(config),
            *describe_batch(config, recipe, unit="images"),
            f"{kind}, weight decay {optim.weight_decay:g}{biases}",
            *describe_expected(config.choices.get("experiment")),
        ]
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """The data and the network in plain values, for checkpoints."""
        train = self.train
        return {
            "listed_images": hash_pictures([*train.pictures, *train.missing]),
            "present_images": train.census["hash"],
            "census": train.census,
            "options": self.network.plain_options(),
            "categories": train.categories,
            "keypoints": train.keypoints,
        }

    def start(self, weights: str, part: str | None) -> list[str]:
        """Loads the weights of a file, or of a part of it, and says what it did."""
        return start_detector(self.network, weights, part=part)

    def note_missing(self, folder: Path) -> None:
        """Writes which of the listed images are not there."""
        (folder / "missing_images.txt").write_text("".join(f"{picture.name}\n" for picture in self.train.missing))

    def batches(self, first_step: int, recipe: Recipe) -> Iterable[ImageBatch]:
        """The batches of this process, from a step to the last."""
        config, size = self.config, recipe.clips_per_rank
        images = TrainingImages(
            self.train.pictures, seed=config.seed, group=config.optim.clips_per_device, flip=config.image.flip,
            mirror=mirror_of(self.train.keypoints) if config.model.kind == "keypoint_rcnn" else (),
        )  # fmt: skip
        place = {"rank": rank(), "world_size": world_size()}
        plan = step_plan(first_step=first_step, last_step=config.optim.steps, clips_per_rank=size, **place)
        return Loader(
            images, plan, collate=self.task.collate, workers=config.runtime.workers, limit_s=config.data.decode_limit_s
        )

    def statistics_batches(self) -> Iterable[ImageBatch]:
        """None: a detector's batch normalisation is frozen, or that of training."""
        return ()

    def validation_batches(self) -> Iterable[ImageBatch] | None:
        """Every image of this process's share, one a batch; None if the run is not validated."""
        if self.job.val is None:
            return None
        images = TestingImages(self.job.val.pictures)
        plan = shard_plan(len(images), clips=1, rank=rank(), world_size=world_size())
        workers, limit_s = self.config.runtime.workers, self.config.data.decode_limit_s
        return Loader(images, plan, collate=self.task.collate, workers=workers, limit_s=limit_s)

    def validated(self, numbers: dict[str, float], step: int) -> str:
        """A validation in words."""
        measured = ", ".join(f"{of} AP {numbers[f'{of}_AP']:.1f}" for of in self.task.measured)
        return f"validation at step {step}: {measured} of {numbers['images']:.0f} images"

    def best(self, numbers: dict[str, float]) -> str:
        """The number that networks are compared by, in words."""
        return f"{self.task.measured[-1]} AP {numbers[self.task.number]:.1f}"

    def export(self, path: Path, network: Detector, *, steps: int) -> None:
        """Writes weights for use."""
        origin = f"run {self.config.name}, {steps} steps on {self.config.data.name}"
        train = self.train
        save_detector(path, network, origin=origin, categories=train.categories, keypoints=train.keypoints)
