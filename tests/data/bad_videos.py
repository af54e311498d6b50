"""Files that are no whole video, and unusual ones."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np

from nonlocal_video.data.clips import random_clip
from nonlocal_video.data.dataset import ValidationVideos
from nonlocal_video.data.decode import decode
from nonlocal_video.data.transforms import training_crop
from nonlocal_video.tasks.single_label import target
from nonlocal_video.types import Entry, Failure
from tests.data.videos import textured_frames, write

LIMIT_S = 20.0


def whole(path: Path, *, front: bool = False) -> bytes:
    """A good video of 120 frames; its index in front of the pictures, or behind them as usual."""
    options = {"movflags": "+faststart"} if front else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "12", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for image in textured_frames(120, height=64, width=96):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


def zero_bytes(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("this is not a video\n" * 100)


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def cut_with_index_in_front(path: Path) -> None:
    content = whole(path, front=True)
    path.write_bytes(content[: len(content) // 2])


def cut_with_index_behind(path: Path) -> None:
    content = whole(path)
    path.write_bytes(content[: len(content) // 2])


def hole_in_the_middle(path: Path) -> None:
    content = bytearray(whole(path, front=True))
    third = len(content) // 3
    content[third : 2 * third] = bytes(third)
    path.write_bytes(content)


def index_of_another_file(path: Path) -> None:
    """The index is whole, but the pictures behind it are not those it speaks of."""
    content = whole(path, front=True)
    start = content.index(b"mdat") + 4
    path.write_bytes(content[:start] + np.random.default_rng(0).bytes(len(content) - start))


def empty_folder(path: Path) -> None:
    path.mkdir()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def absent(_path: Path) -> None:
    pass


def no_permission(path: Path) -> None:
    whole(path)
    path.chmod(0)


def far_too_wide(path: Path) -> None:
    write(path, width=4096, height=16, num_frames=3)


def size_that_changes(path: Path) -> None:
    """Two MPEG streams in one file."""
    write(path.with_name("a.ts"), num_frames=40)
    write(path.with_name("b.ts"), num_frames=40, height=96, width=128)
    path.write_bytes(path.with_name("a.ts").read_bytes() + path.with_name("b.ts").read_bytes())


BROKEN: list[Callable[[Path], None]] = [
    zero_bytes, text, audio_only, cut_with_index_in_front, cut_with_index_behind, hole_in_the_middle,
    index_of_another_file, empty_folder, fifo, link_to_itself, absent, no_permission, far_too_wide, size_that_changes,
]  # fmt: skip
"""Each must be an error with the file's name, within the limit."""


def one_pixel(path: Path) -> None:
    write(path, height=1, width=1, pix_fmt="yuv444p")


def ultra_hd_8k(path: Path) -> None:
    """7680 x 4320 pixels."""
    write(path, height=4320, width=7680, num_frames=2, preset="ultrafast")


def wrong_extension(path: Path) -> None:
    write(path.with_name("video.webm"), codec="libvpx-vp9", cpu_used="8")
    shutil.move(path.with_name("video.webm"), path)


def one_frame(path: Path) -> None:
    write(path, num_frames=1)


ODD: list[Callable[[Path], None]] = [one_pixel, ultra_hd_8k, wrong_extension, one_frame]
"""Unusual, but videos: each must give a clip."""


def flipped(content: bytes, number: int) -> bytes:
    """One to twenty random bytes of a file changed, the same for a number always."""
    rng, spoilt = np.random.default_rng(number), bytearray(content)
    for place in rng.integers(0, len(content), rng.integers(1, 21)):
        spoilt[place] ^= int(rng.integers(1, 256))
    return bytes(spoilt)


def outcome(path: str, decoder: str) -> tuple[str, float, str]:
    """What a training clip of this file is: "clip" or the error; how long that took, and which clip it is."""
    videos = ValidationVideos(
        [Entry("video", path, 0)],
        seed=0,
        pick=partial(random_clip, length=32, stride=2),
        fit=partial(training_crop, jitter=(256, 320), crop=224, flip=True),
        target=target,
        decode=partial(decode, decoder=decoder, limit_s=LIMIT_S),
    )
    start = time.perf_counter()
    found = videos.get(0, lost={}, started=lambda _: None)
    seconds = time.perf_counter() - start
    if isinstance(found, Failure):
        return f"error: {found.cause.removeprefix(f'{path}: ')}", seconds, ""
    return "clip", seconds, hashlib.sha256(found.clip.numpy().tobytes()).hexdigest()
