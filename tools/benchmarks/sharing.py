"""Would it pay to run the frame-wise layers of C2D once for the frames that clips of a video share?"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.testspeed import SCORES_DIFFER
from nonlocal_video.data.clips import uniform_clips
from nonlocal_video.data.transforms import short_side_size
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.resnet3d import STAGES, ResNet3d
from nonlocal_video.types import Views

NUM_CLIPS = 10
FRAME = (256, 340)
"""Height and width of a frame, which the network sees as a whole."""
WITHIN = "frames, up to conv1", "windows of pool1, up to res2", "windows of pool2, up to the head"
"""The parts of C2D by what a map of theirs depends on."""


class Count(NamedTuple):
    """Maps that a part of the network computes for all clips of a video, and how many of them are different."""

    computed: int
    distinct: int


def counts(model: Classifier, *, num_frames: int, placement: str) -> tuple[Count, Count, Count]:
    """For conv1, for res2, and for what follows pool2, in C2D: there only pooling looks at several frames."""
    stem = model.backbone.stem
    clips = clips_of(model, num_frames=num_frames, placement=placement)[:, :: stem.conv1_stride]  # (V, T)
    pooled = _windows(clips[..., None], size=stem.pool1_kernel, stride=stem.pool1_stride)
    paired = _windows(pooled, size=2, stride=2)
    return _count(clips[..., None]), _count(pooled), _count(paired)


def clips_of(model: Classifier, *, num_frames: int, placement: str) -> np.ndarray:
    """The frames (V, T) of the testing clips of a video of 30 frames a second."""
    options = model.options
    return uniform_clips(
        np.arange(num_frames) / 30,
        num_clips=NUM_CLIPS,
        length=options.clip_length,
        stride=options.clip_stride,
        placement=placement,
    )


def _windows(clips: np.ndarray, *, size: int, stride: int) -> np.ndarray:
    """What each window sees: (V, T, n) -> (V, T', size x n)."""
    starts = range(0, clips.shape[1] - size + 1, stride)
    return np.stack([clips[:, start : start + size].reshape(len(clips), -1) for start in starts], axis=1)


def _count(inputs: np.ndarray) -> Count:
    """A maximum does not know the order of its frames."""
    seen = {frozenset(window.tolist()) for clip in inputs for window in clip}
    return Count(inputs.shape[0] * inputs.shape[1], len(seen))


@torch.inference_mode()
def shares(model: Classifier, *, repeats: int) -> tuple[float, float, float]:
    """The shares of a forward pass up to conv1, from there to res2, and after it, by hooks; medians."""
    backbone, marks = model.backbone, list[float]()

    def mark(*_: object) -> None:
        marks.append(_now())

    hooks = [module.register_forward_hook(mark) for module in (backbone.bn1, backbone.get_submodule("res2"))]
    (view,) = next(made_up(model, num_frames=300).chunks(1))
    found = []
    for _ in range(repeats + 1):
        marks.clear()
        began = _now()
        model.scores(view[None])
        ended = _now()
        stem_s, res2_s = marks
        found.append(np.diff([began, stem_s, res2_s, ended]) / (ended - began))
    for hook in hooks:
        hook.remove()
    first, second, third = (statistics.median(part) for part in zip(*found[1:], strict=True))
    return first, second, third


def made_up(model: Classifier, *, num_frames: int) -> Views:
    """The views of the whole frame of a video of noise."""
    clips = clips_of(model, num_frames=num_frames, placement="released")
    wanted, rows = np.unique(clips, return_inverse=True)
    frames = torch.randint(0, 256, (len(wanted), *FRAME, 3), dtype=torch.uint8)
    size = short_side_size(*FRAME, 256)
    views = Views(frames, torch.from_numpy(rows.reshape(clips.shape)), ((0, 0),), (size[0], size[1]))
    return views.to(next(model.parameters()).device)


def whole(model: Classifier, views: Views) -> Tensor:
    """The scores (V, K), each clip by itself."""
    return torch.cat([model.scores(view) for view in views.chunks(1)])


def shared(model: Classifier, views: Views) -> Tensor:
    """The same of a C2D with a dense stem: all up to res2 once for each frame, the rest for each clip.

    Frames run in groups of a clip's length, so that the maps are of the size that they have in a clip.
    """
    backbone: ResNet3d = model.backbone
    maps = []
    for part in views.frames.split(views.rows.shape[1]):
        frames = part.permute(3, 0, 1, 2)[None].contiguous(memory_format=model.memory_format).float()
        x = torch.addcmul(-model.mean / model.std, frames, 1 / (255 * model.std))
        x = F.relu(backbone.pool1(backbone.bn1(backbone.conv1(x))), inplace=True)
        maps.append(backbone.get_submodule("res2")(x))
    every = torch.cat(maps, dim=2)  # (1, C, U, h, w)
    return torch.cat([_after_res2(model, every.index_select(2, row)) for row in views.rows])


def _after_res2(model: Classifier, x: Tensor) -> Tensor:
    x = model.backbone.pool2(x)
    for stage in STAGES[1:]:
        x = model.backbone.get_submodule(stage)(x)
    window = model.window or x.shape[2:]
    logits = model.fc(F.avg_pool3d(x, tuple(map(min, window, x.shape[2:])), stride=1).flatten(2).mT)
    return logits.softmax(dim=2).mean(dim=1)


@torch.inference_mode()
def prototype(model: Classifier, *, num_frames: int, repeats: int) -> tuple[float, float]:
    """Seconds for the 10 clips of a video: each clip by itself, and with shared frames; medians of alternate runs.

    Raises:
        ValueError: the scores differ.
    """
    views = made_up(model, num_frames=num_frames)
    far = float((whole(model, views) - shared(model, views)).abs().max())
    if not far <= SCORES_DIFFER:
        raise ValueError(f"shared frames give other scores, by {far:.2g}")
    ways: Sequence[Callable[[Classifier, Views], Tensor]] = (whole, shared)
    times = [[_seconds(way, model, views) for way in ways] for _ in range(repeats)]
    alone, together = (statistics.median(way) for way in zip(*times, strict=True))
    return alone, together


def _seconds(way: Callable[[Classifier, Views], Tensor], model: Classifier, views: Views) -> float:
    began = _now()
    way(model, views)
    return _now() - began


def _now() -> float:
    """When all that a GPU was told to do is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
