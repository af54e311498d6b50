"""The generated files of tools/benchmark_data.py: natural-like pictures, encoded as the web encodes them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from nonlocal_video.data.decoders.index import open_index
from nonlocal_video.data.decoders.source import Deadline

_VERSION = 1
"""Part of the files' names: a change of what is drawn makes new files."""


class Kind(NamedTuple):
    """One generated file, 30 frames a second: H.264 by x264's preset medium (crf 23, 3 B-frames), or as it says."""

    name: str
    width: int
    height: int
    gop: int
    """Frames from one key frame to the next."""
    num_frames: int = 300
    container: str = "mp4"
    codec: str = "libx264"


class File(NamedTuple):
    """A file to measure on."""

    name: str
    path: str
    num_frames: int
    fps: float
    height: int
    width: int
    kbits_per_s: float


TIMED = (
    Kind("340x256, GOP 250", 340, 256, 250),
    Kind("340x256, GOP 12", 340, 256, 12),
    Kind("1280x720, GOP 250", 1280, 720, 250),
)
MIXED = (
    Kind("340x256", 340, 256, 12, 96),
    Kind("256x340", 256, 340, 12, 96),
    Kind("480x360", 480, 360, 12, 96),
    Kind("320x240", 320, 240, 12, 96),
)
"""Files of different sizes, for the memory of a long run."""
OLD = (
    Kind("320x240 for 10 s, H.264 in MP4, GOP 32", 320, 240, 32),
    Kind("320x240 for 10 s, MPEG-4 with 2 B-frames in AVI", 320, 240, 250, container="avi", codec="mpeg4"),
    Kind("320x240 for 10 s, H.264 in AVI", 320, 240, 250, container="avi"),
    Kind("320x240 for 10 s, H.264 in MPEG-TS", 320, 240, 250, container="mpegts"),
)
"""Files of one film, some with packets that can be believed, and others."""
NUM_OBJECTS = 6
NOISE = 1.5
"""Standard deviation of a camera's noise, in grey levels."""
LARGEST_STEP = 2.0
"""Pixels a frame that the camera pans, at 256 lines; objects move up to twice as fast."""


def make_videos(kinds: tuple[Kind, ...], folder: Path) -> list[File]:
    """The files, made if they are not there; the same bytes everywhere for one version of x264."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for kind in kinds:
        codec = "" if kind.codec == "libx264" else f"_{kind.codec}"
        name = f"v{_VERSION}_{kind.width}x{kind.height}_gop{kind.gop}_{kind.num_frames}{codec}.{kind.container}"
        path = folder / name
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            _write(unfinished, kind)
            unfinished.replace(path)
        files.append(describe(str(path), name=kind.name))
    return files


def describe(path: str, *, name: str) -> File:
    """Describes a file as it states itself, with its frames counted by this project.

    Raises:
        av.FFmpegError, ValueError: not a video.
    """
    num_frames = len(open_index(path, Deadline(None)).seconds)
    with av.open(path) as container:
        stream = container.streams.best("video")
        if stream is None or not stream.average_rate:
            raise ValueError(f"{path}: no video with a frame rate")
        sizes = [packet.size for packet in container.demux(stream) if packet.size]
        fps = float(stream.average_rate)
        rate = 8 * sum(sizes) / 1000 * fps / len(sizes)
        return File(name, path, num_frames, fps, stream.height, stream.width, rate)


def _write(path: Path, kind: Kind) -> None:
    with av.open(str(path), "w", format=kind.container) as container:
        stream = container.add_stream(kind.codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = kind.width, kind.height, "yuv420p"
        # One thread: x264's rate control is deterministic only then.
        own = {"preset": "medium"} if kind.codec == "libx264" else {"bf": "2", "b": "600k"}
        stream.options = {**own, "g": str(kind.gop), "threads": "1"}
        for picture in moving_pictures(kind.height, kind.width, num_frames=kind.num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def moving_pictures(height: int, width: int, *, num_frames: int) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8: a panning camera over a texture of all scales, moving objects, and noise."""
    rng = np.random.default_rng(0)
    scale = min(height, width) / 256
    ground = texture(2 * height, 2 * width, rng)
    objects = [_Moving(height, width, scale, rng) for _ in range(NUM_OBJECTS)]
    heading = rng.uniform(-LARGEST_STEP, LARGEST_STEP, 2) * scale
    for k in range(num_frames):
        swing = 12 * scale * np.sin(k / np.array([17, 23]))  # A hand that is not steady.
        picture = window(ground, *(heading * k + swing), height, width)
        for thing in objects:
            thing.draw(picture, k)
        picture += NOISE * rng.standard_normal(picture.shape, np.float32)
        yield picture.round().clip(0, 255).astype(np.uint8)


class _Moving:
    """An ellipse with a texture of its own that travels and swings."""

    def __init__(self, height: int, width: int, scale: float, rng: np.random.Generator) -> None:
        self.place = rng.uniform(0, 1, 2) * (height, width)
        self.step = rng.uniform(-2, 2, 2) * LARGEST_STEP * scale
        self.radii = rng.uniform(15, 50, 2) * scale
        self.texture = texture(*(int(2 * radius) for radius in self.radii), rng)

    def draw(self, picture: np.ndarray, k: int) -> None:
        tall, wide = self.texture.shape[:2]
        room = np.add(picture.shape[:2], (tall, wide))
        top, left = ((self.place + self.step * k) % room - (tall, wide)).astype(int)
        rows = np.arange(max(top, 0), min(top + tall, picture.shape[0]))
        columns = np.arange(max(left, 0), min(left + wide, picture.shape[1]))
        if len(rows) and len(columns):
            y, x = (2 * (rows - top) / tall - 1)[:, None], (2 * (columns - left) / wide - 1)[None]
            inside = (y * y + x * x < 1)[..., None]
            part = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            np.copyto(part, self.texture[rows - top][:, columns - left], where=inside)


def texture(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32 whose spectrum falls with the frequency, as that of photographs does; it wraps round."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]) * max(height, width)
    noise = rng.standard_normal((3, height, width))
    noise = 0.75 * noise[:1] + 0.25 * noise  # Colours go together.
    waves = np.fft.irfft2(np.fft.rfft2(noise) / np.maximum(frequency, 1) ** 1.3, s=(height, width))
    return (128 + 50 * waves / waves.std()).clip(0, 255).astype(np.float32).transpose(1, 2, 0)


def window(ground: np.ndarray, top: float, left: float, height: int, width: int) -> np.ndarray:
    """(H, W, 3) the part of a texture at a place between the pixels."""
    y, x = int(np.floor(top)), int(np.floor(left))
    part = ground.take(range(y, y + height + 1), 0, mode="wrap").take(range(x, x + width + 1), 1, mode="wrap")
    dy, dx = np.float32(top - y), np.float32(left - x)
    rows = (1 - dy) * part[:-1] + dy * part[1:]
    return (1 - dx) * rows[:, :-1] + dx * rows[:, 1:]
