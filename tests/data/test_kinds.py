"""Videos found by their extensions or their content, and the files that are ignored named."""

import os
from pathlib import Path

import pytest

from nonlocal_video.data.lists import kinds
from nonlocal_video.data.lists.kinds import OTHER_EXTENSIONS, Ignored
from nonlocal_video.data.lists.listing import format_list, read_folder
from nonlocal_video.data.lists.manifest import find_entries, read_list
from nonlocal_video.data.lists.pathlist import VIDEO_EXTENSIONS
from nonlocal_video.data.lists.videofiles import stem_of, walk_videos
from nonlocal_video.types import Entry
from tests.data.test_probe import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of videos, of which names tell some, content others, and other files."""
    for name in ("walk/a.gif", "walk/b.MTS", "walk/c.m2ts", "run/d.ogv", "run/e.WMV", "run/deep/f.dv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0")
    write(tmp_path / "walk/g", "mp4")
    write(tmp_path / "run/clip 3.of my phone", "mpegts")
    for name in (
        "readme.txt",
        "walk/notes.txt",
        "walk/LICENSE",
        "run/h.jpg",
        "run/x.mp4.part",
        "run/.d.ogv",
        "run/z.bin",
    ):
        (tmp_path / name).write_bytes(b"\0some")
    return tmp_path


VIDEOS = [
    "run/clip 3.of my phone", "run/d.ogv", "run/deep/f.dv", "run/e.WMV", "walk/a.gif", "walk/b.MTS", "walk/c.m2ts",
    "walk/g",
]  # fmt: skip


def test_class_folders_give_every_video_and_name_what_is_ignored(folder: Path) -> None:
    found = read_folder(folder, classes=None)
    assert sorted(entry.video for entry in found.entries) == VIDEOS
    assert [entry.label for entry in found.entries] == [0] * 4 + [1] * 4
    said = str(found.ignored)
    assert said.startswith("6 (2 .txt, ")
    assert all(part in said for part in ("1 .jpg", "1 .part", "1 .bin", "1 without extension", str(folder), ", ..."))


def test_a_folder_to_predict_gives_the_same(folder: Path) -> None:
    notes = list[str]()
    entries = find_entries(folder, root=None, note=notes.append)
    assert [entry.video for entry in entries] == [f"{folder}/{name}" for name in VIDEOS]
    assert len(notes) == 1
    assert notes[0].startswith(f"{folder}: other files, ignored: 6 (2 .txt, ")
    with pytest.warns(UserWarning, match="other files, ignored: 6 "):
        find_entries(folder, root=None)


def test_a_folder_without_videos_names_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "class/a.xyz").write_bytes(b"\0")
    for look in (lambda: read_folder(tmp_path, classes=None), lambda: find_entries(tmp_path, root=None)):
        with pytest.raises(ValueError, match=r"got no videos .*1 \(1 \.xyz: .*class/a\.xyz\)"):
            look()


def test_only_files_of_unknown_extensions_are_looked_into(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree of 300,000 files on a network disk cannot be opened file by file."""
    looked = list[str]()
    monkeypatch.setattr(kinds, "is_video", looked.append)
    for extension in (*VIDEO_EXTENSIONS, *OTHER_EXTENSIONS):
        (folder / f"walk/{extension}.{extension.upper()}").touch()
    walk_videos(str(folder))
    found = read_folder(folder, classes=None)
    expected = ["run/clip 3.of my phone", "run/z.bin", "walk/LICENSE", "walk/g"]
    assert sorted(looked) == sorted(2 * [f"{folder}/{name}" for name in expected])
    assert len(found.entries) == 6 + len(VIDEO_EXTENSIONS)


def test_no_extension_is_of_two_kinds_and_none_is_a_number() -> None:
    assert not OTHER_EXTENSIONS & set(VIDEO_EXTENSIONS)
    assert not any(extension.isdecimal() for extension in VIDEO_EXTENSIONS)
    assert len(set(VIDEO_EXTENSIONS)) == len(VIDEO_EXTENSIONS)


def test_a_fifo_among_the_videos_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    os.mkfifo(tmp_path / "class/fifo")
    write(tmp_path / "class/video", "mp4")
    assert [entry.video for entry in read_folder(tmp_path, classes=None).entries] == ["class/video"]
    assert [entry.video for entry in find_entries(tmp_path, root=None, note=str)] == [f"{tmp_path}/class/video"]


def test_a_clip_of_kinetics_is_found_without_its_extension(tmp_path: Path) -> None:
    names = ["abcdefghij1_000001_000011", "abcdefghij2_000001_000011.foo", "abcdefghij3.ogv"]
    for name in names:
        write(tmp_path / name, "mp4") if not name.endswith("ogv") else (tmp_path / name).touch()
    rows = "".join(f"a,abcdefghij{number},1,11,val\n" for number in (1, 2, 3))
    (tmp_path / "val.csv").write_text(f"label,youtube_id,time_start,time_end,split\n{rows}")
    entries = read_list(str(tmp_path / "val.csv"), root=str(tmp_path), num_classes=None, classes=["a"])
    assert [entry.path for entry in entries] == [f"{tmp_path}/{name}" for name in names]


def test_stems_keep_points_that_begin_no_extension() -> None:
    assert [stem_of(name) for name in ("a/b.1.M2TS", "v1.5 clip", "abcdefghijk_000001_000011.x")] == [
        "b.1", "v1.5 clip", "abcdefghijk_000001_000011",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["clip 12", "a,3", "old.mp4 copy", "clip 3.of my phone", "a.mp4", " b.gif", "c.dv 4", "d"]
)
def test_a_name_without_an_extension_survives_the_list(tmp_path: Path, name: str) -> None:
    entries = [Entry(name, name, 3), Entry("other 5.mp4", "other 5.mp4", 4)]
    (tmp_path / "list.csv").write_text(format_list([entry.path for entry in entries], entries))
    assert read_list(str(tmp_path / "list.csv"), root=None, num_classes=10) == entries


def test_many_ignored_files_are_told_in_short() -> None:
    ignored = Ignored()
    for number in range(1000):
        ignored.add(f"a/{number}.{'txt' if number % 4 else 'JPG'}")
    assert str(ignored) == "1000 (750 .txt, 250 .jpg: a/0.JPG, a/1.txt, a/2.txt, ...)"
    assert not Ignored()
