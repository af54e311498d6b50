"""Ways to make a training clip, for tools/benchmark_data.py: ours, and what users of public projects run.

All make the same clip of 32 of 64 frames: the same first frame, short side, crop and flip.

pytorchvideo: EncodedVideo.from_path(path, decode_audio=False).get_clip, then what its tutorial for Kinetics composes:
    UniformTemporalSubsample, / 255, Normalize, RandomShortSideScale, RandomCrop, RandomHorizontalFlip. Its transforms
    do not import beside today's torchvision, so the same PyTorch functions are called here. Its decord has as many
    threads as it likes, its default.
PySlowFast, from its decoder.py, kinetics.py and transform.py: PyAV seeks 1024 ticks before the first frame, decodes
    and converts every frame up to the first that is later than 62 (stride x (T - 1)) frames, so 63; they are stacked,
    32 of them are taken and cloned, made float, / 255, normalised and resized by F.interpolate (bilinear), then cropped
    and flipped. Its newest version passes lists where its PyAV decoder takes numbers, and fails; these are the numbers.
Both end in normalised floats; ours end in uint8, since a GPU normalises them. "ours, pyav, floats" does that too.
"""

import itertools
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import av
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.videos import File
from nonlocal_video.data.clips import random_clip
from nonlocal_video.data.dataset import TrainingVideos
from nonlocal_video.data.decode import Decoded, decode
from nonlocal_video.data.decoders.index import open_index
from nonlocal_video.data.decoders.source import Deadline
from nonlocal_video.data.transforms import short_side_size, training_crop
from nonlocal_video.tasks.single_label import target
from nonlocal_video.types import Entry

LENGTH, STRIDE, JITTER, CROP = 32, 2, (256, 320), 224
MEAN, STD = torch.full((3, 1, 1, 1), 0.45), torch.full((3, 1, 1, 1), 0.225)
PEER_ERRORS = (RuntimeError, ValueError, OSError, KeyError, TypeError, av.FFmpegError)

Step = Callable[[], Tensor]
"""Makes a clip (3, T, S, S), uint8 or normalised floats."""


class Clip(NamedTuple):
    """A training clip, and what chance chose for it."""

    file: File
    seed: int
    first: int
    """The frame that it starts with."""
    seconds: tuple[float, float]
    """When that frame is shown, and the last of the 64."""
    size: list[int]
    """Height and width before the crop."""
    corner: tuple[int, int]
    mirrored: bool


def training_videos(file: File, *, seed: int, decoding: Callable[..., Decoded]) -> TrainingVideos:
    """The training stream of one video, as tools/train.py builds it."""
    return TrainingVideos(
        [Entry(file.name, file.path, 0)],
        seed=seed,
        pick=partial(random_clip, length=LENGTH, stride=STRIDE),
        fit=partial(training_crop, jitter=JITTER, crop=CROP, flip=True),
        target=target,
        decode=decoding,
    )


def get(videos: TrainingVideos) -> Tensor:
    """(3, T, S, S) uint8.

    Raises:
        DecodeError: the file cannot be read.
    """
    sample = videos.get(0, lost={}, started=lambda _: None)
    if sample.failures:
        raise ValueError(sample.failures[0].cause)
    return sample.clip[0]


def choose(file: File, *, seed: int) -> Clip:
    """Draws as the training stream does, with the draws of `training_crop` once more, proved by the pictures."""
    found: list[Clip] = []

    def draw(path: str, pick: Callable[..., np.ndarray], fit: Any) -> Decoded:
        index, rng = open_index(path, Deadline(None)), fit.keywords["rng"]
        first = int(pick(index.seconds)[0, 0])
        last = min(first + LENGTH * STRIDE, len(index.seconds)) - 1
        size = short_side_size(file.height, file.width, int(rng.integers(JITTER[0], JITTER[1] + 1)))
        top, left = (int(rng.integers(0, side - CROP + 1)) for side in size)
        times = float(index.seconds[first]), float(index.seconds[last])
        found.append(Clip(file, seed, first, times, size, (top, left), rng.random() < 0.5))
        return Decoded(torch.empty(1, 1, 1, 3), torch.zeros(1, 1, dtype=torch.int64), np.zeros((1, 1)))

    get(training_videos(file, seed=seed, decoding=draw))
    return found[0]


def spread(file: File, *, num_clips: int) -> list[Clip]:
    """Clips from all over the video, since how much is decoded before a clip depends on where it starts.

    Of n clips, the k-th is that of the first seed that starts in the k-th n-th of the video.
    """
    starts = max(file.num_frames - LENGTH * STRIDE, 0) + 1
    found: dict[int, Clip] = {}
    seeds = itertools.count()
    while len(found) < min(num_clips, starts):
        clip = choose(file, seed=next(seeds))
        found.setdefault(clip.first * num_clips // starts, clip)
    return [found[part] for part in sorted(found)]


# Ways


def ours(clip: Clip, *, decoder: str) -> Step:
    videos = training_videos(clip.file, seed=clip.seed, decoding=partial(decode, decoder=decoder))
    return lambda: get(videos)


def ours_in_floats(clip: Clip) -> Step:
    step = ours(clip, decoder="pyav")
    return lambda: step().float().div_(255).sub_(MEAN).div_(STD)


def pytorchvideo(clip: Clip, *, decoder: str) -> Step:
    from pytorchvideo.data.encoded_video import EncodedVideo

    quarter = Fraction(1, 4) / Fraction(clip.file.fps)  # Users' times fall between the frames.
    start = max(Fraction(clip.seconds[0]) - quarter, Fraction(0))
    end = Fraction(clip.seconds[1]) + 3 * quarter

    def step() -> Tensor:
        video = EncodedVideo.from_path(clip.file.path, decode_audio=False, decoder=decoder)
        frames = video.get_clip(start, end)["video"]  # (3, 64, H, W) float32
        video.close()
        if frames is None:
            raise ValueError("no frames")
        rows = torch.linspace(0, frames.shape[1] - 1, LENGTH).clamp(0, frames.shape[1] - 1).long()
        frames = frames.index_select(1, rows) / 255
        return _cut(frames.sub(MEAN).div_(STD), clip)

    return step


def slowfast(clip: Clip) -> Step:
    def step() -> Tensor:
        with av.open(clip.file.path) as container:
            stream = container.streams.video[0]
            ticks = stream.duration / stream.frames
            start, end = int(clip.first * ticks), int((clip.first + STRIDE * (LENGTH - 1) - 1) * ticks)
            container.seek(max(start - 1024, 0), any_frame=False, backward=True, stream=stream)
            shown = {}
            for frame in container.decode(video=0):
                if frame.pts >= start:
                    shown[frame.pts] = frame
                if frame.pts > end:
                    break
        images = [shown[tick].to_rgb().to_ndarray() for tick in sorted(shown)]
        frames = torch.as_tensor(np.stack(images))  # (63, H, W, 3)
        rows = torch.linspace(0, LENGTH * STRIDE - 1, LENGTH).clamp(0, len(frames) - 1).long()
        frames = frames.index_select(0, rows).clone().float() / 255
        frames = (frames - MEAN[:, 0, 0, 0]) / STD[:, 0, 0, 0]
        return _cut(frames.permute(3, 0, 1, 2), clip)

    return step


def _cut(frames: Tensor, clip: Clip) -> Tensor:
    """(3, T, H, W) -> (3, T, S, S) as both peers do it."""
    top, left = clip.corner
    resized = F.interpolate(frames, size=tuple(clip.size), mode="bilinear", align_corners=False)
    square = resized[:, :, top : top + CROP, left : left + CROP]
    return square.flip(-1) if clip.mirrored else square


OURS: dict[str, Callable[[Clip], Step]] = {
    "ours, pyav": partial(ours, decoder="pyav"),
    "ours, decord": partial(ours, decoder="decord"),
    "ours, torchcodec": partial(ours, decoder="torchcodec"),
    "ours, pyav, floats": ours_in_floats,
}
PEERS: dict[str, Callable[[Clip], Step]] = {
    "pytorchvideo, pyav": partial(pytorchvideo, decoder="pyav"),
    "pytorchvideo, decord": partial(pytorchvideo, decoder="decord"),
    "PySlowFast's way": slowfast,
}


# Whether they show the same


def difference(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference, in grey levels, of the middle quarter of all frames but the last.

    pytorchvideo's last frame is the 64th of the window, ours the 63rd.
    """
    if one.shape != other.shape:
        return float("inf")
    edge = CROP // 4
    middle = [_grey(clip)[:, :-1, edge:-edge, edge:-edge] for clip in (one, other)]
    return float((middle[0] - middle[1]).abs().mean())


def _grey(clip: Tensor) -> Tensor:
    return clip.float() if clip.dtype == torch.uint8 else (clip * STD + MEAN) * 255


def one_frame_off(clip: Clip) -> float:
    """The difference that a clip one frame later would show: what the check can see."""
    shifts = itertools.count()

    def later(path: str, pick: Callable[..., np.ndarray], fit: Any) -> Decoded:
        shift = next(shifts)
        return decode(path, lambda seconds: np.minimum(pick(seconds) + shift, len(seconds) - 1), fit)

    videos = training_videos(clip.file, seed=clip.seed, decoding=later)
    return difference(get(videos), get(videos))
