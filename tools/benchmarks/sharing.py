"""Would it pay to run the frame-wise layers of C2D once for the frames that clips of a video share?"""

import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.testspeed import build, pictures
from nonlocal_video.data.clips import uniform_clips
from nonlocal_video.data.transforms import short_side_size
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.resnet3d import STAGES, ResNet3d
from nonlocal_video.reports.texts import table
from nonlocal_video.types import Views

NUM_CLIPS = 10
FRAME = (256, 340)
"""Height and width of a frame, which the network sees as a whole."""
WITHIN = ("conv1", "pool1 and res2", "pool2 to the head")
"""The parts of a C2D: a map of theirs depends on a frame, on a window of pool1, and on one of pool2."""
TOLERANCE = 1e-4
"""Of the prototype's scores: the network sees clips of other lengths, and convolves them otherwise."""

PLACEMENTS = ("released", "pyslowfast")
LENGTHS = (300, 250, 150, 100)
"""Frames of videos; Kinetics' are of 10 s, so mostly of 250 or 300."""
PAYS = 0.05
"""The share of a forward pass from which on sharing would be worth its code."""
EXPLANATION = """## Work that clips share

The 10 clips of a video overlap. In C2D only pooling looks at several frames: conv1 sees single ones, res2 windows of
pool1, the rest windows of pool2; the same frames give the same map. Of all 10 clips: maps that are computed / that are
different. "To save" weighs them with the parts' shares of a forward pass (a view of 340x256, by hooks, medians): the
most that sharing could save in all layers of a C2D. Non-local blocks would end it before the first of them, in res3.

"""
PROTOTYPE = """A prototype on {name} runs all up to res2 once for each different frame, and the rest for each clip:
released starts, 10 views of 340x256, the same scores as without.

"""


def sharing(names: Sequence[str], *, repeats: int) -> Iterator[str]:
    """The section, part by part.

    Raises:
        ValueError: the prototype gives other scores.
    """
    yield EXPLANATION
    kept = dict[tuple[str, int], float]()
    for name in names:
        model = build(name)
        parts = shares(model, repeats=repeats)
        yield f"### {name}\n\n"
        rows = [["share of a forward pass", "", *(f"{100 * part:.0f}%" for part in parts), ""]]
        for placement in PLACEMENTS:
            for number in LENGTHS:
                found = counts(model, num_frames=number, placement=placement)
                most = saving(found, parts)
                kept |= {(name, number): most} if placement == "released" else {}
                cells = [f"{count.computed} / {count.distinct}" for count in found]
                rows.append([placement, str(number), *cells, f"{100 * most:.1f}%"])
        yield table(["clips", "frames of the video", *WITHIN, "to save"], rows) + "\n\n"
        if model.options.stem == "dense":
            yield from _prototype(model, repeats=repeats)
    yield _verdict(kept)


def _prototype(model: Classifier, *, repeats: int) -> Iterator[str]:
    yield PROTOTYPE.format(name=model.options.name)
    rows = []
    for number in (max(LENGTHS), min(LENGTHS)):
        alone, together = prototype(model, num_frames=number, repeats=repeats)
        rows.append([str(number), f"{alone:.2f}", f"{together:.2f}", f"{alone / together:.2f}"])
    yield table(["frames of the video", "each clip by itself, s", "shared, s", "shared is faster by"], rows) + "\n\n"


def _verdict(kept: dict[tuple[str, int], float]) -> str:
    """Whether it pays on videos of Kinetics' lengths, with the clips of the released code."""
    usual = {key: most for key, most in kept.items() if key[1] in LENGTHS[:2]}
    (name, number), most = max(usual.items(), key=lambda item: item[1])
    end = "sharing would pay" if most >= PAYS else "sharing does not pay, and nothing is built"
    where = f"the released clips of a video of 10 s ({name}, {number} frames)"
    return f"**At most {100 * most:.1f}% could be saved on {where}: {end}.**\n\n"


class Count(NamedTuple):
    """Maps that a part of the network computes for all clips of a video, and how many of them are different."""

    computed: int
    distinct: int


def counts(model: Classifier, *, num_frames: int, placement: str) -> tuple[Count, Count, Count]:
    """Of the parts `WITHIN` of a C2D, where only pooling looks at several frames."""
    stem = model.backbone.stem
    clips = clips_of(model, num_frames=num_frames, placement=placement)
    seen: list[list[Hashable]] = [clip[:: stem.conv1_stride].tolist() for clip in clips]
    pooled = _windows(seen, size=stem.pool1_kernel, stride=stem.pool1_stride)
    return _count(seen), _count(pooled), _count(_windows(pooled, size=2, stride=2))


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


def _windows(clips: list[list[Hashable]], *, size: int, stride: int) -> list[list[Hashable]]:
    """What each maximum over time sees; it does not know an order."""
    return [[frozenset(clip[k : k + size]) for k in range(0, len(clip) - size + 1, stride)] for clip in clips]


def _count(clips: list[list[Hashable]]) -> Count:
    return Count(sum(map(len, clips)), len(set().union(*clips)))


def saving(found: Sequence[Count], parts: Sequence[float]) -> float:
    """The share of a forward pass that is computed more than once, from what is of its parts."""
    return sum(part * (1 - count.distinct / count.computed) for count, part in zip(found, parts, strict=True))


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
    """The views of the whole frame of a made-up video."""
    clips = clips_of(model, num_frames=num_frames, placement="released")
    wanted, rows = np.unique(clips, return_inverse=True)
    frames = pictures(len(wanted), *FRAME)[0].permute(1, 2, 3, 0).contiguous()
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
    if not far <= TOLERANCE:
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
