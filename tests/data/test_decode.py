import os
import re
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from nonlocal_video.data.clips import random_clip, uniform_clips
from nonlocal_video.data.decode import (
    DECODERS,
    Decoded,
    DecodeError,
    DecodeTimeoutError,
    check_decoder,
    decode,
)  # fmt: skip
from nonlocal_video.data.decoders import fallback as fallback_module
from nonlocal_video.data.decoders import index as index_module
from nonlocal_video.data.decoders import pyav as pyav_module
from nonlocal_video.data.decoders.examine import examine
from nonlocal_video.data.decoders.source import Deadline
from nonlocal_video.data.prepare.encode import Encoding, reencode, write_video
from tests.conftest import numbered_frames, numbers_in
from tests.data import bad_videos, fuzz, videos
from tests.data.robustness import usable as can_use

REAL = Path(__file__).parents[3] / "shared" / "videos"
Kind = Callable[[Path], tuple[Path, list[int]]]
"""Makes a video of a kind in a folder; gives its path and the numbers of the frames that it shows."""


@pytest.fixture(params=[pytest.param(d, marks=pytest.mark.skipif(not can_use(d), reason=f"no {d}")) for d in DECODERS])
def decoder(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes of a file that others use, too, does not outlive it."""
    monkeypatch.setattr(index_module, "_kept", OrderedDict())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], tuple[Path, list[int]]]:
    """Makes a video of each kind once, for all decoders: nothing may change it."""
    return cache(lambda kind: kind(tmp_path_factory.mktemp(kind.__name__)))


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Tensor]]:
    """Makes an H.264 video of 90 textured frames with these options once, and decodes it from its first packet on."""

    @cache
    def make(*, interlaced: bool = False, **options: str) -> tuple[Path, Tensor]:
        path = tmp_path_factory.mktemp("coded") / "v.mp4"
        with av.open(str(path), "w") as container:
            flags = {"x264-params": "interlaced=1"} if interlaced else {}
            stream = container.add_stream("libx264", rate=30, options={**options, **flags})
            stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
            for image in videos.textured_frames(90, height=96, width=128):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        return path, torch.from_numpy(np.stack(fuzz.plain_decode(path)))

    return make


def as_they_are(_height: int, _width: int) -> Callable[[Tensor], Tensor]:
    return lambda frame: frame


def read(path: Path, *clips: list[int], decoder: str = "pyav") -> Decoded:
    return decode(str(path), lambda _seconds: np.array(clips), as_they_are, decoder=decoder)


def numbers(decoded: Decoded) -> list[list[int]]:
    return [numbers_in(decoded.frames[rows].numpy()) for rows in decoded.rows]


def every_frame(seconds: np.ndarray) -> np.ndarray:
    return np.arange(len(seconds))[None]


# Index k is frame k


@pytest.mark.parametrize("kind", videos.KINDS, ids=lambda kind: kind.__name__)
def test_index_k_is_frame_k(decoder: str, kind: Kind, made: Callable[[Kind], tuple[Path, list[int]]]) -> None:
    path, shown = made(kind)
    counted, last = [], len(shown) - 1
    threes = [[start, start + 1, start + 2] for start in range(0, last - 1, 7)]
    for wanted in (*threes, [last], [40, 10, 10, 50], list(range(last + 1))):

        def pick(seconds: np.ndarray, wanted: list[int] = wanted) -> np.ndarray:
            counted.append(len(seconds))
            return np.array([wanted])

        decoded = decode(str(path), pick, as_they_are, decoder=decoder)
        assert numbers(decoded) == [[shown[i] for i in wanted]]
        assert len(decoded.frames) == len(set(wanted))
    assert set(counted) == {len(shown)}


@pytest.mark.parametrize(
    "options", [{"g": "250"}, {"g": "12"}, {"g": "40", "bf": "8"}, {"g": "30", "interlaced": True}], ids=str
)
def test_frames_are_those_of_the_file_read_from_the_start(
    decoder: str, options: dict[str, Any], coded: Callable[..., tuple[Path, Tensor]]
) -> None:
    """Frames that nothing refers to are skipped: those that are read must not differ in a single pixel."""
    path, whole = coded(**options)
    for wanted in (list(range(0, 90, 2)), list(range(31, 90, 7)), [44], [88, 89], [3, 77]):
        assert torch.equal(read(path, wanted, decoder=decoder).frames, whole[wanted])


def test_clips_hold_the_frames_they_ask_for(numbered_video: Path, decoder: str) -> None:
    asked = uniform_clips(np.arange(75), num_clips=10, length=32, stride=2)
    assert numbers(read(numbered_video, *asked.tolist(), decoder=decoder)) == asked.tolist()


@pytest.mark.parametrize("num_frames", [1, 2, 3, 7, 40])
def test_short_videos_loop(tmp_path: Path, decoder: str, num_frames: int) -> None:
    path = tmp_path / "short.mp4"
    write_video(path, numbered_frames(num_frames))
    rng = np.random.default_rng(0)
    decoded = decode(str(path), lambda s: random_clip(s, length=32, stride=2, rng=rng), as_they_are, decoder=decoder)
    assert numbers(decoded) == [[2 * i % num_frames for i in range(32)]]


def test_times_are_those_of_the_frames(tmp_path: Path, decoder: str) -> None:
    times_ms = [0, 30, 70, 100, 170, 180, 300]
    videos.write(tmp_path / "v.mkv", times_ms=times_ms, num_frames=7)
    seen = []
    decode(str(tmp_path / "v.mkv"), lambda s: (seen.append(s), np.array([[0]]))[1], as_they_are, decoder=decoder)
    assert seen[0] == pytest.approx([t / 1000 for t in times_ms], abs=1e-3)


@pytest.mark.parametrize("orientation", videos.ORIENTATIONS)
def test_frames_are_turned_and_mirrored_as_the_file_says(tmp_path: Path, decoder: str, orientation: str) -> None:
    corner = np.zeros((64, 96, 3), np.uint8)
    corner[:16, :16] = 255
    write_video(tmp_path / "v.mp4", [corner] * 3)
    videos.orient(tmp_path / "v.mp4", orientation)
    frame = read(tmp_path / "v.mp4", [1], decoder=decoder).frames[0].numpy()
    expected = videos.ORIENTATIONS[orientation][1](corner)
    assert frame.shape == expected.shape
    assert np.abs(frame.astype(int) - expected)[4:-4, 4:-4].mean() < 3


def test_frames_are_cut_one_by_one_as_they_come(numbered_video: Path, decoder: str) -> None:
    sizes = []

    def left_half(height: int, width: int) -> Callable[[Tensor], Tensor]:
        sizes.append((height, width))
        return lambda frame: frame[:, : width // 2]

    decoded = decode(str(numbered_video), lambda _: np.array([[5, 6, 7]]), left_half, decoder=decoder)
    assert sizes == [(64, 64)]
    assert decoded.frames.shape == (3, 64, 32, 3)
    assert decoded.frames.dtype == torch.uint8


@pytest.mark.parametrize("name", ["dog.mp4", "goat.mp4", "flipping_a_pancake.mkv", "nasa_13013.mp4", "video_90.mov"])
def test_real_videos_decode_alike_with_all_decoders(name: str, decoder: str) -> None:
    if not (REAL / name).exists():
        pytest.skip("needs the real videos")

    def spread(seconds: np.ndarray) -> np.ndarray:
        return np.array([[0, len(seconds) // 3, len(seconds) // 2, len(seconds) - 1]])

    ours, theirs = (decode(str(REAL / name), spread, as_they_are, decoder=d).frames.int() for d in ("pyav", decoder))
    assert (ours - theirs).abs().max() <= (2 if name != "video_90.mov" else 12)


# Whatever the packets say

SHORT_FUZZ = [
    *(fuzz.Case("avi", "mpeg4", 12, b_frames) for b_frames in (1, 2, 3)),
    *(fuzz.Case("avi", "libx264", 250, b_frames) for b_frames in (1, 2)),
    *(fuzz.Case(container, "mpeg4", 12, 1, "packed") for container in ("avi", "mkv", "mp4")),
    *(fuzz.Case(container, "mpeg4", 250, 2, "dropped") for container in ("avi", "mkv", "mp4")),
    *(fuzz.Case(container, "libx264", 12, 2, "decoding times") for container in ("mkv", "mp4")),
    *(fuzz.Case("mp4", codec, 12, 2, "exchanged") for codec in ("libx264", "mpeg4")),
    fuzz.Case("mkv", "libx265", 12, 3, "exchanged"), fuzz.Case("mkv", "libsvtav1", 12, 0, "merged"),
    fuzz.Case("mp4", "mpeg4", 250, 0, "padded"), fuzz.Case("mp4", "libx265", 12, 3, "joined"),
    *(fuzz.Case(container, "mpeg4", 12, 2, "decoding times") for container in ("mkv", "mp4")),
    *(fuzz.Case(container, codec, 12, 2, "cut") for container in ("mkv", "mp4") for codec in ("libx264", "mpeg4")),
    *(fuzz.Case(container, "mpeg2video", 12, 2) for container in ("avi", "mpg", "ts", "mkv")),
    *(fuzz.Case(container, "libx264", 12, 2) for container in ("flv", "3gp", "mov", "ts", "wmv")),
    *(fuzz.Case(container, "mjpeg", 1, 0) for container in ("avi", "mov")),
    *(fuzz.Case("webm", codec, 12, 0) for codec in ("libvpx", "libvpx-vp9")),
    fuzz.Case("mkv", "libx265", 12, 3), fuzz.Case("3gp", "h263", 12, 0), fuzz.Case("wmv", "wmv2", 12, 0),
    fuzz.Case("gif", "gif", 12, 0), fuzz.Case("ogv", "libvpx", 12, 0),
]  # fmt: skip
"""Of `python -m tests.data.fuzz`, those that tell most."""


@pytest.mark.slow
@pytest.mark.parametrize("case", SHORT_FUZZ, ids=lambda case: " ".join(map(str, case)))
def test_frame_k_is_the_kth_picture_of_a_plain_decode(tmp_path: Path, case: fuzz.Case) -> None:
    path = tmp_path / f"video.{case.container}"
    if not fuzz.make(path, case):
        pytest.skip("cannot be made here")
    decoders = [name for name in DECODERS if can_use(name)] if case.codec == "libx264" and case.change else ["pyav"]
    assert {name: fuzz.compare(path, decoder=name, every=2) for name in decoders} == dict.fromkeys(decoders, "")


@pytest.mark.parametrize(
    ("codec", "b_frames", "num_frames"),
    [("libx264", 3, 300), ("libx265", 4, 300), ("mpeg4", 2, 300), ("libvpx-vp9", 0, 100), ("libsvtav1", 0, 300)],
)
def test_packets_of_a_long_file_are_believed(tmp_path: Path, codec: str, b_frames: int, num_frames: int) -> None:
    """Numbers that say when a picture is shown have few bits: they begin anew many times. VP9 has no such numbers."""
    if not fuzz.make(tmp_path / "v.mp4", fuzz.Case("mp4", codec, 250, b_frames), num_frames=num_frames):
        pytest.skip("cannot be made here")
    found = index_module.open_index(str(tmp_path / "v.mp4"), Deadline(None))
    assert (found.believed, len(found.seconds)) == (True, num_frames)


def test_a_process_remembers_the_files_that_it_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "REMEMBERED_FRAMES", 25)
    found = index_module.Index("avi", "h264", 0, None, np.zeros(10))
    paths = [str(tmp_path / name) for name in "abc"]
    for path in paths:
        Path(path).touch()
    index_module.remember(paths[0], found)
    index_module.remember(paths[1], found)
    index_module.remember(paths[1], found)
    assert index_module.known(paths[0]) is found
    index_module.remember(paths[2], found)
    assert [index_module.known(path) for path in paths] == [found, None, found]
    index_module.forget(paths[0])
    index_module.remember(paths[1], found)
    assert index_module.known(paths[2]) is found
    Path(paths[2]).write_text("changed")
    assert index_module.known(paths[2]) is None


def test_what_only_the_first_packet_tells_is_not_missed(tmp_path: Path, decoder: str) -> None:
    """Early x264 coded full colour otherwise, and says its version in front of the first picture alone."""
    path = tmp_path / "v.mp4"
    videos.write(path, pix_fmt="yuv444p", g="10")
    content = path.read_bytes()
    assert content.count(b"x264 - core 1") == 1
    path.write_bytes(re.sub(rb"x264 - core \d\d\d", b"x264 - core 142", content))
    assert not fuzz.compare(path, decoder=decoder)


def test_parameters_that_change_in_the_middle_are_not_missed(tmp_path: Path, decoder: str) -> None:
    """Two H.264 streams joined: the second one's parameter sets stand once, before its first picture."""
    streams = []
    for offset in (0, 9):
        path = tmp_path / f"{offset}.mp4"
        with av.open(str(path), "w") as container:
            options = {"g": "5", "bf": "0", "x264-params": f"chroma-qp-offset={offset}"}
            stream = container.add_stream("libx264", rate=25, options=options)
            stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
            for image in videos.textured_frames(40, height=96, width=128):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        streams.append(path)
    videos.join(*streams, tmp_path / "joined.mkv", at=20)
    assert not fuzz.compare(tmp_path / "joined.mkv", decoder=decoder)
    assert not fuzz.compare(streams[0], decoder=decoder)


REAL_FILES = {
    "xvid_packed.avi": 164, "xvid_bframes.avi": 121, "hmdb51_sample.avi": 48, "keyframes_without_idr.mp4": 280,
    "dog.mp4": 150, "flipping_a_pancake.mkv": 310, "nasa_13013.mp4": 390,
}  # fmt: skip
"""And how many pictures a plain decode of each gives."""


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL_FILES)
def test_real_files_are_read_as_a_plain_decode_does(name: str, decoder: str) -> None:
    if not (REAL / name).exists():
        pytest.skip("needs the real videos")
    if decoder != "pyav" and name != "xvid_packed.avi":
        pytest.skip("read by PyAV, or as the files that the tests make")
    assert not fuzz.compare(REAL / name, decoder=decoder, every=4)
    finding = examine(str(REAL / name), limit_s=60, decode_all=True)
    assert (finding.state, finding.cause, finding.frames, finding.damaged) == ("ok", "", REAL_FILES[name], 0)


@pytest.mark.parametrize(("first", "last"), [(0, 24), (25, 59), (31, 47)])
def test_an_edit_list_over_groups_of_pictures_shows_what_it_says(
    tmp_path: Path, decoder: str, first: int, last: int
) -> None:
    """A lossless trim leaves whole groups in the file that nothing shows; it is no file that was cut off."""
    path = tmp_path / "v.mp4"
    videos.write(path, num_frames=60, g="10", bf="0")
    videos.trim(path, first=first, last=last)
    seen: list[int] = []
    decoded = decode(str(path), lambda s: (seen.append(len(s)), every_frame(s))[1], as_they_are, decoder=decoder)
    assert numbers(decoded) == [list(range(first, last + 1))]
    assert seen == [last - first + 1]
    finding = examine(str(path), limit_s=20, decode_all=True)
    assert (finding.state, finding.frames) == ("ok", last - first + 1)


# Nothing but the local file is opened


@pytest.mark.parametrize("kind", ["concat", "hls", "dash"])
def test_a_playlist_with_the_name_of_a_video_opens_nothing(tmp_path: Path, decoder: str, kind: str) -> None:
    write_video(tmp_path / "other.mp4", numbered_frames(30))
    playlists = {
        "concat": "ffconcat version 1.0\nfile 'other.mp4'\n",
        "hls": "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>other.mp4</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>",
    }
    (tmp_path / "list.mp4").write_text(playlists[kind])
    with pytest.raises(DecodeError, match=r"list\.mp4: ."):
        read(tmp_path / "list.mp4", [0], decoder=decoder)
    assert examine(str(tmp_path / "list.mp4"), limit_s=20, decode_all=True).state == "broken"
    with pytest.raises(ValueError, match=r"list\.mp4: ."):
        reencode(tmp_path / "list.mp4", tmp_path / "new.mp4", Encoding())


@pytest.mark.parametrize("name", ["cam1:12.mp4", "http:a.mp4", "concat:other.mp4", "pipe:0"])
def test_a_name_is_a_file_and_no_protocol(
    tmp_path: Path, decoder: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "good.mp4", numbered_frames(30))
    (tmp_path / "good.mp4").rename(name)
    assert numbers(read(Path(name), [3, 20], decoder=decoder)) == [[3, 20]]


# What a decoder is known to misread goes to another


@pytest.mark.parametrize(
    "kind",
    [
        videos.open_gop,
        videos.intra_refresh,
        videos.mpeg4_with_b_frames,
        videos.avi,
        videos.mpeg_ts,
        videos.edit_list,
    ],
)
def test_decord_is_not_asked_for_what_it_misreads(
    kind: Kind, made: Callable[[Kind], tuple[Path, list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_use("decord"):
        pytest.skip("no decord")
    path, shown = made(kind)
    asked = []
    batch = fallback_module.import_decord().VideoReader.get_batch
    monkeypatch.setattr(
        fallback_module.import_decord().VideoReader, "get_batch", lambda *a: (asked.append(a), batch(*a))[1]
    )
    assert numbers(read(path, [3, 50], decoder="decord")) == [[shown[3], shown[50]]]
    assert not asked
    assert numbers(read(made(videos.short_gop)[0], [3, 50], decoder="decord")) == [[3, 50]]
    assert asked


@pytest.mark.parametrize("kind", [videos.intra_refresh, videos.avi, videos.mpeg_ts])
def test_torchcodec_is_not_asked_for_what_it_misreads(
    kind: Kind, made: Callable[[Kind], tuple[Path, list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_use("torchcodec"):
        pytest.skip("no torchcodec")
    path, shown = made(kind)
    monkeypatch.setattr(fallback_module.import_torchcodec(), "VideoDecoder", None)
    assert numbers(read(path, [3, 50], decoder="torchcodec")) == [[shown[3], shown[50]]]


@pytest.mark.parametrize("kind", [videos.short_gop, videos.open_gop, videos.hevc, videos.vp9, videos.edit_list])
def test_a_file_that_is_too_large_to_keep_is_sought_in(
    kind: Kind, made: Callable[[Kind], tuple[Path, list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = made(kind)
    kept = []
    read_from = pyav_module._read_from
    monkeypatch.setattr(pyav_module, "_read_from", lambda *a: (kept.append(bool(a[1])), read_from(*a))[1])
    assert not fuzz.compare(path, every=2)
    assert all(kept)
    monkeypatch.setattr(index_module, "KEPT_BYTES", 0)
    kept.clear()
    assert not fuzz.compare(path, every=2)
    assert not any(kept)
    assert kept
    assert not index_module._kept, "no seek went astray"


def test_pyav_reads_from_the_start_when_a_seek_goes_astray(
    numbered_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought: list[object] = []
    monkeypatch.setattr(pyav_module, "_read_from", _astray(sought))
    assert numbers(read(numbered_video, [3, 50])) == [[3, 50]]
    assert numbers(read(numbered_video, [4, 51])) == [[4, 51]]
    assert len(sought) == 1, "that seeks go astray is remembered"


def _astray(sought: list[object]) -> Callable[..., Iterator[np.ndarray]]:
    def read_from(*arguments: object) -> Iterator[np.ndarray]:
        sought.append(arguments)
        yield np.zeros((64, 64, 3), np.uint8)
        raise pyav_module._StrayError("damaged")

    return read_from


def test_pyav_counts_frames_that_have_no_times(numbered_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyav_module, "read_index", lambda *_: None)
    assert numbers(read(numbered_video, [3, 50])) == [[3, 50]]


# Files that are no whole video


@pytest.mark.parametrize("spoil", bad_videos.BROKEN, ids=lambda spoil: spoil.__name__)
def test_a_file_that_is_no_whole_video_is_named_with_its_cause(
    tmp_path: Path, decoder: str, spoil: Callable[[Path], None]
) -> None:
    if spoil is bad_videos.no_permission and os.geteuid() == 0:
        pytest.skip("root may read it")
    spoil(tmp_path / "spoilt.mp4")
    what, seconds, _ = bad_videos.outcome(str(tmp_path / "spoilt.mp4"), decoder)
    assert what.startswith("error: ")
    assert len(what) > 12
    assert seconds < bad_videos.LIMIT_S


@pytest.mark.slow
@pytest.mark.parametrize("make", bad_videos.ODD, ids=lambda make: make.__name__)
def test_an_unusual_video_gives_a_clip(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "odd.mp4")
    assert bad_videos.outcome(str(tmp_path / "odd.mp4"), "pyav")[0] == "clip"


@pytest.mark.slow
def test_files_with_changed_bytes_give_a_clip_or_an_error(tmp_path: Path, decoder: str) -> None:
    content, path = bad_videos.whole(tmp_path / "whole.mp4", front=True), tmp_path / "flipped.mp4"
    outcomes = []
    for number in range(80):
        path.write_bytes(bad_videos.flipped(content, number))
        outcomes.append(bad_videos.outcome(str(path), decoder)[0].split(":")[0])
    assert set(outcomes) <= {"clip", "error"}
    if decoder == "pyav":  # It says which frames are damaged; the others hand them out.
        assert outcomes.count("error") > 60


def test_damaged_frames_are_refused_and_the_others_are_not(tmp_path: Path) -> None:
    """Groups of 12 frames, of which that of frame 60 is damaged."""
    path = tmp_path / "damaged.mp4"
    content = bytearray(bad_videos.whole(path))
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    key = packets[60]
    content[key.pos + key.size // 2 : key.pos + key.size] = b"\xff" * (key.size - key.size // 2)
    path.write_bytes(content)
    assert len(read(path, [10, 50]).frames) == 2
    with pytest.raises(DecodeError, match=r"damaged\.mp4: .*"):
        read(path, [50, 65])


def test_fewer_frames_than_asked_for_are_an_error(numbered_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pyav_module._read_from

    def short(*arguments: object) -> Iterator[np.ndarray]:
        yield next(whole(*arguments))  # type: ignore[arg-type]

    monkeypatch.setattr(pyav_module, "_read_from", short)
    with pytest.raises(DecodeError, match=r"numbered video\.mp4: only 1 of the 3 frames asked for can be decoded"):
        read(numbered_video, [3, 4, 50])


def test_a_read_error_is_named(numbered_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk:
        """A file on a disk that fails after the first bytes."""

        def __init__(self, path: str) -> None:
            self.file = open(path, "rb")  # noqa: SIM115

        def read(self, size: int) -> bytes:
            if self.file.tell() > 2000:
                raise OSError(5, "Input/output error")
            return self.file.read(min(size, 1024))

        def seek(self, offset: int, whence: int = 0) -> int:
            return self.file.seek(offset, whence)

        def tell(self) -> int:
            return self.file.tell()

    whole = av.open
    monkeypatch.setattr(av, "open", lambda file, **options: whole(Disk(file.name), **options))
    with pytest.raises(DecodeError, match=r"numbered video\.mp4: .*(Input/output|Invalid)"):
        read(numbered_video, [3])


def test_the_time_limit_is_an_error_of_its_own(
    numbered_video: Path, decoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with pytest.raises(DecodeTimeoutError, match=r"numbered video\.mp4: not decoded within 20 s"):
        decode(str(numbered_video), every_frame, as_they_are, decoder=decoder, limit_s=20)


def test_real_corrupted_video_is_named(decoder: str) -> None:
    if not (REAL / "corrupted.mp4").exists():
        pytest.skip("needs the real videos")
    with pytest.raises(DecodeError, match=r"corrupted\.mp4"):
        decode(str(REAL / "corrupted.mp4"), every_frame, as_they_are, decoder=decoder)


# Folders of frames


def test_a_folder_of_frames_with_a_gap_is_refused(tmp_path: Path) -> None:
    path, _ = videos.folder_of_frames(tmp_path)
    (path / "img_00031.jpg").unlink()
    with pytest.raises(DecodeError, match="1 of 75 frames are missing, the first: 31"):
        read(path, [0])


def test_flow_beside_the_frames_is_left_alone(tmp_path: Path) -> None:
    path, _ = videos.folder_of_frames(tmp_path)
    shutil.copy(path / "img_00001.jpg", path / "flow_x_00001.jpg")
    assert numbers(read(path, [0, 74])) == [[0, 74]]


def test_frames_of_charades_are_counted_in_their_order(tmp_path: Path) -> None:
    videos.write_jpegs(tmp_path / "ABCDE", range(12), name="ABCDE-{:06d}.jpg")
    assert numbers(read(tmp_path / "ABCDE", [0, 9, 11])) == [[0, 9, 11]]


def test_two_series_of_frames_are_refused(tmp_path: Path) -> None:
    videos.write_jpegs(tmp_path / "two", range(2), name="a_{:03d}.jpg")
    videos.write_jpegs(tmp_path / "two", range(2), name="b_{:03d}.jpg")
    with pytest.raises(DecodeError, match="several series of frames"):
        read(tmp_path / "two", [0])


def test_a_frame_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path, _ = videos.folder_of_frames(tmp_path)
    content = (path / "img_00008.jpg").read_bytes()
    (path / "img_00008.jpg").write_bytes(content[: len(content) // 2])
    assert numbers(read(path, [6, 8])) == [[6, 8]]
    with pytest.raises(DecodeError, match=r"img_00008\.jpg: ."):
        read(path, [7])


# Choice of the decoder


def test_unknown_decoder_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"data\.decoder: got 'opencv', expected one of pyav, decord, torchcodec"):
        check_decoder("opencv")


@pytest.mark.parametrize(("name", "module"), [("decord", "decord"), ("torchcodec", "torchcodec.decoders")])
def test_a_decoder_that_cannot_be_imported_says_what_to_do(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ValueError, match=rf"data\.decoder={name}: .* use data\.decoder=pyav"):
        check_decoder(name)
