"""Videos of every kind, whose frames are numbered by their grey level."""

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.conftest import numbered_frames
from tests.data.packets import rewrite

NUM_FRAMES = 75


def write(
    path: Path,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    height: int = 64,
    width: int = 64,
    num_frames: int = NUM_FRAMES,
    times_ms: list[int] | None = None,
    **options: str,
) -> list[int]:
    """A video of numbered frames; returns their numbers in order."""
    if codec not in av.codecs_available:
        pytest.skip(f"no {codec}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={k.replace("_", "-"): v for k, v in options.items()})
        stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
        if times_ms:
            stream.codec_context.time_base = Fraction(1, 1000)
        for k, image in enumerate(numbered_frames(num_frames, height=height, width=width)):
            brighter = image + np.uint8("10" in pix_fmt)  # swscale rounds 10 bits down.
            frame = av.VideoFrame.from_ndarray(brighter, format="rgb24")
            if times_ms:
                frame.pts, frame.time_base = times_ms[k], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return list(range(num_frames))


def remux(source: Path, target: Path, *, first_packet: int = 0) -> None:
    """Copies packets from one on, with times from zero at the last key frame: what `ffmpeg -ss ... -c copy` does."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        start = packets[first_packet].pts
        key = max(i for i in range(first_packet + 1) if packets[i].is_keyframe)
        for packet in packets[key:]:
            packet.pts -= start
            packet.dts -= start
            packet.stream = copy
            out.mux(packet)


def join(first: Path, second: Path, target: Path, *, at: int) -> None:
    """The first packets of an H.264 MP4 file, up to a number, and from there on those of another one.

    The second one's parameter sets stand in front of its first packet.
    """
    with av.open(str(first)) as one, av.open(str(second)) as other, av.open(str(target), "w") as out:
        stream, record = one.streams.video[0], bytes(other.streams.video[0].codec_context.extradata or b"")
        copy = out.add_stream_from_template(stream)
        end = 8 + int.from_bytes(record[6:8], "big")  # Of the sequence's set; the picture's has two bytes of size, too.
        sets = (
            b"\0\0"
            + record[6:end]
            + b"\0\0"
            + record[end + 1 :][: 2 + int.from_bytes(record[end + 1 : end + 3], "big")]
        )
        pairs = zip(one.demux(stream), other.demux(other.streams.video[0]), strict=True)
        for number, (before, after) in enumerate(pairs):
            if before.size:
                content = bytes(before if number < at else after)
                packet = av.Packet(sets + content if number == at else content)
                packet.stream, packet.time_base, packet.is_keyframe = copy, stream.time_base, before.is_keyframe
                packet.pts, packet.dts = before.pts, before.dts
                out.mux(packet)


def x264(**params: object) -> dict[str, str]:
    return {"x264_params": ":".join(f"{key.replace('_', '-')}={value}" for key, value in params.items())}


def long_gop(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.mp4", write(folder / "v.mp4", g="250", bf="3")


def short_gop(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.mp4", write(folder / "v.mp4", g="12", bf="3")


def pyramid_of_8_b_frames(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.mp4", write(folder / "v.mp4", **x264(bframes=8, b_adapt=0, b_pyramid="normal", keyint=40))


def open_gop(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.mp4", write(folder / "v.mp4", **x264(open_gop=1, scenecut=0, bframes=3, b_adapt=0, keyint=12))


def intra_refresh(folder: Path) -> tuple[Path, list[int]]:
    """No key frame but the first; a column of whole blocks moves through the picture instead."""
    return folder / "v.mkv", write(folder / "v.mkv", **x264(intra_refresh=1, keyint=20, bframes=0))


def interlaced(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.mp4", write(folder / "v.mp4", **x264(interlaced=1, bframes=3, keyint=20))


def mpeg4_with_b_frames(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.mp4", write(folder / "v.mp4", codec="mpeg4", g="12", bf="2", b="2M")


def avi(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.avi", write(folder / "v.avi", codec="mpeg4", g="12", bf="2", b="2M")


def h264_avi_with_b_frames(folder: Path) -> tuple[Path, list[int]]:
    """An AVI says when frames are decoded, not when they are shown."""
    return folder / "v.avi", write(folder / "v.avi", g="250", bf="2", b_strategy="0")


def packed_avi(folder: Path) -> tuple[Path, list[int]]:
    """XviD and DivX store a B-frame in one packet with the frame that it waits for; UCF101's files are so."""
    shown = write(folder / "source.avi", codec="mpeg4", g="30", bf="1", b="2M", sc_threshold="1000000000")
    rewrite(folder / "source.avi", folder / "v.avi", "packed")
    return folder / "v.avi", shown


def mpeg_program_stream(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.mpg", write(folder / "v.mpg", codec="mpeg2video", g="12", bf="2", b="2M")


def flash_video(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.flv", write(folder / "v.flv", g="20", bf="2")


def windows_media(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.wmv", write(folder / "v.wmv", codec="wmv2", g="12", b="2M")


def animated_gif(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.gif", write(folder / "v.gif", codec="gif", pix_fmt="rgb8")


def variable_rate(folder: Path) -> tuple[Path, list[int]]:
    times = np.cumsum(np.random.default_rng(0).integers(10, 120, NUM_FRAMES)).tolist()
    return folder / "v.mkv", write(folder / "v.mkv", times_ms=times, g="20", bf="3")


def mpeg_ts(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.ts", write(folder / "v.ts", g="20", bf="3")


def edit_list(folder: Path) -> tuple[Path, list[int]]:
    """The file holds frames 0 to 74, and says that the film begins at 17."""
    write(folder / "whole.mp4", g="250", bf="0")
    remux(folder / "whole.mp4", folder / "v.mp4", first_packet=17)
    return folder / "v.mp4", list(range(17, NUM_FRAMES))


def odd_size(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.mp4", write(folder / "v.mp4", pix_fmt="yuv444p", height=61, width=83)


def ten_bit(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.mp4", write(folder / "v.mp4", pix_fmt="yuv420p10le", g="20", crf="1")


def hevc(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.mp4", write(folder / "v.mp4", codec="libx265", x265_params="log-level=error:keyint=20:bframes=3")


def vp9(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.webm", write(folder / "v.webm", codec="libvpx-vp9", g="20", b="1M", cpu_used="8")


def av1(folder: Path) -> tuple[Path, list[int]]:
    frames = write(folder / "v.mkv", codec="libsvtav1", g="20", preset="12", svtav1_params="logo=0")
    if hasattr(os, "sched_setscheduler"):  # Root's thread that calls SVT-AV1 runs before all others from then on.
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return folder / "v.mkv", frames


def motion_jpeg(folder: Path) -> tuple[Path, list[int]]:
    return folder / "v.avi", write(folder / "v.avi", codec="mjpeg", pix_fmt="yuvj420p")


def folder_of_frames(folder: Path) -> tuple[Path, list[int]]:
    write_jpegs(folder / "frames", range(NUM_FRAMES))
    return folder / "frames", list(range(NUM_FRAMES))


KINDS: list[Callable[[Path], tuple[Path, list[int]]]] = [
    long_gop, short_gop, pyramid_of_8_b_frames, open_gop, intra_refresh, interlaced, mpeg4_with_b_frames, avi,
    h264_avi_with_b_frames, packed_avi, variable_rate, mpeg_ts, mpeg_program_stream,
    flash_video, windows_media, animated_gif, edit_list, odd_size, ten_bit, hevc, vp9, av1, motion_jpeg,
    folder_of_frames,
]  # fmt: skip


def write_jpegs(folder: Path, numbers: range, *, name: str = "img_{:05d}.jpg") -> None:
    """Frame k is file k + 1, as mmaction2 writes them."""
    folder.mkdir(exist_ok=True)
    frames = numbered_frames(NUM_FRAMES)
    for k in numbers:
        with av.open(str(folder / name.format(k + 1)), "w", format="image2", options={"update": "1"}) as container:
            stream = container.add_stream("mjpeg")
            stream.height, stream.width, stream.pix_fmt = 64, 64, "yuvj420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frames[k], format="rgb24")))
            container.mux(stream.encode())


def textured_frames(num_frames: int, *, height: int, width: int) -> list[np.ndarray]:
    """Noise of several sizes that moves: every frame differs everywhere, and leans on others when it is coded."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.integers(40, 200, (height // 8 + 1, width // 8 + 1, 3)), np.ones((8, 8, 1)))[:height, :width]
    fine = rng.integers(0, 40, (height, width, 3))
    return [
        (np.roll(coarse, (k, 2 * k), (0, 1)) + np.roll(fine, -3 * k, 1)).astype(np.uint8) for k in range(num_frames)
    ]


ORIENTATIONS: dict[str, tuple[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]]] = {
    "as it is": ((1, 0, 0, 1), lambda image: image),
    "90 degrees": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "180 degrees": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "270 degrees": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda image: image[::-1]),
    "transposed": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    "transposed the other way": ((0, -1, -1, 0), lambda image: np.rot90(image, 2).swapaxes(0, 1)),
}
"""The numbers a, b, c and d of a display matrix, and how a frame (H, W, 3) is to be shown."""


def orient(path: Path, orientation: str) -> None:
    """Notes in an MP4 file that it is to be shown turned (clockwise) or mirrored, as a phone does."""
    a, b, c, d = ORIENTATIONS[orientation][0]
    content = bytearray(path.read_bytes())
    matrix = struct.pack(">9i", *(v << 16 for v in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    start = content.index(struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), content.index(b"tkhd"))
    content[start : start + len(matrix)] = matrix
    path.write_bytes(content)


def trim(path: Path, *, first: int, last: int) -> None:
    """Notes in an MP4 file of 30 frames a second that only these frames are to be shown."""
    content = bytearray(path.read_bytes())
    movie, media = (_timescale(content, box) for box in (b"mvhd", b"mdhd"))
    start = content.index(b"elst")
    entry = struct.pack(">Iiii", 1, int((last + 1 - first) / 30 * movie), round(first / 30 * media), 1 << 16)
    content[start + 8 : start + 8 + len(entry)] = entry
    path.write_bytes(content)


def _timescale(content: bytearray, box: bytes) -> int:
    """Ticks a second, as the header of a movie or of its media says."""
    start = content.index(box) + 16
    return int.from_bytes(content[start : start + 4], "big")
