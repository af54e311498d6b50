"""The settings of runs on images with objects."""

from pydantic.dataclasses import dataclass

from nonlocal_video.settings.values import CHECKED, Count, File, Positive, Share, expect


@dataclass(config=CHECKED, kw_only=True)
class CocoConfig:
    """Which images, in COCO's format."""

    name: str
    """The name of the data set in reports."""
    root: File | None = None
    """The folder that relative paths start from; the working directory if null."""
    train: File
    """The annotations of the training images, such as annotations/instances_train2017.json."""
    train_images: File
    """The folder of the training images."""
    val: File
    """The annotations of the testing images."""
    val_images: File
    num_classes: Count | None = None
    """The number of categories; that of the annotations if null."""
    empty: bool = False
    """Training: whether images without objects are used."""
    max_missing: Share = 0.05
    """The share of listed images that may be missing before a run refuses to start."""
    max_failed: Share = 0.01
    """Training: the share of drawn images that may be unreadable before the run stops."""
    decode_limit_s: Positive | None = 60.0
    """Seconds after which a process that reads one image is ended; null for no limit."""


@dataclass(config=CHECKED, kw_only=True)
class ImageConfig:
    """How images are resized and mirrored in training; in testing it is the network's `short_side` and `long_side`."""

    short_sides: list[Count]
    """Short sides in pixels, of which one is drawn for each image, unless the long side would grow beyond the
    network's."""
    flip: bool = True
    """Mirror left and right every second time."""

    def __post_init__(self) -> None:
        """Raises ValueError: there is no short side."""
        expect(len(self.short_sides) > 0, "short_sides", self.short_sides, "one or more")
