"""Folders of frames, one image each, as mmaction2's rawframes and Charades' are."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from nonlocal_video.data.decoders.source import Deadline, Source

FRAME_FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP"}
"""The extensions of frames, and what Pillow calls their formats."""
_FRAME = re.compile(rf"(?!\.)(.*?)(\d+)\.(?:{'|'.join(FRAME_FORMATS)})", re.IGNORECASE | re.DOTALL)


def frame_number(path: str) -> int | None:
    """The number of a frame by the name of its file (`A/A-000012.jpg`); None if no frame is called so."""
    match = _FRAME.fullmatch(os.path.basename(path))
    return int(match[2]) if match else None


@contextmanager
def open_frames(path: str, deadline: Deadline, *, rate: float | None = None) -> Iterator[Source]:
    """The numbered images of a folder, in the order of their numbers, at `rate` frames a second where somebody knows.

    Raises:
        ValueError: no frames, a number that is missing or there twice, or several series of frames but none `img_`.
    """
    names = list_frames(path)

    def read(wanted: list[int]) -> Iterator[np.ndarray]:
        for index in wanted:
            deadline.check()
            yield read_image(os.path.join(path, names[index]))

    yield Source(np.full(len(names), np.nan) if rate is None else np.arange(len(names)) / rate, read)


def list_frames(path: str) -> list[str]:
    """The names of a folder's frames, in order; raises what `open_frames` does."""
    series: dict[str, dict[int, list[str]]] = {}
    with os.scandir(path) as files:
        for file in files:
            match = _FRAME.fullmatch(file.name)
            if match and file.is_file():
                series.setdefault(match[1], {}).setdefault(int(match[2]), []).append(file.name)
    if not series:
        raise ValueError(f"no numbered frames in this folder ({', '.join(FRAME_FORMATS)})")
    if len(series) > 1 and "img_" not in series:  # Beside img_00001.jpg lie often flow_x_00001.jpg.
        raise ValueError(f"got several series of frames, {sorted(series)}, expected one, or one called img_")
    frames = series["img_"] if len(series) > 1 else next(iter(series.values()))
    numbers = sorted(frames)
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    if missing:
        raise ValueError(
            f"{len(missing)} of {numbers[-1] - numbers[0] + 1} frames are missing, the first: {missing[0]}"
        )
    for number in numbers:
        if len(frames[number]) > 1:
            raise ValueError(f"got two frames of number {number}, {sorted(frames[number])}, expected one")
    return [frames[number][0] for number in numbers]


def read_image(path: str, *, upright: bool = False, size: tuple[int, int] | None = None) -> np.ndarray:
    """(H, W, 3) uint8; what is transparent on black.

    Args:
        upright: turns the image as its camera says.
        size: the width and height that a list says, which tell whether it means the image turned or as it is stored.

    Raises:
        ValueError: the content is damaged, no format of frames, or of another size.
    """
    with _opened(path) as image:
        return _rgb(_turned(image, size) if upright or size else image)


def describe_image(path: str) -> dict[str, Any]:
    """Reads the facts of an image file, by the fields of `Health`; its codec is Pillow's word: RGB, L for grey, CMYK.

    Reads no pixels. Raises ValueError: the content is damaged or no format of frames.
    """
    with _opened(path) as image:
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)  # 2 to 4 mirrored or by a half, 5 to 8 by a quarter.
        said = {"container": image.format or "", "codec": image.mode, "width": image.width, "height": image.height}
        return {**said, "turned": turn in range(2, 9), "quarter": turn in range(5, 9)}


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=list(FRAME_FORMATS.values())) as image:
            yield image
    # What Pillow raises for damaged chunks of a PNG, and for the size of a picture that would fill the memory.
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{os.path.basename(path)}: {getattr(error, 'strerror', None) or error}") from error


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Writes pixels (H, W, 3) uint8 in the format of the path's extension."""
    Image.fromarray(pixels).save(path)


def _turned(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """An image turned as its camera says, or as it is stored if only that has the size of the list."""
    turned = ImageOps.exif_transpose(image)
    if size in (None, turned.size):
        return turned
    if size != image.size:
        raise ValueError(f"is {'x'.join(map(str, image.size))}, expected {'x'.join(map(str, size or ()))} as listed")
    return image


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # Grey of 16 bits, which Pillow would cut off at 255.
        return np.array(Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB"))
    if image.mode.endswith("A") or "transparency" in image.info:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return np.array(Image.alpha_composite(black, image.convert("RGBA")).convert("RGB"))
    return np.array(image.convert("RGB"))
