from pathlib import Path

import pytest

from nonlocal_video.data.census.usable import check_usable, split_missing, take_census
from nonlocal_video.data.lists.manifest import hash_entries, read_list
from nonlocal_video.data.lists.pathlist import VIDEO_EXTENSIONS
from nonlocal_video.types import Entry


def listed(tmp_path: Path, content: str, **options: object) -> list[Entry]:
    """The entries of a list with this content."""
    (tmp_path / "list.txt").write_bytes(content.encode())
    return read_list(str(tmp_path / "list.txt"), **{"root": None, "num_classes": 10, **options})  # type: ignore[arg-type]


def videos_and_labels(entries: list[Entry]) -> list[tuple]:
    return [(entry.video, entry.label) for entry in entries]


def test_list_takes_spaces_commas_and_paths_with_both(tmp_path: Path) -> None:
    content = "a.mp4 0\nb.mp4,1\n\nmy dir/c, d.mp4 2\n/abs/e.mp4\t1\nf.mp4, 0  \n"
    entries = listed(tmp_path, content, root=str(tmp_path), num_classes=3)
    assert videos_and_labels(entries) == [
        ("a.mp4", 0), ("b.mp4", 1), ("my dir/c, d.mp4", 2), ("/abs/e.mp4", 1), ("f.mp4", 0),
    ]  # fmt: skip
    assert entries[0].path == f"{tmp_path}/a.mp4"
    assert entries[3].path == "/abs/e.mp4"
    assert listed(tmp_path, content)[0].path == "a.mp4"
    assert all(entry.num_frames is None for entry in entries)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("train/air drumming/-VtLx-mcPds_000012_000022.mp4,1", ("train/air drumming/-VtLx-mcPds_000012_000022.mp4", 1)),
        ("a 1 2.mp4 3", ("a 1 2.mp4", 3)),
        ("v1.5/x, 2.MKV, 3", ("v1.5/x, 2.MKV", 3)),
        ("skiing (not slalom)/a.mp4 4", ("skiing (not slalom)/a.mp4", 4)),
        ('"a, b.mp4",3', ("a, b.mp4", 3)),
        ('"the ""best"" one.mp4","3"', ('the "best" one.mp4', 3)),
        ('"frames/my dir 5" 3', ("frames/my dir 5", 3)),
        ("frames/video 12,3", ("frames/video 12", 3)),
        ("frames/video 12\t3", ("frames/video 12", 3)),
        ("old.mp4 copies/frames 3", ("old.mp4 copies/frames", 3)),
        ("a.mp4.mp4 3", ("a.mp4.mp4", 3)),
        ("a.y4m 3", ("a.y4m", 3)),
    ],
)
def test_label_is_what_stands_behind_the_path(tmp_path: Path, line: str, expected: tuple[str, int]) -> None:
    assert videos_and_labels(listed(tmp_path, line)) == [expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("train_0001.mp4,1.0", ("train_0001.mp4", 1)),
        ("a 1.5.mp4\t3.", ("a 1.5.mp4", 3)),
        ('"a, b.mp4","2.00"', ("a, b.mp4", 2)),
        ("frames/video 12,3.0", ("frames/video 12", 3)),
    ],
)
def test_labels_that_pandas_wrote_as_decimals_are_whole_numbers(
    tmp_path: Path, line: str, expected: tuple[str, int]
) -> None:
    assert videos_and_labels(listed(tmp_path, line)) == [expected]


@pytest.mark.parametrize("line", ["a.mp4,0.5", "a.mp4 1.01", '"a.mp4","0.5"', "a.mp4 1 0.5", "a.mp4 .5"])
def test_label_between_whole_numbers_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match=r"list\.txt:2: .*labels are whole numbers"):
        listed(tmp_path, f"b.mp4 0\n{line}\n")


@pytest.mark.parametrize("extension", VIDEO_EXTENSIONS)
def test_extension_of_a_video_ends_the_path(tmp_path: Path, extension: str) -> None:
    for name in (f"a 1.{extension}", f"b, 2.{extension.upper()}"):
        assert videos_and_labels(listed(tmp_path, f"{name} 3 4 5")) == [(name, (3, 4, 5))]


def test_byte_order_mark_and_windows_line_ends_are_no_part_of_the_list(tmp_path: Path) -> None:
    assert videos_and_labels(listed(tmp_path, "\ufeffa.mp4 1\r\nb.mp4 2\r\n")) == [("a.mp4", 1), ("b.mp4", 2)]


def test_folders_of_frames_tell_their_frames(tmp_path: Path) -> None:
    """Rawframe lists of mmaction2, and the released list of validation videos, with commas."""
    for content in ("some/dir-1 163 1\nsome/dir-2 2 3\n", "some/dir-1, 163, 1\nsome/dir-2, 2, 3\n"):
        assert listed(tmp_path, content) == [
            Entry("some/dir-1", "some/dir-1", 1, 163), Entry("some/dir-2", "some/dir-2", 3, 2),
        ]  # fmt: skip


def test_three_columns_of_files_are_frames_where_a_number_cannot_be_a_label(tmp_path: Path) -> None:
    entries = listed(tmp_path, "a.mp4 3 1\nb.mp4 300 2\n", num_classes=10)
    assert [(entry.num_frames, entry.label) for entry in entries] == [(3, 1), (300, 2)]


def test_several_labels_where_lines_have_different_counts(tmp_path: Path) -> None:
    assert videos_and_labels(listed(tmp_path, "a.mp4 1 5\nb.mp4 2\n")) == [("a.mp4", (1, 5)), ("b.mp4", (2,))]
    assert videos_and_labels(listed(tmp_path, "a.mp4 1 5\nb.mp4 2 3 4\n")) == [("a.mp4", (1, 5)), ("b.mp4", (2, 3, 4))]


@pytest.mark.parametrize(
    ("content", "choices"),
    [
        ("a.mp4 3 1\nb.mp4 4 2\n", ["path_frames_label", "path_labels"]),
        ("a.y4m 3 1\n", ["path_frames_label", "path_labels"]),
        ("frames/a 3\nframes/video 5 3\n", ["path_label", "path_frames_label", "path_labels"]),
        ("frames/a 12 163 3\n", ["path_label", "path_frames_label", "path_labels"]),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_the_choices(
    tmp_path: Path, content: str, choices: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"list\.txt:\d: .* can be read in more than one way") as error:
        listed(tmp_path, content)
    assert all(f"data.format={choice} " in str(error.value) for choice in choices)


def test_named_format_decides(tmp_path: Path) -> None:
    content = "a.mp4 3 1\nb.mp4 4 2\n"
    assert videos_and_labels(listed(tmp_path, content, form="path_labels")) == [("a.mp4", (3, 1)), ("b.mp4", (4, 2))]
    entries = listed(tmp_path, content, form="path_frames_label")
    assert [(entry.video, entry.num_frames, entry.label) for entry in entries] == [("a.mp4", 3, 1), ("b.mp4", 4, 2)]
    with pytest.raises(ValueError, match=r"list\.txt:1: got 'a\.mp4 3 1', expected a path and a label"):
        listed(tmp_path, content, form="path_label")
    assert videos_and_labels(listed(tmp_path, "video 5 3\n", form="path_label")) == [("video 5", 3)]
    (entry,) = listed(tmp_path, "some/dir 163 1 3 5\n", form="path_frames_label")
    assert (entry.num_frames, entry.label) == (163, (1, 3, 5))
    assert videos_and_labels(listed(tmp_path, "clip 1\nclip 2\n", form="path")) == [("clip 1", None), ("clip 2", None)]
    with pytest.raises(ValueError, match=r"data\.format: got 'csv', expected one of auto, path, "):
        listed(tmp_path, content, form="csv")


def test_paths_alone_have_no_label_and_can_be_refused(tmp_path: Path) -> None:
    content = "a, b.mp4\nmy video.mp4\nframes/c\n"
    assert videos_and_labels(listed(tmp_path, content)) == [
        ("a, b.mp4", None), ("my video.mp4", None), ("frames/c", None),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"list\.txt:1: got 'a, b\.mp4', expected a path and a label.*without labels"):
        listed(tmp_path, content, labels="one")
    assert len(listed(tmp_path, content, labels="one", required=False)) == 3
    with pytest.raises(ValueError, match=r"list\.txt:2: got 'b\.mp4', expected a path and a label"):
        listed(tmp_path, "a.mp4 1\nb.mp4\n", labels="one", required=False)


def test_several_labels_can_be_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"list\.txt:1: .* expected one label a video; for several set data.labels=clip"
    ):
        listed(tmp_path, "a.mp4 1 5\nb.mp4 2\n", labels="one")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the list is empty"),
        ("\n \n", "the list is empty"),
        ("a.mp4 0\nb.mp4\n", r"list\.txt:2: got 'b\.mp4', expected a path and a label"),
        ("a.mp4 three\nb.mp4 1\n", r"list\.txt:1: got 'a\.mp4 three', expected a path and a label"),
        ("a.mp4 three\n", r"list\.txt:1: got 'a\.mp4 three', expected a path and a label"),
        ("a.mp4 abseiling 3\n", r"list\.txt:1: got 'a\.mp4 abseiling 3', expected a path and a label"),
        ("video,label\na.mp4,0\n", r"list\.txt:1: got 'video,label', expected a path and a label"),
        ("a.mp4 0\nb.mp4 13\n", r"list\.txt:2: got label 13, expected 0 to 9"),
        ("a.mp4 -1\n", "got label -1"),
        ("a.mp4 2 1 10\n", "got label 10, expected 0 to 9"),
        ("label,youtube_id,time_start\n", "expected a path and a label"),
        ("a 3\n,4\n", r"list\.txt:2: got ',4'"),
        ("frames/a -3 4\n", "got -3 frames, expected 0 or more"),
        ("\0\0", "not a text file"),
    ],
)
def test_bad_lists_are_named_with_the_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        listed(tmp_path, content, root=str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a.mp4 0\nb.mp4 1\n\na.mp4 0\n", r"list\.txt:4: got a\.mp4 again, .* it is in line 1, too$"),
        ("a.mp4 0\n./a.mp4 1\n", r"list\.txt:2: got \./a\.mp4 again, .* in line 1, too, with the labels 0 and 1"),
        ("a.mp4\na.mp4\n", r"list\.txt:2: got a\.mp4 again"),
    ],
)
def test_video_listed_twice_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        listed(tmp_path, content)


def test_absent_list_and_root_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such list"):
        read_list(str(tmp_path / "none.txt"), root=None, num_classes=3)
    with pytest.raises(ValueError, match=r"data\.root: got .*nowhere"):
        listed(tmp_path, "a.mp4 0\n", root=str(tmp_path / "nowhere"))


def test_large_list_is_read_whole(tmp_path: Path) -> None:
    content = "".join(f"train/class {i % 7}/video, {i}.mp4 {i % 7}\n" for i in range(20_000))
    entries = listed(tmp_path, content, root="/tmp", num_classes=7)
    assert len(entries) == 20_000
    assert entries[12_345] == Entry("train/class 4/video, 12345.mp4", "/tmp/train/class 4/video, 12345.mp4", 4)


def test_repaired_files_take_the_place_of_the_listed_ones(tmp_path: Path) -> None:
    """By the YouTube id, and by the times where the name of the repaired file tells them."""
    repaired = tmp_path / "replacement/replacement_for_corrupted_k400"
    repaired.mkdir(parents=True)
    for name in ("AAAAAAAAAAA_000001_000011.mp4", "BBBBBBBBBBB.mp4", "CCCCCCCCCCC_000005_000015.mp4"):
        (repaired / name).touch()
    content = (
        "a/AAAAAAAAAAA_000001_000011.mp4 0\na/BBBBBBBBBBB_000003_000013.mp4 1\na/CCCCCCCCCCC_000001_000011.mp4 2\n"
        "a/CCCCCCCCCCC.mp4 2\nother.mp4 3\n"
    )
    entries = listed(tmp_path, content, root=str(tmp_path))
    assert [entry.path.removeprefix(f"{tmp_path}/") for entry in entries] == [
        "replacement/replacement_for_corrupted_k400/AAAAAAAAAAA_000001_000011.mp4",
        "replacement/replacement_for_corrupted_k400/BBBBBBBBBBB.mp4",
        "a/CCCCCCCCCCC_000001_000011.mp4",
        "replacement/replacement_for_corrupted_k400/CCCCCCCCCCC_000005_000015.mp4",
        "other.mp4",
    ]
    assert entries[0].video == "a/AAAAAAAAAAA_000001_000011.mp4"


def test_missing_videos_are_told_apart_and_limited(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "frames").mkdir()
    present, missing = split_missing(listed(tmp_path, "a.mp4 0\nb.mp4 1\nframes 1\n", root=str(tmp_path)))
    assert [entry.video for entry in present] == ["a.mp4", "frames"]
    assert [entry.video for entry in missing] == ["b.mp4"]
    for max_missing, usable, broken, message in (
        (0.49, present[:1], [], r"1 of 2 listed videos are missing \(.*b\.mp4"),
        (1.0, [], [], r"list\.txt: none of the 1 listed videos is there"),
        (
            0.6,
            present[:1],
            present[1:],
            r"list\.txt: 1 missing and 1 broken of 3 .*; data\.val_census names the broken",
        ),
        (1.0, [], present, "1 missing and 2 broken of 3 videos"),
    ):
        census = take_census(usable, missing, broken, checked="presence")
        with pytest.raises(ValueError, match=message):
            check_usable(census, missing, path="list.txt", which="data.val", max_missing=max_missing)
        if usable:
            check_usable(census, missing, path="list.txt", which="data.val", max_missing=0.67)


def test_hash_is_that_of_names_and_labels(tmp_path: Path) -> None:
    here, there = (listed(tmp_path, "a.mp4 0\nb.mp4 1\n", root=root) for root in (None, str(tmp_path)))
    assert hash_entries(here) == hash_entries(there)
    assert hash_entries(here) != hash_entries(here[:1])
    assert hash_entries(here) != hash_entries([entry._replace(label=0) for entry in here])
