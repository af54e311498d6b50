from pathlib import Path

import pytest

from nonlocal_video.data.manifest import check_missing, hash_entries, read_classes, read_list, split_missing


def test_list_takes_spaces_commas_and_paths_with_both(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("a.mp4 0\nb.mp4,1\n\nmy dir/c, d.mp4 2\n/abs/e.mp4\t1\nf.mp4, 0  \n")
    entries = read_list(str(path), root=str(tmp_path), num_classes=3)
    assert [(entry.video, entry.label) for entry in entries] == [
        ("a.mp4", 0), ("b.mp4", 1), ("my dir/c, d.mp4", 2), ("/abs/e.mp4", 1), ("f.mp4", 0),
    ]  # fmt: skip
    assert entries[0].path == f"{tmp_path}/a.mp4"
    assert entries[3].path == "/abs/e.mp4"
    assert read_list(str(path), root=None, num_classes=3)[0].path == "a.mp4"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the list is empty"),
        ("\n \n", "the list is empty"),
        ("a.mp4 0\nb.mp4\n", r"list\.txt:2: got 'b\.mp4', expected a path and a label"),
        ("my video.mp4\n", r"list\.txt:1: got 'my video\.mp4'"),
        ("a.mp4 0\nb.mp4 3\n", r"list\.txt:2: got label 3, expected 0 to 2"),
        ("a.mp4 -1\n", "got label -1"),
        ("label,youtube_id,time_start\n", "expected a path and a label"),
    ],
)
def test_bad_lists_are_named_with_the_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_list(str(path), root=None, num_classes=3)


def test_absent_list_and_root_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such list"):
        read_list(str(tmp_path / "none.txt"), root=None, num_classes=3)
    (tmp_path / "list.txt").write_text("a.mp4 0\n")
    with pytest.raises(ValueError, match=r"data\.root: got .*nowhere"):
        read_list(str(tmp_path / "list.txt"), root=str(tmp_path / "nowhere"), num_classes=3)


def test_missing_videos_are_told_apart_and_limited(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("a.mp4 0\nb.mp4 1\n")
    present, missing = split_missing(read_list(str(tmp_path / "list.txt"), root=str(tmp_path), num_classes=2))
    assert [entry.video for entry in present] == ["a.mp4"]
    assert [entry.video for entry in missing] == ["b.mp4"]
    check_missing(missing, num_listed=2, max_missing=0.5)
    with pytest.raises(ValueError, match=r"1 of 2 listed videos are missing \(.*b\.mp4"):
        check_missing(missing, num_listed=2, max_missing=0.49)


def test_class_file_must_have_a_name_for_each_label(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("abseiling\nair drumming\n")
    assert read_classes(str(tmp_path / "classes.txt"), num_classes=2) == ["abseiling", "air drumming"]
    with pytest.raises(ValueError, match=r"has 2 names, expected data\.num_classes=3"):
        read_classes(str(tmp_path / "classes.txt"), num_classes=3)
    with pytest.raises(ValueError, match="no such file"):
        read_classes(str(tmp_path / "none.txt"), num_classes=2)


def test_hash_is_that_of_names_and_labels(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.mp4 0\nb.mp4 1\n")
    here, there = (read_list(str(tmp_path / "list.txt"), root=root, num_classes=2) for root in (None, str(tmp_path)))
    assert hash_entries(here) == hash_entries(there)
    assert hash_entries(here) != hash_entries(here[:1])
    assert hash_entries(here) != hash_entries([entry._replace(label=0) for entry in here])
