"""UCF101's own lists, in small, and lists that only look like them."""

from pathlib import Path

import pytest

from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.runs.videos import look_for_videos
from nonlocal_video.settings import DataConfig
from nonlocal_video.types import Entry

CLASSES = ["ApplyEyeMakeup", "Baby Crawling", "YoYo"]
VIDEOS = [f"{name}/v_{name}_g0{k}_c01.avi" for name in ("ApplyEyeMakeup", "BabyCrawling", "YoYo") for k in (1, 8)]
TRUE = [0, 0, 1, 1, 2, 2]


def entries_of(config: DataConfig, which: str) -> tuple[list[Entry], list[Entry]]:
    found = look_for_videos(config, which)
    return found.entries, found.missing


def listed(tmp_path: Path, lines: list[str], **options: object) -> list[Entry]:
    (tmp_path / "list.txt").write_text("".join(f"{line}\n" for line in lines))
    options = {"root": None, "num_classes": 3, "classes": CLASSES, **options}
    return read_list(str(tmp_path / "list.txt"), **options)  # type: ignore[arg-type]


def numbered(first: int) -> list[str]:
    return [f"{video} {label + first}" for video, label in zip(VIDEOS, TRUE, strict=True)]


@pytest.mark.parametrize("labels", ["any", "one"])
@pytest.mark.parametrize("lines", [numbered(0), numbered(1), VIDEOS], ids=["from 0", "from 1", "without labels"])
def test_folders_of_classes_prove_the_labels(tmp_path: Path, lines: list[str], labels: str) -> None:
    assert [entry.label for entry in listed(tmp_path, lines, labels=labels)] == TRUE
    assert [entry.label for entry in listed(tmp_path, lines[2:4], labels=labels)] == [1, 1]


def test_folders_prove_the_labels_of_several_and_of_frames(tmp_path: Path) -> None:
    assert [entry.label for entry in listed(tmp_path, VIDEOS, labels="several")] == [(label,) for label in TRUE]
    frames = [f"{video.removesuffix('.avi')} 120 {label + 1}" for video, label in zip(VIDEOS, TRUE, strict=True)]
    assert [(entry.num_frames, entry.label) for entry in listed(tmp_path, frames)] == [(120, label) for label in TRUE]


def test_one_video_elsewhere_leaves_a_list_without_labels(tmp_path: Path) -> None:
    for other in ("v_YoYo_g09_c01.avi", "test/v_YoYo_g09_c01.avi", "/data/YoYo.avi"):
        entries = listed(tmp_path, [*VIDEOS, other], labels="one", required=False)
        assert {entry.label for entry in entries} == {None}
        with pytest.raises(ValueError, match="without labels nothing can be trained"):
            listed(tmp_path, [*VIDEOS, other], labels="one")


@pytest.mark.parametrize(
    "lines",
    [
        ["v_YoYo_g01_c01.avi 3", "v_YoYo_g02_c01.avi 1"],
        [*numbered(1), "v_YoYo_g09_c01.avi 3"],
        [*numbered(1)[:-1], f"{VIDEOS[-1]} 1", "YoYo/v_YoYo_g10_c01.avi 3"],
        ["ApplyEyeMakeup/a.avi 2", "YoYo/b.avi 3", "BabyCrawling/c.avi 1"],
    ],
    ids=["flat", "one of them flat", "one of them wrong", "another order"],
)
def test_labels_from_1_that_nothing_proves_are_refused_with_what_to_do(tmp_path: Path, lines: list[str]) -> None:
    for options in ({}, {"classes": None}):
        with pytest.raises(
            ValueError, match=r"got label 3, expected 0 to 2; the labels go from 1: .* data\.classes=FILE"
        ):
            listed(tmp_path, lines, **options)


def test_labels_beyond_the_classes_are_not_taken_for_labels_from_1(tmp_path: Path) -> None:
    for lines in (["a.avi 0", "b.avi 3"], ["a.avi 1", "b.avi 4"]):
        with pytest.raises(ValueError, match=r"expected 0 to 2$"):
            listed(tmp_path, lines)


def test_root_with_the_name_of_a_class_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "YoYo").mkdir()
    entries = listed(tmp_path, ["a.avi", "b.avi"], root=str(tmp_path / "YoYo"))
    assert [entry.label for entry in entries] == [None, None]


def test_run_takes_the_official_lists_of_ucf101(tmp_path: Path) -> None:
    for video in VIDEOS:
        (tmp_path / video).parent.mkdir(exist_ok=True)
        (tmp_path / video).touch()
    (tmp_path / "classInd.txt").write_text("1 ApplyEyeMakeup\r\n2 BabyCrawling\r\n3 YoYo\r\n")
    (tmp_path / "trainlist01.txt").write_text("\r\n".join(numbered(1)))
    (tmp_path / "testlist01.txt").write_text("\r\n".join(VIDEOS))
    config = DataConfig(
        name="ucf101", root=str(tmp_path), train=str(tmp_path / "trainlist01.txt"),
        val=str(tmp_path / "testlist01.txt"), classes=str(tmp_path / "classInd.txt"), num_classes=3,
    )  # fmt: skip
    for which in ("train", "val"):
        entries, missing = entries_of(config, which)
        assert ([entry.label for entry in entries], missing) == (TRUE, [])
