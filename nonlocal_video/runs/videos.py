"""From settings to the videos that a run trains or tests on."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from nonlocal_video.data.census.usable import Census, check_usable, split_broken, split_missing, take_census
from nonlocal_video.data.clips import uniform_clips
from nonlocal_video.data.dataset import TestingVideos
from nonlocal_video.data.decode import Decoded, check_decoder, decode
from nonlocal_video.data.lists.classes import KINETICS400, check_label_order, normalised, read_classes
from nonlocal_video.data.lists.labels import numbers_of
from nonlocal_video.data.lists.manifest import check_sources, read_list
from nonlocal_video.data.transforms import testing_crops, testing_frame
from nonlocal_video.settings import DataConfig, ProtocolConfig, ReadConfig
from nonlocal_video.tasks import task_of
from nonlocal_video.types import Entry


class ListedVideos(NamedTuple):
    """The videos of a list, sorted by whether they can be used."""

    entries: list[Entry]
    """To be used."""
    missing: list[Entry]
    broken: list[tuple[Entry, str]]
    """Known from a census, with the causes."""
    census: Census
    classes: list[str] | None
    """The names of the classes, if there is a file of them."""

    @property
    def listed(self) -> list[Entry]:
        """All of the list."""
        return self.entries + self.missing + [entry for entry, _ in self.broken]


def look_for_videos(config: DataConfig, which: str, *, labelled: bool = True) -> ListedVideos:
    """The videos of `data.train` or `data.val`, without those that are missing or that its census found broken.

    `labelled=False` takes a list of which no video has a label, too.

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
    found = ListedVideos(entries, missing, broken, census, classes)
    return found if config.subset is None else _of_classes(found, config, subset=config.subset)


def _of_classes(found: ListedVideos, config: DataConfig, *, subset: str) -> ListedVideos:
    """The videos of the classes that the file `data.subset` names."""
    names = found.classes or (KINETICS400 if config.num_classes == len(KINETICS400) else [])
    if not names:
        raise ValueError(f"data.subset: got {subset}, expected data.classes=FILE, too: the classes have no names")
    labels = {normalised(name): label for label, name in enumerate(names)}
    wanted = read_classes(subset)
    unknown = [name for name in wanted if normalised(name) not in labels]
    if unknown:
        known = config.classes or "Kinetics-400"
        raise ValueError(f"{subset}: got the class {unknown[0]!r}, expected names of {known}")
    kept = {labels[normalised(name)] for name in wanted}
    videos = {entry.video for entry in found.listed if not kept.isdisjoint(numbers_of(entry.label))}
    entries, missing = ([entry for entry in part if entry.video in videos] for part in (found.entries, found.missing))
    broken = [(entry, cause) for entry, cause in found.broken if entry.video in videos]
    if not entries:
        raise ValueError(f"{subset}: no video of its {len(kept)} classes is there")
    census = take_census(entries, missing, (entry for entry, _ in broken), checked=found.census.checked)
    return ListedVideos(entries, missing, broken, census, found.classes)


def class_names(config: DataConfig) -> list[str] | None:
    """The names of the classes, if there is a file of them; raises ValueError where it is a bad one."""
    return read_classes(config.classes, num_classes=config.num_classes) if config.classes is not None else None


def clips_of(protocol: ProtocolConfig, *, length: int, stride: int) -> Callable[[np.ndarray], np.ndarray]:
    """From the times of a video's frames to the frame indices (V', T) of the clips of a protocol."""
    pick = partial(uniform_clips, num_clips=protocol.num_clips, placement=protocol.placement, fps=protocol.fps)
    return partial(pick, length=length, stride=stride)


def views_of(protocol: ProtocolConfig, data: ReadConfig) -> Callable[..., TestingVideos]:
    """`TestingVideos` but for its entries and `pick`, with the crops of a protocol, whose short side is known."""
    fit, crops = partial(testing_frame, short_side=side_of(protocol)), partial(testing_crops, crops=protocol.crops)
    return partial(TestingVideos, fit=fit, crops=crops, flips=protocol.flips, decode=decode_with(data))


def side_of(protocol: ProtocolConfig) -> int:
    """The short side of a protocol in pixels."""
    assert protocol.short_side is not None, "it is filled in where the network is known"
    return protocol.short_side


def decode_with(data: ReadConfig) -> Callable[..., Decoded]:
    """`decode` as the settings say."""
    return partial(decode, decoder=data.decoder, limit_s=data.decode_limit_s, frame_rate=data.frame_rate)
