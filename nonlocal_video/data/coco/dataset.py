"""From annotations to samples: images of one orientation side by side, with masks and keypoints, perhaps mirrored."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from nonlocal_video.data.coco.annotations import Picture
from nonlocal_video.data.coco.masks import decode_mask
from nonlocal_video.data.dataset import SharedItems, Started, first_readable, shuffled
from nonlocal_video.data.decoders.frames import read_image
from nonlocal_video.settings.values import expect
from nonlocal_video.types import Failure, ImageSample

STREAM = 7
"""The stream of random numbers of one seed; 8 is for what is drawn of each image."""
MAX_RATIO = 100
"""Largest ratio of an image's sides; nothing is left of a thinner image when its long side is made to fit."""


class Grouping:
    """The order of an endless stream of images, in groups of one orientation, so that little of a batch is padding.

    The wide and the tall images are shuffled anew in every pass over each, and cut into groups of `size`; what is left
    of a pass begins the next one. Group g is a pure function of (seed, g).
    """

    def __init__(self, wide: Sequence[bool], *, size: int, seed: int) -> None:
        rows = np.arange(len(wide))
        self.kinds = [kind for kind in (rows[np.array(wide)], rows[~np.array(wide)]) if len(kind)]
        self.size, self.seed = size, seed

    def row(self, index: int) -> tuple[int, int]:
        """The image of sample `index` of the stream, and the number of its kind."""
        group, place = divmod(index, self.size)
        kind, number = self._group(group)
        num_pass, position = divmod(number * self.size + place, len(self.kinds[kind]))
        order = shuffled(len(self.kinds[kind]), STREAM, (self.seed, kind), num_pass)
        return int(self.kinds[kind][order[position]]), kind

    def other(self, kind: int, rng: np.random.Generator) -> int:
        """A random image of a kind."""
        return int(rng.choice(self.kinds[kind]))

    def _group(self, group: int) -> tuple[int, int]:
        """The kind of a group, and its number among those of the kind."""
        num_pass = group * self.size // sum(map(len, self.kinds))
        while sum(self._ends(num_pass)) > group:
            num_pass -= 1
        while sum(self._ends(num_pass + 1)) <= group:
            num_pass += 1
        before, after = self._ends(num_pass), self._ends(num_pass + 1)
        return _mixed(before, after, self.seed, num_pass)[group - sum(before)]

    def _ends(self, num_pass: int) -> tuple[int, ...]:
        """The groups of each kind before a pass."""
        return tuple(num_pass * len(kind) // self.size for kind in self.kinds)


@lru_cache(maxsize=4)
def _mixed(before: tuple[int, ...], after: tuple[int, ...], seed: int, num_pass: int) -> list[tuple[int, int]]:
    groups = [(kind, n) for kind, ends in enumerate(zip(before, after, strict=True)) for n in range(*ends)]
    return [groups[i] for i in np.random.default_rng((STREAM, seed, num_pass)).permutation(len(groups))]


@dataclass
class TrainingImages:
    """An endless stream of images with their objects: sample i is a pure function of (seed, i, group).

    An image that cannot be read is replaced by another of its orientation, and reported in `ImageSample.failures`.
    """

    pictures: Sequence[Picture]
    _: KW_ONLY
    seed: int
    group: int
    """Images that go through the network together; they are all wide or all tall."""
    flip: bool
    """Mirror every second image."""
    mirror: Sequence[int]
    """The keypoint that each one becomes in a mirrored image; none without keypoints."""
    grouping: Grouping = field(init=False)

    def __post_init__(self) -> None:
        wide = [picture.width >= picture.height for picture in self.pictures]
        self.grouping = Grouping(wide, size=self.group, seed=self.seed)
        self.pictures = SharedItems(self.pictures, Picture)

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> ImageSample:
        """Sample `index`, with the failures in `lost` at attempts in which a process was lost.

        Raises:
            DecodeError: `MAX_ATTEMPTS` images in a row cannot be read.
        """

        def read(attempt: int) -> ImageSample | Failure:
            picture, rng = self._draw(index, attempt)
            found = read_sample(picture, num_keypoints=len(self.mirror))
            if isinstance(found, ImageSample) and self.flip and rng.random() < 0.5:
                return mirrored_sample(found, self.mirror)
            return found

        return first_readable(read, lost=lost, started=started)

    def name(self, index: int, attempt: int) -> str:
        """The image of an attempt at a sample."""
        return self._draw(index, attempt)[0].name

    def _draw(self, index: int, attempt: int) -> tuple[Picture, np.random.Generator]:
        rng, (row, kind) = np.random.default_rng((STREAM + 1, self.seed, index, attempt)), self.grouping.row(index)
        return self.pictures[row if attempt == 0 else self.grouping.other(kind, rng)], rng


@dataclass
class TestingImages:
    """The listed images in order."""

    pictures: Sequence[Picture]

    def __post_init__(self) -> None:
        self.pictures = SharedItems(self.pictures, Picture)

    def get(self, index: int, *, lost: dict[int, Failure], started: Started) -> ImageSample | Failure:
        """Image `index`, without objects; why there is none if it cannot be read, or if its process was lost."""
        if lost:
            return lost[0]
        started(0)
        picture = self.pictures[index]
        return read_sample(picture._replace(instances=()), num_keypoints=0)

    def name(self, index: int, _attempt: int) -> str:
        return self.pictures[index].name

    def __len__(self) -> int:
        return len(self.pictures)


def read_sample(picture: Picture, *, num_keypoints: int) -> ImageSample | Failure:
    """An image and its objects, or why it cannot be read."""
    size = (picture.width, picture.height) if picture.width else None
    try:
        pixels = read_image(picture.path, upright=True, size=size)
        short, long = sorted(pixels.shape[:2])
        expect(long <= MAX_RATIO * short, "sides", f"{long}:{short}", f"up to {MAX_RATIO}:1")
    except (OSError, ValueError) as error:
        return Failure(picture.name, f"{picture.path}: {error}", transient=_is_transient(error))
    target = target_of(picture, num_keypoints=num_keypoints)
    return ImageSample(torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), target, picture.name, picture.image_id)


def _is_transient(error: Exception) -> bool:
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError)


def target_of(picture: Picture, *, num_keypoints: int) -> dict[str, Tensor]:
    """The objects of an image: see `ImageSample.target`; with masks if they have any."""
    instances = picture.instances
    target = {
        "boxes": torch.tensor([instance.box for instance in instances], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([instance.label for instance in instances], dtype=torch.int64),
    }
    if any(instance.segmentation is not None for instance in instances):
        size = picture.height, picture.width
        masks = [decode_mask(instance.segmentation, *size) for instance in instances if instance.segmentation]
        target["masks"] = torch.from_numpy(np.stack(masks))
    if num_keypoints:
        points = [instance.keypoints or () for instance in instances]
        target["keypoints"] = torch.tensor(points, dtype=torch.float32).reshape(-1, num_keypoints, 3)
    return target


def mirrored_sample(sample: ImageSample, mirror: Sequence[int]) -> ImageSample:
    """A sample seen in a mirror: what was a left keypoint is a right one."""
    width = sample.image.shape[2]
    boxes = sample.target["boxes"]
    target: dict[str, Tensor] = dict(sample.target)
    target["boxes"] = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)
    if "masks" in target:
        target["masks"] = target["masks"].flip(2)
    if "keypoints" in target:
        points = target["keypoints"][:, list(mirror)]
        x = torch.where(points[..., 2] > 0, width - points[..., 0], points[..., 0])
        target["keypoints"] = torch.stack([x, points[..., 1], points[..., 2]], dim=2)
    return sample._replace(image=sample.image.flip(2), target=target)
