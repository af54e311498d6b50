"""Videos a second of whole tests: as tools/test.py does it, and with an item for each view."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.videos import moving_pictures
from nonlocal_video.data.clips import uniform_clips
from nonlocal_video.data.dataset import TestingVideos
from nonlocal_video.data.decode import decode
from nonlocal_video.data.loader import START_METHOD, testing_loader
from nonlocal_video.data.transforms import resize, short_side_size, testing_crops, testing_short_side
from nonlocal_video.engine.evaluate import Timing, evaluate
from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.runs.videos import clips_of, views_of
from nonlocal_video.settings import ProtocolConfig, ReadConfig, RuntimeConfig
from nonlocal_video.system.distributed import local_device
from nonlocal_video.tasks.views import Scorer, VideoJudge
from nonlocal_video.types import Entry, Failure, Prediction

NUM_CLASSES = 400
SMALL_CROP = 48
"""Side of a training clip of the small networks, which are for the miniature."""
SCORES_DIFFER = 1e-5
"""The two ways may differ so much in a score: they run other numbers of views together."""
CROPS = {"10x3": "3", "full_10": "full", "10x1": "1"}
"""The crops of each protocol."""
Key = TypeVar("Key")


class Test(NamedTuple):
    """A network and what it is tested on."""

    model: Classifier
    entries: list[Entry]
    protocol: ProtocolConfig
    workers: int


class Outcome(NamedTuple):
    """The scores of a test, and their cost."""

    scores: dict[str, Tensor]
    """Each video's scores (K,)."""
    work: Timing
    pixels: int
    """Pixels that went through the network."""


def build(name: str) -> Classifier:
    """A network whose random weights give scores that differ, on the device.

    As built, every residual branch and non-local block gives zero, and all classes are nearly equal. Here these
    branches have a gamma of 0.5, and the logits a standard deviation of 3 over the classes.

    Raises:
        ValueError: an unknown name.
    """
    torch.manual_seed(0)
    crop = SMALL_CROP if "_small_" in name else 224
    model = build_model(name, num_classes=NUM_CLASSES, crop=crop).to(local_device()).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d) and not module.weight.any():
            torch.nn.init.constant_(module.weight, 0.5)
    with torch.no_grad():
        logits = model(pictures(model.options.clip_length, crop, crop).to(local_device()))
        model.fc.weight.mul_(3 / logits.std())
    return model


def pictures(num_frames: int, height: int, width: int) -> Tensor:
    """(1, 3, T, H, W) uint8: frames such as those of the generated videos."""
    frames = np.stack(list(moving_pictures(height, width, num_frames=num_frames)))
    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None]


def plan(model: Classifier, name: str) -> ProtocolConfig:
    """A protocol with the short side for this network."""
    return ProtocolConfig(name, crops=CROPS[name], short_side=testing_short_side(model.options.crop))


def copies(path: str, number: int) -> list[Entry]:
    """A file so many times, under other names."""
    return [Entry(f"{path} {copy}", path, 0) for copy in range(number)]


def videos_of(test: Test) -> TestingVideos:
    """The videos as tools/test.py has them made."""
    options = test.model.options
    pick = clips_of(test.protocol, length=options.clip_length, stride=options.clip_stride)
    return views_of(test.protocol, ReadConfig())(test.entries, pick=pick)


def ours(test: Test) -> Outcome:
    """Tests as tools/test.py does: an item is a video, whose frames are decoded once; its views run in chunks.

    Raises:
        ValueError: a video cannot be decoded.
    """
    began = time.perf_counter()
    todo = range(len(test.entries))
    loader = testing_loader(videos_of(test), todo, rank=0, world_size=1, workers=test.workers, limit_s=60)
    scorer = Scorer(test.model.scores, chunk=RuntimeConfig().chunk, precision="fp32", note=print)
    scores = dict[str, Tensor]()

    def finished(outcome: Prediction | Failure) -> None:
        if isinstance(outcome, Failure):
            raise ValueError(outcome.cause)
        scores[outcome.video] = outcome.scores

    judge = VideoJudge(scorer, combine="mean", keep_views=False)
    work = evaluate(judge, loader, finished=finished, total=len(todo), unit="video")
    return Outcome(scores, work._replace(seconds=time.perf_counter() - began), judge.pixels)


class ViewByView(Dataset[tuple[str, Tensor]]):
    """An item is a view: its clip is decoded, resized and cropped by itself."""

    def __init__(self, test: Test) -> None:
        self.entries, self.protocol = test.entries, test.protocol
        self.crops = 3 if test.protocol.crops == "3" else 1
        self.pick = partial(
            uniform_clips,
            num_clips=test.protocol.num_clips,
            length=test.model.options.clip_length,
            stride=test.model.options.clip_stride,
            placement=test.protocol.placement,
        )

    def __len__(self) -> int:
        return len(self.entries) * self.protocol.num_clips * self.crops

    def __getitem__(self, number: int) -> tuple[str, Tensor]:
        """The name of the video and (3, T, h, w) uint8."""
        video, view = divmod(number, self.protocol.num_clips * self.crops)
        clip, crop = divmod(view, self.crops)
        entry = self.entries[video]

        def fit(height: int, width: int) -> Callable[[Tensor], Tensor]:
            size = short_side_size(height, width, int(str(self.protocol.short_side)))
            corners, (tall, wide) = testing_crops(*size, crops=self.protocol.crops)
            top, left = corners[crop]
            return lambda frame: resize(frame, size)[top : top + tall, left : left + wide]

        frames, rows, _ = decode(entry.path, lambda seconds: self.pick(seconds)[clip : clip + 1], fit)
        return entry.video, frames[rows[0]].permute(3, 0, 1, 2)


@torch.inference_mode()
def straightforward(test: Test) -> Outcome:
    """A plain loader of views, one forward pass for each; a video's score is the mean over its views.

    Raises:
        DecodeError: a video cannot be decoded.
    """
    began, waited_s, pixels = time.perf_counter(), 0.0, 0
    sums = dict[str, Tensor]()
    items = ViewByView(test)
    start_method = START_METHOD if test.workers else None  # As ours: a fork of a process that decoded can hang.
    loader: DataLoader[Any] = DataLoader(
        items,
        num_workers=test.workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context=start_method,
    )
    source = iter(loader)
    while True:
        asked = time.perf_counter()
        found = next(source, None)
        waited_s += time.perf_counter() - asked
        if found is None:
            break
        (video,), view = found
        scores = test.model.scores(view.to(local_device(), non_blocking=True))[0]
        sums[video] = sums.get(video, 0) + scores.double().cpu()
        pixels += view[0, 0].numel()
    means = {video: total * len(test.entries) / len(items) for video, total in sums.items()}
    return Outcome(means, Timing(time.perf_counter() - began, waited_s), pixels)


def check_same(one: Outcome, other: Outcome) -> float:
    """The largest difference of any score.

    Raises:
        ValueError: it is too large, or they are of other videos.
    """
    if one.scores.keys() != other.scores.keys():
        raise ValueError(f"got scores of {sorted(other.scores)}, expected {sorted(one.scores)}")
    differences = {video: float((scores - other.scores[video]).abs().max()) for video, scores in one.scores.items()}
    video = max(differences, key=differences.__getitem__)
    if not differences[video] <= SCORES_DIFFER:  # NaN is wrong, too.
        raise ValueError(
            f"{video}: the straightforward way gives other scores, by {differences[video]:.2g}, "
            f"expected at most {SCORES_DIFFER:g}"
        )
    return differences[video]


class Speed(NamedTuple):
    """Medians over the repeats."""

    seconds: float
    """For all videos, from the start of the loader's processes to the last score."""
    wait: float
    """The share of the time in which the network's process waited for the loader."""
    pixels: int


def in_turn(ways: Mapping[Key, Callable[[], Outcome]], *, repeats: int) -> dict[Key, Speed]:
    """The speed of each way; they take turns, so that a slow minute meets all."""
    found: dict[Key, list[Outcome]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            found[name].append(way())
    return {name: _medians(outcomes) for name, outcomes in found.items()}


def _medians(outcomes: Sequence[Outcome]) -> Speed:
    works = [outcome.work for outcome in outcomes]
    seconds = statistics.median(work.seconds for work in works)
    return Speed(seconds, statistics.median(work.waited_s / work.seconds for work in works), outcomes[0].pixels)
