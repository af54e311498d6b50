"""Re-encoding: the same frames at the same times, small, upright and in 8 bits."""

import json
import subprocess
import sys
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from nonlocal_video.data.prepare.encode import Encoding, reencode, small_size, write_video
from nonlocal_video.data.prepare.miniature import draw_scene, render
from tests.conftest import numbered_frames, numbers_in
from tests.data import fuzz
from tests.data.videos import ORIENTATIONS, orient

FINE = Encoding(crf=4)


def write(
    path: Path, frames: Iterable[np.ndarray], *, times: Iterable[int] | None = None,
    time_base: Fraction = Fraction(1, 25), codec: str = "libx264", pix_fmt: str = "yuv420p",
    colorspace: int = 2,
) -> None:  # fmt: skip
    """A video as others make them."""
    frames = list(frames)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "4"} if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.colorspace = colorspace
        for time, image in zip(times or range(len(frames)), frames, strict=False):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                format=pix_fmt, dst_colorspace=None if colorspace == 2 else colorspace
            )
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read(path: Path) -> tuple[list[np.ndarray], list[Fraction], av.VideoFrame]:
    """All frames in RGB, not turned, with their times, and the last one as it is."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [f.to_ndarray(format="rgb24") for f in frames], [f.pts * f.time_base for f in frames], frames[-1]


def quadrants(height: int = 64, width: int = 96) -> np.ndarray:
    """Another colour in each corner."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = 200, 30, 30
    image[: height // 2, width // 2 :] = 30, 200, 30
    image[height // 2 :, : width // 2] = 30, 30, 200
    image[height // 2 :, width // 2 :] = 200, 200, 200
    return image


def test_frame_k_stays_frame_k_at_its_time(numbered_video: Path, tmp_path: Path) -> None:
    assert reencode(numbered_video, tmp_path / "new.mp4", FINE._replace(short_side=32))
    frames, times, _ = read(tmp_path / "new.mp4")
    assert numbers_in(np.stack(frames)) == list(range(75))
    assert times == read(numbered_video)[1]
    assert frames[0].shape == (32, 32, 3)


@pytest.mark.parametrize("name", ["vfr.mkv", "vfr.mp4"])
def test_times_of_a_variable_frame_rate_are_kept(tmp_path: Path, name: str) -> None:
    """One that starts late, with gaps of 33 to 5000 ms."""
    times = np.cumsum([1500, *np.random.default_rng(0).choice([33, 34, 40, 700, 5000], 39)]).tolist()
    write(tmp_path / name, numbered_frames(40), times=times, time_base=Fraction(1, 1000))
    assert reencode(tmp_path / name, tmp_path / "new.mp4", FINE)
    frames, new_times, _ = read(tmp_path / "new.mp4")
    assert numbers_in(np.stack(frames)) == list(range(40))
    assert new_times == read(tmp_path / name)[1] == [Fraction(time, 1000) for time in times]


@pytest.mark.parametrize("rate", [Fraction(12), Fraction(30000, 1001)])
def test_a_first_frame_that_is_shown_late_stays_so_to_the_tick(tmp_path: Path, rate: Fraction) -> None:
    """MPEG-TS begins somewhere in its clock of 90,000 ticks a second."""
    write(tmp_path / "late.ts", numbered_frames(20), times=range(5, 25), time_base=1 / rate)
    assert reencode(tmp_path / "late.ts", tmp_path / "new.mp4", FINE)
    assert read(tmp_path / "new.mp4")[1] == read(tmp_path / "late.ts")[1]


def test_frames_without_times_follow_at_the_average_rate(tmp_path: Path) -> None:
    write(tmp_path / "raw.h264", numbered_frames(40))
    assert not reencode(tmp_path / "raw.h264", tmp_path / "new.mp4", FINE)
    frames, times, _ = read(tmp_path / "new.mp4")
    assert numbers_in(np.stack(frames)) == list(range(40))
    assert times == [Fraction(k, 25) for k in range(40)]


@pytest.mark.parametrize(("name", "codec"), [("bframes.avi", "mpeg4"), ("stream.ts", "libx264"), ("a.webm", "libvpx")])
def test_frames_of_other_containers_are_kept(tmp_path: Path, name: str, codec: str) -> None:
    write(tmp_path / name, numbered_frames(40), codec=codec)
    assert reencode(tmp_path / name, tmp_path / "new.mp4", FINE)
    old, new = read(tmp_path / name), read(tmp_path / "new.mp4")
    assert new[1] == old[1]
    assert np.abs(np.stack(new[0]).astype(int) - np.stack(old[0])).mean() < 2


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_is_shown_is_written_without_its_note(tmp_path: Path, orientation: str) -> None:
    write(tmp_path / "phone.mp4", [quadrants()] * 3)
    orient(tmp_path / "phone.mp4", orientation)
    reencode(tmp_path / "phone.mp4", tmp_path / "new.mp4", FINE)
    frames, _, frame = read(tmp_path / "new.mp4")
    assert Type.DISPLAYMATRIX not in frame.side_data
    shown = ORIENTATIONS[orientation][1](quadrants())
    assert frames[0].shape == shown.shape
    assert np.abs(frames[0].astype(int) - shown).mean() < 6  # Chroma smears where colours meet.


@pytest.mark.parametrize("change", ["packed", "dropped"])
def test_old_avis_are_written_as_they_are_shown(tmp_path: Path, change: str) -> None:
    """Pictures that an encoder dropped stay away, and those around them keep their times."""
    assert fuzz.make(tmp_path / "old.avi", fuzz.Case("avi", "mpeg4", 12, 1, change))
    assert reencode(tmp_path / "old.avi", tmp_path / "new.mp4", FINE._replace(short_side=144))
    frames, times, _ = read(tmp_path / "new.mp4")
    shown = fuzz.plain_decode(tmp_path / "old.avi")
    assert np.abs(np.stack(frames).astype(int) - np.stack(shown)).mean() < 6
    wanted = [Fraction(k, 25) for k in range(fuzz.NUM_FRAMES)]
    assert len(times) == len(frames) == len(shown)
    assert {time - times[0] for time in times} <= set(wanted)
    if change == "packed":
        assert len(times) == fuzz.NUM_FRAMES


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((720, 1280), 256, (256, 456)), ((1280, 720), 256, (456, 256)), ((256, 256), 256, (256, 256)),
        ((240, 427), 256, (240, 426)), ((67, 101), 256, (66, 100)), ((257, 257), 256, (256, 256)),
        ((1, 3), 256, (2, 2)), ((1080, 1920), 340, (340, 604)),
    ],
)  # fmt: skip
def test_sizes_are_even_and_never_larger(size: tuple[int, int], short_side: int, expected: tuple[int, int]) -> None:
    assert small_size(*size, short_side) == expected


def test_ten_bits_and_odd_sizes_become_ordinary(tmp_path: Path) -> None:
    image = quadrants(65, 99)
    write(tmp_path / "ten.mkv", [image] * 3, codec="ffv1", pix_fmt="yuv420p10le")
    reencode(tmp_path / "ten.mkv", tmp_path / "new.mp4", FINE)
    frames, _, frame = read(tmp_path / "new.mp4")
    assert frame.format.name == "yuv420p"
    assert frames[0].shape == (64, 98, 3)
    assert np.abs(frames[0][4::8, 4::8].astype(int) - image[4:64:8, 4:98:8]).mean() < 3


@pytest.mark.parametrize("colorspace", [1, 5])
def test_colours_are_those_of_the_source(tmp_path: Path, colorspace: int) -> None:
    """BT.709 and BT.601: pixels without their tag would be read by the other's numbers, and differ by 10 and more."""
    write(tmp_path / "old.mp4", [quadrants(256, 256)] * 3, colorspace=colorspace)
    reencode(tmp_path / "old.mp4", tmp_path / "new.mp4", FINE)
    old, new = read(tmp_path / "old.mp4"), read(tmp_path / "new.mp4")
    assert new[2].colorspace in ((1,) if colorspace == 1 else (5, 6))
    assert np.abs(new[0][0].astype(int) - old[0][0]).mean() < 1.5


def test_rgb_pixels_keep_their_colours(tmp_path: Path) -> None:
    write(tmp_path / "rgb.mov", [quadrants(64, 64)] * 3, codec="png", pix_fmt="rgb24")
    reencode(tmp_path / "rgb.mov", tmp_path / "new.mp4", FINE)
    frames, _, frame = read(tmp_path / "new.mp4")
    assert frame.colorspace != 0, "not RGB any more"
    assert np.abs(frames[0].astype(int) - quadrants(64, 64)).mean() < 6


def test_shrinking_averages_instead_of_skipping(tmp_path: Path) -> None:
    """Lines of one pixel become grey."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[::2] = 255
    write_video(tmp_path / "old.mp4", [stripes] * 3, crf=1)
    reencode(tmp_path / "old.mp4", tmp_path / "new.mp4", FINE._replace(short_side=64))
    frame = read(tmp_path / "new.mp4")[0][0][4:-4, 4:-4]
    assert frame.min() > 110
    assert frame.max() < 145


def test_a_small_copy_is_quick_to_enter(tmp_path: Path) -> None:
    """A key frame every 8, the index in front, no sound."""
    rng = np.random.default_rng(0)
    write_video(tmp_path / "old.mp4", [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(40)], gop=250)
    reencode(tmp_path / "old.mp4", tmp_path / "new.mp4", Encoding(gop=8))
    with av.open(str(tmp_path / "new.mp4")) as container:
        keys = [i for i, packet in enumerate(container.demux(video=0)) if packet.is_keyframe and packet.size]
        assert len(container.streams) == 1
    assert max(np.diff(keys)) <= 8
    content = (tmp_path / "new.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_a_broken_source_is_named_and_leaves_nothing(tmp_path: Path, numbered_video: Path) -> None:
    content = numbered_video.read_bytes()
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "folder.mp4").mkdir()
    for name, cause in (("half", "Invalid data"), ("text", "Invalid data"), ("folder", "not a regular file")):
        with pytest.raises(ValueError, match=rf"{name}\.mp4: .*{cause}"):
            reencode(tmp_path / f"{name}.mp4", tmp_path / "new.mp4", FINE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.mp4", "half.mp4", "text.mp4"]


def test_damaged_pictures_are_an_error(tmp_path: Path, numbered_video: Path) -> None:
    with av.open(str(numbered_video)) as container:
        last = [packet for packet in container.demux(video=0) if packet.size][-20:]
    content = bytearray(numbered_video.read_bytes())
    for packet in last:
        content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    (tmp_path / "damaged.mp4").write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.mp4"):
        reencode(tmp_path / "damaged.mp4", tmp_path / "new.mp4", FINE)
    assert not (tmp_path / "new.mp4").exists()


def test_equal_frames_give_equal_bytes_whatever_else_is_in_the_memory(tmp_path: Path) -> None:
    """With x264's assembly 1 to 6 of 100 files of this scene differed."""
    frames = list(render(draw_scene(838, seed=0)))
    rng = np.random.default_rng(0)
    files = set()
    for _ in range(200):
        blocks = [bytes([rng.integers(256)]) * int(rng.integers(100, 60_000)) for _ in range(60)]
        rng.shuffle(blocks)
        del blocks[20:]
        write_video(tmp_path / "a.mp4", frames, gop=12)
        files.add((tmp_path / "a.mp4").read_bytes())
    assert len(files) == 1


def test_the_encoder_needs_no_torch() -> None:
    """Many processes run it."""
    code = "import json, sys, nonlocal_video.data.prepare.encode; print(json.dumps('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) is False
