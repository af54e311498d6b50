"""From settings to the videos that a run trains or tests on."""

from functools import partial

from nonlocal_video.data.clips import random_clip, uniform_clips
from nonlocal_video.data.dataset import EvaluationVideos, TrainingVideos
from nonlocal_video.data.decode import check_decoder
from nonlocal_video.data.manifest import check_missing, read_classes, read_list, split_missing
from nonlocal_video.data.transforms import testing_views, training_view
from nonlocal_video.settings import DataConfig, TrainConfig
from nonlocal_video.types import Entry


def read_entries(config: DataConfig, which: str) -> tuple[list[Entry], list[Entry]]:
    """The videos of `data.train` or `data.val` that are there, and those that are missing.

    Raises:
        ValueError: a bad list, or too many missing videos.
    """
    check_decoder(config.decoder)
    entries = read_list(getattr(config, which), root=config.root, num_classes=config.num_classes)
    class_names(config)
    present, missing = split_missing(entries)
    check_missing(missing, num_listed=len(entries), max_missing=config.max_missing)
    if not present:
        raise ValueError(f"{getattr(config, which)}: none of the {len(entries)} listed videos is there")
    return present, missing


def class_names(config: DataConfig) -> list[str] | None:
    """The names of the classes, if there is a file of them.

    Raises:
        ValueError: a bad file.
    """
    return read_classes(config.classes, num_classes=config.num_classes) if config.classes is not None else None


def build_training_videos(config: TrainConfig, entries: list[Entry]) -> TrainingVideos:
    """The training stream of clips."""
    clip = config.clip
    return TrainingVideos(
        entries,
        seed=config.seed,
        pick=partial(random_clip, length=clip.length, stride=clip.stride),
        view=partial(training_view, jitter=(clip.jitter[0], clip.jitter[1]), crop=clip.crop, flip=clip.flip),
        decoder=config.data.decoder,
    )


def build_evaluation_videos(config: TrainConfig, entries: list[Entry]) -> EvaluationVideos:
    """The videos to test, with all their views."""
    clip = config.clip
    return EvaluationVideos(
        entries,
        pick=partial(uniform_clips, num_clips=clip.num_clips, length=clip.length, stride=clip.stride),
        views=partial(testing_views, short_side=clip.short_side, num_crops=clip.num_crops),
        decoder=config.data.decoder,
    )
