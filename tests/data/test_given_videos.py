"""Videos given as files, folders and lists."""

from pathlib import Path

import pytest

from nonlocal_video.data.lists.manifest import find_entries


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.MKV", "class x/c.webm", "notes.txt", ".hidden.mp4", "class x/cover_1.jpg"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0")
    return tmp_path / "videos"


def test_a_folder_is_its_videos_sorted(folder: Path) -> None:
    names = [entry.video for entry in find_entries(folder, root=None, note=str)]
    assert names == [f"{folder}/a.MKV", f"{folder}/b.mp4", f"{folder}/class x/c.webm"]


def test_a_folder_of_frames_is_one_video_and_folders_of_frames_are_several(tmp_path: Path) -> None:
    for video in ("one", "two"):
        (tmp_path / video).mkdir()
        for number in (1, 2):
            (tmp_path / video / f"img_{number:05d}.jpg").touch()
    assert [entry.path for entry in find_entries(tmp_path / "one", root=None)] == [str(tmp_path / "one")]
    found = find_entries(tmp_path, root=None)
    assert [entry.path for entry in found] == [str(tmp_path / "one"), str(tmp_path / "two")]


def test_an_empty_folder_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{tmp_path}: got no videos, expected some, or folders of numbered frames"):
        find_entries(tmp_path, root=None)


@pytest.mark.parametrize("line", ["{}", "{} 3", "{},3", "{} 3 17 20"])
def test_a_list_gives_its_videos_without_labels(folder: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text("".join(line.format(name) + "\n" for name in ("b.mp4", "gone.mp4")))
    found = find_entries(tmp_path / "list.txt", root=str(folder))
    assert [tuple(entry[:3]) for entry in found] == [
        ("b.mp4", f"{folder}/b.mp4", None),
        ("gone.mp4", f"{folder}/gone.mp4", None),
    ]


def test_several_are_taken_in_their_order(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("class x/c.webm 0\n")
    given = [f"{folder}/b.mp4", tmp_path / "list", "gone.mp4"]
    assert [entry.video for entry in find_entries(given, root=str(folder))] == [
        f"{folder}/b.mp4",
        "class x/c.webm",
        "gone.mp4",
    ]


def test_a_file_of_bytes_is_a_video_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "clip.ogv").write_bytes(b"OggS\0\2")
    assert [entry.video for entry in find_entries(tmp_path / "clip.ogv", root=None)] == [f"{tmp_path}/clip.ogv"]


def test_an_official_list_finds_its_videos_by_their_ids(folder: Path, tmp_path: Path) -> None:
    (folder / "abcdefghijk_000002_000012.mp4").write_bytes(b"\0")
    (tmp_path / "val.csv").write_text(
        "label,youtube_id,time_start,time_end,split\njuggling fire,abcdefghijk,2,12,validate\n"
    )
    (entry,) = find_entries(tmp_path / "val.csv", root=str(folder), classes=["walking", "juggling fire"])
    assert entry == ("abcdefghijk_000002_000012", f"{folder}/abcdefghijk_000002_000012.mp4", None, None)
