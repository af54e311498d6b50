"""Files of every container and codec at hand, read frame by frame: python -m tests.data.fuzz [SHARE]

Each file is compared with a plain decode of it from its first frame. SHARE, 1 if it is not given, is that of the
combinations that are tried.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from av.codec.codec import UnknownCodecError

from nonlocal_video.data.decode import DecodeError, decode
from tests.data.packets import rewrite
from tests.data.videos import textured_frames

HEIGHT, WIDTH, NUM_FRAMES = 144, 176, 40  # H.261 and H.263 know this size.
CONTAINERS = (
    "mp4", "mov", "3gp", "mkv", "webm", "avi", "flv", "ts", "mpg", "vob", "wmv", "ogv", "nut", "mxf", "gif", "rm",
    "ivf",
)  # fmt: skip
CODECS = {
    "libx264": (0, 1, 2, 3), "mpeg4": (0, 1, 2, 3), "mpeg2video": (0, 1, 2, 3), "mpeg1video": (0, 2), "libx265": (0, 3),
    "h263": (0,), "h263p": (0,), "flv": (0,), "msmpeg4": (0,), "msmpeg4v2": (0,), "wmv1": (0,), "wmv2": (0,),
    "mjpeg": (0,), "libvpx": (0,), "libvpx-vp9": (0,), "libsvtav1": (0,), "ffv1": (0,), "huffyuv": (0,), "gif": (0,),
    "svq1": (0,), "snow": (0,), "rv10": (0,), "qtrle": (0,), "png": (0,), "rawvideo": (0,), "prores": (0,),
    "zmbv": (0,),
    "dirac": (0,), "cinepak": (0,), "flashsv": (0,), "msvideo1": (0,), "utvideo": (0,),
}  # fmt: skip
"""Encoders, and the numbers of B-frames to try."""
FORMATS = {
    "gif": "rgb8", "qtrle": "rgb24", "png": "rgb24", "svq1": "yuv410p", "prores": "yuv422p10le", "mjpeg": "yuvj420p",
    "huffyuv": "yuv422p", "zmbv": "bgr0", "cinepak": "rgb24", "flashsv": "bgr24", "msvideo1": "rgb555le",
}  # fmt: skip
OPTIONS = {
    "libx264": {"preset": "veryfast", "x264-params": "scenecut=0"}, "mpeg4": {"sc_threshold": "1000000000"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=error:b-adapt=0"}, "snow": {"strict": "-2"},
    "libvpx": {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"}, "libvpx-vp9": {"cpu-used": "8"},
    "libsvtav1": {"preset": "12"},
}  # fmt: skip


class Case(NamedTuple):
    """A file to make."""

    container: str
    codec: str
    gop: int
    b_frames: int
    change: str = ""
    """What becomes of its packets: a key of `CHANGES` in packets.py, or nothing."""


def cases() -> Iterator[Case]:
    for codec, numbers in CODECS.items():
        for container in CONTAINERS:
            for b_frames in numbers:
                for gop in (1, 12, 250) if b_frames == 0 else (12, 250):
                    yield Case(container, codec, gop, b_frames)
    for container in ("avi", "mkv", "mp4"):
        for change, codec, b_frames in (
            ("packed", "mpeg4", 1), ("packed", "mpeg4", 2), ("dropped", "mpeg4", 0), ("dropped", "mpeg4", 2),
            ("decoding times", "libx264", 2), ("decoding times", "mpeg4", 2), ("cut", "libx264", 2),
            ("cut", "mpeg4", 2), ("padded", "mpeg4", 0), ("joined", "libx265", 3), ("exchanged", "libx264", 2),
            ("exchanged", "libx265", 3), ("exchanged", "mpeg4", 2), ("merged", "libsvtav1", 0),
        ):  # fmt: skip
            yield from (Case(container, codec, gop, b_frames, change) for gop in (12, 250))


def make(path: Path, case: Case, *, num_frames: int = NUM_FRAMES) -> bool:
    """Whether this file can be made here."""
    is_old = case.codec == "mpeg4" and case.change != "exchanged"
    source = path if not case.change else path.with_name(f"source.{'avi' if is_old else 'mp4'}")
    try:
        _encode(source, case, num_frames)
        if case.change:
            rewrite(source, path, case.change)
    except (av.FFmpegError, UnknownCodecError, ValueError):
        return False
    return True


def _encode(path: Path, case: Case, num_frames: int) -> None:
    options = {**OPTIONS.get(case.codec, {}), "g": str(case.gop)}
    if case.b_frames:
        options |= {"bf": str(case.b_frames), "b_strategy": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(case.codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, FORMATS.get(case.codec, "yuv420p")
        for k, image in enumerate(textured_frames(num_frames, height=HEIGHT, width=WIDTH)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def plain_decode(path: Path) -> list[np.ndarray]:
    """The pictures (H, W, 3) that a decode from the first packet on gives; none if nothing takes it for a video."""
    pictures = list[np.ndarray]()
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            return []
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                pictures += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
            except av.FFmpegError:
                continue
    return pictures


def choices(num_frames: int, *, seed: int) -> Iterator[list[int]]:
    """Rows to ask for: everywhere, near the end, at several strides, and some alone."""
    rng = np.random.default_rng(seed)
    yield from ([row] for row in range(seed % 3, num_frames, max(3, num_frames // 8)))
    for stride in (1, 2, 3, 5):
        for start in (0, int(rng.integers(num_frames)), max(0, num_frames - 1 - stride)):
            yield sorted({min(start + stride * k, num_frames - 1) for k in range(6)})


def compare(path: Path, *, decoder: str = "pyav", every: int = 1) -> str:
    """What is wrong with the first frames that differ from those of a plain decode; nothing if all are the same.

    Of the `choices` of frames, `every` so many-th is asked for.
    """
    whole = plain_decode(path)
    counted: list[int] = []
    for rows in list(choices(len(whole), seed=len(whole)))[::every]:

        def pick(seconds: np.ndarray, rows: list[int] = rows) -> np.ndarray:
            counted.append(len(seconds))
            return np.array([[min(row, len(seconds) - 1) for row in rows]])

        try:
            frames = decode(str(path), pick, lambda _h, _w: lambda frame: frame, decoder=decoder).frames
        except DecodeError as error:
            return f"{rows}: {error}"
        if counted[-1] != len(whole):
            return f"{counted[-1]} frames, expected {len(whole)}"
        if not torch.equal(frames, torch.from_numpy(np.stack([whole[row] for row in rows]))):
            return f"{rows}: other pictures"
    return ""


def run(share: float) -> tuple[list[str], list[str]]:
    """A share of the cases: what is wrong, and a line for each codec with the files of each container."""
    every = list(cases())
    chosen = [every[k] for k in np.random.default_rng(0).permutation(len(every))[: round(share * len(every))]]
    done, wrong = Counter[tuple[str, str]](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            path = Path(folder) / f"video.{case.container}"
            if make(path, case) and plain_decode(path):
                done[case.container, f"{case.codec} {case.change}".strip()] += 1
                if found := compare(path):
                    wrong.append(f"{case}: {found.replace(folder, '')}")
            path.unlink(missing_ok=True)
    codecs = sorted({codec for _, codec in done})
    lines = [
        f"{codec}: " + ", ".join(f"{container} ({n})" for (container, made), n in sorted(done.items()) if made == codec)
        for codec in codecs
    ]
    return wrong, [*lines, f"{sum(done.values())} files, {len(done)} pairs of container and codec"]


def main() -> None:
    wrong, lines = run(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
    print("\n".join([*lines, *(f"WRONG {case}" for case in wrong), f"{len(wrong)} of them wrong"]))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
