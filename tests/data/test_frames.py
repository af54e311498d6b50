"""Folders of frames: which images are frames, and what their pixels become."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nonlocal_video.data.decode import DecodeError, decode
from nonlocal_video.data.decoders.frames import FRAME_FORMATS, frame_number, list_frames
from nonlocal_video.data.lists.manifest import find_entries, read_list
from tests.data.test_decode import as_they_are


def folder_of(folder: Path, *names: str) -> Path:
    """Grey images that tell their place by their level: 20, 40, 60 ..."""
    folder.mkdir(exist_ok=True)
    for place, name in enumerate(names, 1):
        Image.new("RGB", (48, 32), (20 * place,) * 3).save(folder / name)
    return folder


def pixels(folder: Path) -> np.ndarray:
    """(U, h, w, 3), all frames."""
    return decode(str(folder), lambda seconds: np.arange(len(seconds))[None], as_they_are).frames.numpy()


@pytest.mark.parametrize("extension", [*FRAME_FORMATS, "PNG"])
def test_every_kind_of_frame_is_read_in_the_order_of_the_numbers(tmp_path: Path, extension: str) -> None:
    folder_of(tmp_path, *(f"img_{number}.{extension}" for number in (8, 9, 10, 11)))
    levels = pixels(tmp_path).astype(int)
    assert np.abs(levels - np.array([20, 40, 60, 80])[:, None, None, None]).max() <= 2
    (entry,) = find_entries(tmp_path, root=None)
    assert entry.path == str(tmp_path)


def test_a_series_may_change_its_kind(tmp_path: Path) -> None:
    folder_of(tmp_path, "img_1.jpg", "img_2.png", "img_3.webp", "img_4.bmp")
    assert list_frames(str(tmp_path)) == ["img_1.jpg", "img_2.png", "img_3.webp", "img_4.bmp"]


@pytest.mark.parametrize("names", [("img_00001.jpg", "img_00001.png"), ("img_1.jpg", "img_01.jpg")])
def test_two_frames_of_one_number_are_refused_by_their_names(tmp_path: Path, names: tuple[str, str]) -> None:
    folder_of(tmp_path, "img_0.jpg", *names)
    with pytest.raises(DecodeError, match="got two frames of number 1") as error:
        pixels(tmp_path)
    assert all(name in str(error.value) for name in names)


def test_files_that_are_no_frames_are_left_alone(tmp_path: Path) -> None:
    folder_of(tmp_path, "img_1.png", "img_2.png", "._img_1.png", "cover.png")
    (tmp_path / "img_3.txt").write_text("3")
    assert list_frames(str(tmp_path)) == ["img_1.png", "img_2.png"]
    assert [frame_number(name) for name in ("a/A-000012.JPEG", "7.webp", "cover.png", "1.gif")] == [12, 7, None, None]


def test_a_folder_without_frames_says_which_images_would_be(tmp_path: Path) -> None:
    folder_of(tmp_path, "cover.png")
    with pytest.raises(ValueError, match=r"got no videos .*frames .*jpg, jpeg, png, webp, bmp"):
        find_entries(tmp_path, root=None)
    with pytest.raises(DecodeError, match=r"no numbered frames in this folder \(jpg, jpeg, png, webp, bmp\)"):
        pixels(tmp_path)


# Pixels


def png_of_16_bits(colour: int, values: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel; `colour` 0 is grey, 2 RGB, 4 grey with alpha, 6 RGB with alpha."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_keep_their_brightness(tmp_path: Path, colour: int, channels: int) -> None:
    levels = np.arange(0, 256, 5)
    values = np.broadcast_to((levels * 257)[None, :, None], (4, len(levels), channels)).copy()
    if channels in (2, 4):
        values[..., -1] = 65535
    (tmp_path / "1.png").write_bytes(png_of_16_bits(colour, values))
    assert (pixels(tmp_path)[0] == levels[None, :, None]).all()


@pytest.mark.parametrize("extension", ["png", "webp"])
def test_transparent_pixels_are_shown_on_black(tmp_path: Path, extension: str) -> None:
    image = np.full((32, 48, 4), 200, np.uint8)
    image[:, :16, 3], image[:, 16:32, 3], image[:, 32:, 3] = 0, 128, 255
    Image.fromarray(image).save(tmp_path / f"1.{extension}", lossless=True, exact=True)
    shown = pixels(tmp_path)[0].astype(int)
    assert [int(shown[:, x].mean()) for x in (8, 24, 40)] == pytest.approx([0, 100, 200], abs=1)


def test_palettes_and_single_bits_become_their_colours(tmp_path: Path) -> None:
    palette = Image.new("P", (48, 32), 1)
    palette.putpalette([0, 0, 0, 250, 120, 10])
    palette.save(tmp_path / "1.png")
    palette.save(tmp_path / "2.png", transparency=1)
    palette.save(tmp_path / "3.bmp")
    Image.new("1", (48, 32), 1).save(tmp_path / "4.png")
    Image.new("LA", (48, 32), (70, 255)).save(tmp_path / "5.png")
    assert pixels(tmp_path)[:, 0, 0].tolist() == [[250, 120, 10], [0, 0, 0], [250, 120, 10], [255] * 3, [70] * 3]


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM", "ICO"])
def test_other_formats_under_the_name_of_a_frame_are_not_tried(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (48, 32)).save(tmp_path / "1.png", kind)
    with pytest.raises(DecodeError, match=r"1\.png: cannot identify"):
        pixels(tmp_path)


@pytest.mark.parametrize("damage", ["a chunk", "the size"])
def test_damaged_frames_are_named(tmp_path: Path, damage: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    path = tmp_path / ("1.png" if damage == "a chunk" else "1.bmp")
    Image.fromarray(noise).save(path)
    content = bytearray(path.read_bytes())
    if damage == "a chunk":  # Its name: PIL raises a SyntaxError.
        second = content.index(b"IDAT", content.index(b"IDAT") + 4)
        content[second : second + 4] = b"\0\1\2\3"
    else:  # 30,000 x 30,000 pixels: PIL raises a DecompressionBombError.
        content[18:26] = struct.pack("<ii", 30_000, 30_000)
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=rf"{path.name}: ."):
        pixels(tmp_path)


def test_lists_of_frames_take_every_kind(tmp_path: Path) -> None:
    lines = [f'A 0 {place} A/A-{place + 1:06d}.png ""\n' for place in range(3)]
    (tmp_path / "list.csv").write_text("original_vido_id video_id frame_id path labels\n" + "".join(lines))
    (entry,) = read_list(str(tmp_path / "list.csv"), root=None, num_classes=None)
    assert entry.num_frames == 3
