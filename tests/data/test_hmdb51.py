"""HMDB51's split files, in small."""

from pathlib import Path

import pytest

from nonlocal_video.data.lists.hmdb51 import read_splits
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.types import Entry

ODD = [
    "April_09_brush_hair_u_nm_np1_ba_goo_0.avi",
    "#1_&_2_brush_hair_u_nm_np1_fr_med_0.avi",
    "Faith Rewarded;_brush_hair_(1)_h_cm_np1_ri_bad_1.avi",
    "#20 Rhythm; 1 [x] 'y' brush_hair.avi",
]
"""Characters that occur in names of the data set, and some more."""


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    folder = tmp_path / "testTrainMulti_7030_splits"
    folder.mkdir()
    uses = {1: (1, 2, 0, 1), 2: (2, 1, 1, 1), 3: (1, 1, 1, 2)}
    for number, numbers in uses.items():
        lines = "".join(f"{video} {use} \r\n" for video, use in zip(ODD, numbers, strict=True))
        (folder / f"brush_hair_test_split{number}.txt").write_bytes(lines.encode())
        (folder / f"wave_test_split{number}.txt").write_text("a_wave_0.avi 2 \nb_wave_0.avi 1 \n")
    return folder


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


@pytest.mark.parametrize("place", ["brush_hair/", "hmdb51_org/brush_hair/", ""])
def test_split_says_which_videos_are_for_training_and_which_for_testing(
    splits: Path, tmp_path: Path, place: str
) -> None:
    root = put(tmp_path / "videos", *(f"{place}{video}" for video in ODD))
    first, names = read_splits(splits, root=root, split=1, classes=None)
    assert names == ["brush_hair", "wave"]
    assert first["train"] == [
        Entry(f"brush_hair/{ODD[0]}", f"{root}/{place}{ODD[0]}", 0),
        Entry(f"brush_hair/{ODD[3]}", f"{root}/{place}{ODD[3]}", 0),
        Entry("wave/b_wave_0.avi", f"{root}/wave/b_wave_0.avi", 1),
    ]
    assert [(entry.video, entry.label) for entry in first["val"]] == [
        (f"brush_hair/{ODD[1]}", 0), ("wave/a_wave_0.avi", 1),
    ]  # fmt: skip
    third, _ = read_splits(splits, root=root, split=3, classes=["wave", "nothing", "brush hair"])
    assert [(entry.video, entry.label) for entry in third["val"]] == [
        (f"brush_hair/{ODD[3]}", 2), ("wave/a_wave_0.avi", 0),
    ]  # fmt: skip


def test_video_of_the_class_wins_over_another_of_its_name(splits: Path, tmp_path: Path) -> None:
    root = put(
        tmp_path / "videos", "brush_hair/b_wave_0.avi", "wave/b_wave_0.avi", "x/a_wave_0.avi", "wave/a_wave_0.avi"
    )
    found, _ = read_splits(splits, root=root, split=1, classes=None)
    assert found["train"][-1].path == f"{root}/wave/b_wave_0.avi"
    assert found["val"][-1].path == f"{root}/wave/a_wave_0.avi"


def test_split_file_is_no_list_of_labels(splits: Path) -> None:
    path = splits / "brush_hair_test_split1.txt"
    with pytest.raises(
        ValueError, match=rf"numbers say train or test, .* and not the class.*prepare_data\.py {splits} --root"
    ):
        read_list(str(path), root=None, num_classes=51)
    assert [entry.label for entry in read_list(str(path), root=None, num_classes=51, form="path_label")] == [1, 2, 0, 1]
    path.write_text("a.avi 1\nb.avi 3\n")
    assert [entry.label for entry in read_list(str(path), root=None, num_classes=51)] == [1, 3]


@pytest.mark.parametrize("line", ["a.avi", "a.avi 3", "../../b.avi 1", "/etc/b.avi 1", ".. 1", "a.avi 1 2"])
def test_bad_lines_are_named(splits: Path, tmp_path: Path, line: str) -> None:
    (splits / "wave_test_split1.txt").write_text(f"b_wave_0.avi 1\n{line}\n")
    with pytest.raises(ValueError, match=r"wave_test_split1\.txt:2: got .*, expected a video and 0, 1 or 2"):
        read_splits(splits, root=tmp_path, split=1, classes=None)


def test_absent_split_and_foreign_class_are_named(splits: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got the class 'wave', expected one of --classes"):
        read_splits(splits, root=tmp_path, split=1, classes=["brush_hair"])
    for path in splits.glob("*_split2.txt"):
        path.unlink()
    with pytest.raises(ValueError, match=r"got no files CLASS_test_split2\.txt"):
        read_splits(splits, root=tmp_path, split=2, classes=None)
