"""What is a video by its content: files without an extension."""

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from nonlocal_video.data.decoders.container import is_video

CONTAINERS = {
    "gif": ("gif", "rgb8"), "apng": ("apng", "rgb24"), "mpegts": ("mpeg2video", "yuv420p"), "asf": ("wmv2", "yuv420p"),
    "mpeg": ("mpeg2video", "yuv420p"), "vob": ("mpeg2video", "yuv420p"), "dv": ("dvvideo", "yuv420p"),
    "flv": ("flv", "yuv420p"), "matroska": ("libx264", "yuv420p"), "webm": ("libvpx", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"), "mov": ("libx264", "yuv420p"), "mp4": ("libx264", "yuv420p"),
    "nut": ("mpeg4", "yuv420p"), "rm": ("rv20", "yuv420p"), "ivf": ("libvpx", "yuv420p"),
    "mxf": ("mpeg2video", "yuv420p"),
}  # fmt: skip


def write(path: Path, container: str, *, num_frames: int = 12) -> Path:
    codec, pixels = CONTAINERS[container]
    height, width = (576, 720) if container == "dv" else (96, 128)
    options = {"mpegts_m2ts_mode": "1"} if container == "mpegts" else {}
    with av.open(str(path), "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, pixels
        for k in range(num_frames):
            image = np.full((height, width, 3), 10 * k, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_known_without_an_extension(tmp_path: Path, container: str) -> None:
    assert is_video(str(write(tmp_path / "clip", container)))
    (tmp_path / "link").symlink_to(tmp_path / "clip")
    assert is_video(str(tmp_path / "link"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "ICO", "JPEG2000", "AVIF", "PDF"])
def test_a_picture_is_no_video(tmp_path: Path, kind: str) -> None:
    if kind not in (Image.init(), Image.SAVE)[1]:
        pytest.skip(f"Pillow cannot write {kind} here")
    Image.effect_noise((128, 128), 60).convert("RGB").save(tmp_path / "picture", kind)
    assert not is_video(str(tmp_path / "picture"))


def sound_with_cover(path: Path) -> None:
    """MP3 behind an ID3 tag with a JPEG."""
    with av.open(str(path), "w", format="mp3", options={"id3v2_version": "0", "write_xing": "0"}) as file:
        stream = file.add_stream("libmp3lame", rate=44100)
        samples = (9000 * np.sin(np.arange(2 * 44100) / 20)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.rate = 44100
        for part in av.AudioResampler("s16p", "mono", 44100, frame_size=1152).resample(frame):
            file.mux(stream.encode(part))
        file.mux(stream.encode())
    Image.new("RGB", (64, 64)).save(path.with_suffix(".cover"), "JPEG")
    picture = b"\0image/jpeg\0\3\0" + path.with_suffix(".cover").read_bytes()
    body = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    size = bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\3\0\0" + size + body + path.read_bytes())


def playlist(path: Path) -> None:
    write(path.with_suffix(".mp4"), "mp4")
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n{path.with_suffix('.mp4')}\n#EXT-X-ENDLIST\n\0")


OTHERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("hello world\n" * 2000),
    "text of a terminal": lambda path: path.write_bytes(b"\x1b[1;31mhello\x1b[0m\r\n\0" * 500),
    "nothing": lambda path: path.touch(),
    "zeros": lambda path: path.write_bytes(bytes(100_000)),
    "noise": lambda path: path.write_bytes(np.random.default_rng(6).bytes(200_000)),  # libav takes it for H.263.
    "a pickle": lambda path: path.write_bytes(pickle.dumps(np.arange(10_000))),
    "sound with a cover": sound_with_cover,
    "a playlist": playlist,
    "a list of files to join": lambda path: path.write_text("ffconcat version 1.0\nfile clip.mp4\n\0"),
    "a folder": lambda path: path.mkdir(),
    "a fifo": os.mkfifo,
    "a link that leads nowhere": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_has_no_moving_pictures_is_no_video(tmp_path: Path, kind: str) -> None:
    OTHERS[kind](tmp_path / "file")
    assert not is_video(str(tmp_path / "file"))


def test_the_sound_of_the_test_does_have_a_picture(tmp_path: Path) -> None:
    sound_with_cover(tmp_path / "file")
    with av.open(str(tmp_path / "file")) as container:
        assert len(container.streams.video) == 1


def test_names_of_files_are_bytes(tmp_path: Path) -> None:
    """Neither a colon nor bytes that are no UTF-8 make a file another one."""
    for name in ("cam1:12", os.fsdecode(b"caf\xe9"), "file:clip", "a%03d"):
        assert is_video(str(write(tmp_path / "clip", "mp4").rename(tmp_path / name)))
