"""A run on images with objects: its detector, its task, its batches, and what is said of them."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from nonlocal_video.data.coco.annotations import Picture, mirror_of, read_annotations
from nonlocal_video.data.coco.dataset import TestingImages, TrainingImages
from nonlocal_video.data.lists.kinds import ask_disk
from nonlocal_video.data.loader import Loader, shard_plan, step_plan
from nonlocal_video.metrics.detection import pycocotools
from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.models.detection.weights import save_detector, start_detector
from nonlocal_video.models.placement import format_places
from nonlocal_video.runs.network import as_setting, is_foreign, own_function
from nonlocal_video.runs.recipe import Recipe, describe_batch, describe_expected
from nonlocal_video.settings import CocoConfig, DetectionConfig
from nonlocal_video.settings.values import expect
from nonlocal_video.system.distributed import local_device, rank, world_size
from nonlocal_video.tasks.detection.task import DetectionTask, detection
from nonlocal_video.types import ImageBatch


class ListedImages(NamedTuple):
    """The images of a JSON file, sorted by whether they can be used."""

    pictures: list[Picture]
    """To be used."""
    missing: list[Picture]
    categories: list[tuple[int, str]]
    keypoints: list[str]
    census: dict[str, Any]
    """Counts, and a hash that is equal where the same images with the same objects were listed and used."""
    content: dict[str, Any] | None
    """The file, if it is evaluated with."""

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The ids of the categories in the order of the labels."""
        return tuple(number for number, _ in self.categories)

    @property
    def classes(self) -> list[str]:
        """The names of the categories in the order of the labels."""
        return [name for _, name in self.categories]


def look_for_images(data: CocoConfig, which: str, *, kind: str) -> ListedImages:
    """The images of `data.train` or `data.val` that are there; of those to train on the ones with objects.

    Raises:
        ValueError: no or other annotations, another number of categories, or too many images are missing.
    """
    pycocotools()
    path, folder = getattr(data, which), getattr(data, f"{which}_images")
    expect(os.path.isfile(path), f"data.{which}", path, "a JSON file in COCO's format")
    expect(os.path.isdir(folder), f"data.{which}_images", folder, "the folder of the images")
    found = read_annotations(path, root=folder, kind=kind)
    count = len(found.categories)
    expect(data.num_classes in (None, count), "data.num_classes", data.num_classes, f"{count}, those of {path}")
    there = dict(ask_disk(os.path.isfile, [picture.path for picture in found.pictures]))
    missing = [picture for picture in found.pictures if not there[picture.path]]
    present = [picture for picture in found.pictures if there[picture.path]]
    used = [picture for picture in present if which == "val" or data.empty or _teaches(picture, kind)]
    listed = len(found.pictures)
    if len(missing) > data.max_missing * listed or not used:
        names = ", ".join(picture.path for picture in missing[:3])
        raise ValueError(
            f"{path}: {len(missing)} of {listed} listed images are missing ({names}), {len(used)} can be used; "
            f"data.max_missing={data.max_missing} allows {data.max_missing * listed:.0f}: check data.{which}_images"
        )
    census = {
        "hash": _hash(used),
        "listed": listed,
        "missing": len(missing),
        "without_objects": len(present) - len(used),
        "objects": sum(len(picture.instances) for picture in used),
        "left_out": found.left_out,
    }
    return ListedImages(
        used, missing, found.categories, found.keypoints, census, found.content if which == "val" else None
    )


def _teaches(picture: Picture, kind: str) -> bool:
    """Whether an image has objects, and for keypoints a visible one."""
    if kind != "keypoint_rcnn":
        return bool(picture.instances)
    return any(any((instance.keypoints or ())[2::3]) for instance in picture.instances)


def _hash(pictures: Iterable[Picture]) -> str:
    lines = sorted(f"{picture.name} {picture.image_id} {len(picture.instances)}\n" for picture in pictures)
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()[:12]


def format_images(census: dict[str, Any]) -> str:
    """One line on the images of a list."""
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(census["left_out"].items())) or "nothing"
    return (
        f"census {census['hash']}: {census['listed']} images listed, {census['missing']} missing, "
        f"{census['without_objects']} without objects not used, {census['objects']} objects; left out: {left_out}"
    )


class ImageJob(NamedTuple):
    """A training job as every process gets it: the settings, and the images, which were looked for once."""

    config: DetectionConfig
    train: ListedImages
    val: ListedImages | None
    """The images for validation while training, if there are any."""

    def subject(self) -> "ImageRun":
        """The run, in this process."""
        return ImageRun(self)


def find_image_job(config: DetectionConfig) -> ImageJob:
    """Looks for the images of a run: those to train on, and to validate with or to test on later."""
    kind = config.model.kind
    train = look_for_images(config.data, "train", kind=kind)
    expect(
        config.model.num_classes == len(train.categories),
        "model.num_classes", config.model.num_classes, f"{len(train.categories)}, those of {config.data.train}",
    )  # fmt: skip
    points = len(train.keypoints)
    fits = kind != "keypoint_rcnn" or config.model.num_keypoints == points
    expect(fits, "model.num_keypoints", config.model.num_keypoints, f"{points}, those of {config.data.train}")
    val = None
    if config.runtime.validate_every or config.test is not None:
        val = look_for_images(config.data, "val", kind=kind)
        expect(
            val.categories == train.categories, "data.val", config.data.val, f"the categories of {config.data.train}"
        )
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
        self.task: DetectionTask = detection(options.kind, categories=job.train.category_ids, validation_set=content)

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
            f"data {config.data.name}: {len(self.job.train.categories)} categories",
            format_images(self.job.train.census),
            f"images of short side {shown}, long side up to {options.long_side}"
            f"{', mirrored every second time' if config.image.flip else ''}",
            *describe_batch(config, recipe, unit="images"),
            f"{kind}, weight decay {optim.weight_decay:g}{biases}",
            *describe_expected(config.choices.get("experiment")),
        ]
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """The data and the network in plain values, for checkpoints."""
        train = self.job.train
        return {
            "listed_images": _hash([*train.pictures, *train.missing]),
            "present_images": train.census["hash"],
            "census": train.census,
            "options": self.network.plain_options(),
        }

    def start(self, weights: str, part: str | None) -> list[str]:
        """Loads the weights of a file, or of a part of it, and says what it did."""
        return start_detector(self.network, weights, part=part)

    def note_missing(self, folder: Path) -> None:
        """Writes which of the listed images are not there."""
        (folder / "missing_images.txt").write_text("".join(f"{picture.name}\n" for picture in self.job.train.missing))

    def batches(self, first_step: int, recipe: Recipe) -> Iterable[ImageBatch]:
        """The batches of this process, from a step to the last."""
        config, size = self.config, recipe.clips_per_rank
        images = TrainingImages(
            self.job.train.pictures, seed=config.seed, group=config.optim.clips_per_device, flip=config.image.flip,
            mirror=mirror_of(self.job.train.keypoints) if config.model.kind == "keypoint_rcnn" else (),
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
        train = self.job.train
        save_detector(path, network, origin=origin, categories=train.categories, keypoints=train.keypoints)

    def test_command(self, folder: Path) -> str:
        """The command to type next; files do not name code, so a function of one's own is named again."""
        word = self.config.model.pairwise
        return f"python tools/test.py {quote(f'run={folder}')}{f' {as_setting(word)}' if is_foreign(word) else ''}"
