import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from nonlocal_video.data import decode as decode_module
from nonlocal_video.data.clips import random_clip, uniform_clips
from nonlocal_video.data.decode import DecodeError, check_decoder, decode
from nonlocal_video.data.encode import write_video
from tests.conftest import numbered_frames, numbers_in

REAL = Path(__file__).parents[3] / "shared" / "videos"


def can_use(decoder: str) -> bool:
    try:
        check_decoder(decoder)
    except ValueError:
        return False
    return True


@pytest.fixture(
    params=["pyav", pytest.param("decord", marks=pytest.mark.skipif(not can_use("decord"), reason="no decord"))]
)
def decoder(request: pytest.FixtureRequest) -> str:
    return request.param


def picks(*clips: list[int]) -> Callable[[int], np.ndarray]:
    return lambda _num_frames: np.array(clips)


def spread(num_frames: int) -> np.ndarray:
    return np.array([[0, num_frames // 3, num_frames // 2, num_frames - 1]])


@pytest.mark.parametrize("gop", [1, 12, 250])
def test_index_k_is_frame_k(tmp_path: Path, decoder: str, gop: int) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, numbered_frames(75), gop=gop)
    for wanted in ([0, 1, 2], [74], [29, 30, 31], [40, 10, 10, 73], list(range(75))):
        decoded = decode(str(path), picks(wanted), decoder=decoder)
        assert numbers_in(decoded.frames[decoded.rows[0]]) == wanted
        assert len(decoded.frames) == len(set(wanted))


def test_clips_hold_the_frames_they_ask_for(numbered_video: Path, decoder: str) -> None:
    asked = uniform_clips(75, num_clips=10, length=32, stride=2)
    decoded = decode(
        str(numbered_video), lambda n: uniform_clips(n, num_clips=10, length=32, stride=2), decoder=decoder
    )
    assert [numbers_in(decoded.frames[rows]) for rows in decoded.rows] == asked.tolist()


@pytest.mark.parametrize("num_frames", [1, 2, 40])
def test_short_videos_loop(tmp_path: Path, decoder: str, num_frames: int) -> None:
    path = tmp_path / "short.mp4"
    write_video(path, numbered_frames(num_frames))
    rng = np.random.default_rng(0)
    decoded = decode(str(path), lambda n: random_clip(n, length=32, stride=2, rng=rng), decoder=decoder)
    assert numbers_in(decoded.frames[decoded.rows[0]]) == [2 * i % num_frames for i in range(32)]


def write_open_gop(path: Path, *, codec: str, options: dict[str, str]) -> None:
    """Groups of pictures that lean on the one before, and B-frames: seeking to a key frame is a trap."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for frame in numbered_frames(75):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1:scenecut=0:bframes=3:b-adapt=0"}),
        ("mpeg4", {"g": "12", "bf": "2", "b": "2M"}),
    ],
)
def test_pyav_reads_the_right_frames_of_open_groups_of_pictures(
    tmp_path: Path, codec: str, options: dict[str, str]
) -> None:
    path = tmp_path / "open.mp4"
    write_open_gop(path, codec=codec, options=options)
    for start in range(0, 73):
        decoded = decode(str(path), picks([start, start + 1, start + 2]))
        assert numbers_in(decoded.frames) == [start, start + 1, start + 2]


def test_pyav_counts_from_the_start_when_seeking_fails(numbered_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "_read_at", lambda *_: None)
    assert numbers_in(decode(str(numbered_video), picks([3, 50])).frames) == [3, 50]


def test_pyav_turns_frames_as_the_file_says() -> None:
    turned = REAL / "video_90.mov"
    if not turned.exists() or not can_use("decord"):
        pytest.skip("needs the video of a phone and decord")
    ours, theirs = (decode(str(turned), spread, decoder=name).frames for name in ("pyav", "decord"))
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).mean() < 2


@pytest.mark.parametrize("name", ["dog.mp4", "goat.mp4", "flipping_a_pancake.mkv", "nasa_13013.mp4"])
def test_real_videos_decode_alike_with_both_decoders(name: str) -> None:
    if not (REAL / name).exists() or not can_use("decord"):
        pytest.skip("needs the real videos and decord")
    ours, theirs = (decode(str(REAL / name), spread, decoder=d).frames for d in ("pyav", "decord"))
    assert np.abs(ours.astype(int) - theirs).max() <= 2


# Files that are no whole video


def empty(path: Path, _whole: Path) -> None:
    path.write_bytes(b"")


def text(path: Path, _whole: Path) -> None:
    path.write_text("this is not a video\n" * 100)


def truncated(path: Path, whole: Path) -> None:
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])


def directory(path: Path, _whole: Path) -> None:
    path.mkdir()


def absent(_path: Path, _whole: Path) -> None:
    pass


def audio_only(path: Path, _whole: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("spoil", [empty, text, truncated, directory, absent, audio_only], ids=lambda f: f.__name__)
def test_a_file_that_is_no_video_is_named_with_its_cause(
    tmp_path: Path, numbered_video: Path, decoder: str, spoil: Callable[[Path, Path], None]
) -> None:
    path = tmp_path / "spoilt.mp4"
    spoil(path, numbered_video)
    with pytest.raises(DecodeError, match=r"spoilt\.mp4: ."):
        decode(str(path), picks([0]), decoder=decoder)


def test_a_video_with_fewer_frames_than_packets_is_named(tmp_path: Path, numbered_video: Path) -> None:
    """The index is whole, the last part of the pictures is not."""
    path = tmp_path / "damaged.mp4"
    shutil.copy(numbered_video, path)
    with av.open(str(path)) as container:
        last = [packet for packet in container.demux(video=0) if packet.size][-20:]
    content = bytearray(path.read_bytes())
    for packet in last:
        content[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=r"damaged\.mp4"):
        decode(str(path), lambda n: np.arange(n)[None])


def test_real_corrupted_video_is_named(decoder: str) -> None:
    if not (REAL / "corrupted.mp4").exists():
        pytest.skip("needs the real videos")
    with pytest.raises(DecodeError, match=r"corrupted\.mp4"):
        decode(str(REAL / "corrupted.mp4"), lambda n: np.arange(n)[None], decoder=decoder)


def test_unknown_decoder_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"data\.decoder: got 'opencv', expected one of pyav, decord"):
        check_decoder("opencv")


def test_decord_that_cannot_be_imported_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "decord", None)
    with pytest.raises(ValueError, match=r"use data\.decoder=pyav"):
        check_decoder("decord")
