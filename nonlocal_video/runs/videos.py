"""From settings to the videos that a run trains or tests on."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nonlocal_video.data.census.usable import Census, check_usable, split_broken, split_missing, take_census
from nonlocal_video.data.clips import random_clip, uniform_clips
from nonlocal_video.data.dataset import TRAIN, TestingVideos, TrainingVideos, ValidationVideos
from nonlocal_video.data.decode import Decoded, check_decoder, decode
from nonlocal_video.data.lists.classes import KINETICS400, check_label_order, normalised, read_classes
from nonlocal_video.data.lists.labels import numbers_of
from nonlocal_video.data.lists.manifest import check_sources, read_list
from nonlocal_video.data.transforms import testing_crops, testing_frame, training_crop
from nonlocal_video.models.weights.given import SOURCES
from nonlocal_video.settings import DataConfig, InitConfig, ProtocolConfig, ReadConfig, TrainConfig
from nonlocal_video.tasks import task_of
from nonlocal_video.tasks.clips import ClipTask
from nonlocal_video.types import Entry


class Found(NamedTuple):
    """The videos of a list, sorted."""

    entries: list[Entry]
    """To be used."""
    missing: list[Entry]
    broken: list[tuple[Entry, str]]
    """Known from a census, with the causes."""
    census: Census
    classes: list[str] | None
    """Their names, if there is a file of them."""

    @property
    def listed(self) -> list[Entry]:
        """All of the list."""
        return self.entries + self.missing + [entry for entry, _ in self.broken]


def find_videos(config: DataConfig, which: str, *, labelled: bool = True) -> Found:
    """The videos of `data.train` or `data.val`, without those that are missing or that its census found broken.

    Args:
        labelled: False takes a list of which no video has a label, too.

    Raises:
        ValueError: a bad list, videos without a label or with several where they should have one, labels that follow
            another order than the names of the classes, a census of another list, or too many missing or broken videos.
    """
    check_decoder(config.decoder)
    path = getattr(config, which)
    check_sources(path, root=config.root, setting=f"data.{which}")
    classes = class_names(config)
    listed = read_list(
        path,
        root=config.root,
        num_classes=config.num_classes,
        classes=classes,
        form=config.format,
        labels=task_of(config).listed,
        required=labelled,
    )
    if isinstance(listed[0].label, int) and (classes is not None or config.num_classes == len(KINETICS400)):
        check_label_order(listed, classes or KINETICS400)
    present, missing = split_missing(listed)
    entries, broken, census = split_broken(present, missing, getattr(config, f"{which}_census"))
    check_usable(census, missing, path=path, which=f"data.{which}", max_missing=config.max_missing)
    found = Found(entries, missing, broken, census, classes)
    return found if config.subset is None else _of_classes(found, config, subset=config.subset)


def _of_classes(found: Found, config: DataConfig, *, subset: str) -> Found:
    """The videos of the classes that a file names.

    Raises:
        ValueError: a bad file, a name that no class has, or no video of these.
    """
    names = found.classes or (KINETICS400 if config.num_classes == len(KINETICS400) else [])
    if not names:
        raise ValueError(f"data.subset: got {subset}, expected data.classes=FILE, too: the classes have no names")
    labels = {normalised(name): label for label, name in enumerate(names)}
    wanted = read_classes(subset)
    unknown = [name for name in wanted if normalised(name) not in labels]
    if unknown:
        raise ValueError(
            f"{subset}: got the class {unknown[0]!r}, expected names of {config.classes or 'Kinetics-400'}"
        )
    kept = {labels[normalised(name)] for name in wanted}

    def of_them(entry: Entry) -> bool:
        return not kept.isdisjoint(numbers_of(entry.label))

    entries, missing = ([one for one in part if of_them(one)] for part in (found.entries, found.missing))
    broken = [(entry, cause) for entry, cause in found.broken if of_them(entry)]
    if not entries:
        raise ValueError(f"{subset}: no video of its {len(kept)} classes is there")
    census = take_census(entries, missing, (entry for entry, _ in broken), checked=found.census.checked)
    return Found(entries, missing, broken, census, found.classes)


def class_names(config: DataConfig) -> list[str] | None:
    """The names of the classes, if there is a file of them.

    Raises:
        ValueError: a bad file.
    """
    return read_classes(config.classes, num_classes=config.num_classes) if config.classes is not None else None


def count_classes(path: str | None) -> int:
    """The number of the names in the file `data.classes`.

    Raises:
        ValueError: there is none, or a bad file.
    """
    if path is None:
        raise ValueError(
            "data.num_classes: got null, expected the number of classes, or data.classes=FILE with their names"
        )
    return len(read_classes(path))


def check_start(config: InitConfig) -> None:
    """Makes sure, before the videos are looked for, that the weights to start from are there.

    Raises:
        ValueError: they are not; says how to get them.
    """
    if config.weights is None or os.path.isfile(config.weights):
        return
    run = Path(config.weights).parent.name
    first = f"experiment=kinetics/{run.removeprefix('kinetics_')} writes it at its end; " if "kinetics_" in run else ""
    raise ValueError(
        f"init.weights: {config.weights}: no such file; {first}"
        f"give another one with init.weights=FILE, or start from random weights with init.weights=null; {SOURCES}"
    )


def build_training_videos(
    config: TrainConfig, entries: list[Entry], *, task: ClipTask, stream: int = TRAIN
) -> TrainingVideos:
    """A stream of training clips; `stream` as in `TrainingVideos`."""
    return TrainingVideos(entries, seed=config.seed, stream=stream, target=task.target, **_training_clips(config))


def build_validation_videos(config: TrainConfig, entries: list[Entry], *, task: ClipTask) -> ValidationVideos:
    """One clip of each video, as in training, but asked about all classes of its video."""
    return ValidationVideos(entries, seed=config.seed, target=task.validation_target, **_training_clips(config))


def _training_clips(config: TrainConfig) -> dict[str, Any]:
    clip = config.clip
    return {
        "pick": partial(random_clip, length=clip.length, stride=clip.stride, sampling=clip.sampling, fps=clip.fps),
        "fit": partial(training_crop, jitter=(clip.jitter[0], clip.jitter[1]), crop=clip.crop, flip=clip.flip),
        "decode": _decode_with(config.data),
    }


def build_testing_videos(config: TrainConfig, protocol: ProtocolConfig, entries: list[Entry]) -> TestingVideos:
    """The videos to test, with all the views of a protocol, whose short side is known."""
    pick = clips_of(protocol, length=config.clip.length, stride=config.clip.stride)
    return views_of(protocol, config.data)(entries, pick=pick)


def clips_of(protocol: ProtocolConfig, *, length: int, stride: int) -> Callable[[np.ndarray], np.ndarray]:
    """From the times of a video's frames to the frame indices (V', T) of the clips of a protocol."""
    return partial(
        uniform_clips,
        num_clips=protocol.num_clips,
        length=length,
        stride=stride,
        placement=protocol.placement,
        fps=protocol.fps,
    )


def views_of(protocol: ProtocolConfig, data: ReadConfig) -> Callable[..., TestingVideos]:
    """`TestingVideos` but for its entries and `pick`, with the crops of a protocol, whose short side is known."""
    assert protocol.short_side is not None, "it is filled in where the network is known"
    return partial(
        TestingVideos,
        fit=partial(testing_frame, short_side=protocol.short_side),
        crops=partial(testing_crops, crops=protocol.crops),
        flips=protocol.flips,
        decode=_decode_with(data),
    )


def _decode_with(data: ReadConfig) -> Callable[..., Decoded]:
    return partial(decode, decoder=data.decoder, limit_s=data.decode_limit_s, frame_rate=data.frame_rate)
