"""tools/prepare_data.py on what comes with data sets: official lists, split files, and trees of splits."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nonlocal_video.cli.schema import settings_for
from nonlocal_video.data.lists.classes import read_classes
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.settings import CocoConfig, DataConfig, DetectionConfig, TrainConfig, settings_of
from tests import test_prepare_data
from tests.data import coco_files
from tests.test_prepare_data import error_of, prepare

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.fixture(autouse=True)
def own_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tool with a folder of configs beside it, where it writes those of a machine."""
    (tmp_path / "code/tools").mkdir(parents=True)
    tool = shutil.copy(test_prepare_data.TOOL, tmp_path / "code/tools")
    monkeypatch.setattr(test_prepare_data, "TOOL", Path(tool))
    return tmp_path / "code/configs"


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def labels_in(out: Path, *, root: Path, num_classes: int) -> dict[str, object]:
    """The labels of a list's videos, all of which must be there."""
    entries = read_list(str(out), root=str(root), num_classes=num_classes)
    assert all(os.path.isfile(entry.path) for entry in entries)
    return {os.path.basename(entry.path): entry.label for entry in entries}


@pytest.fixture
def ucf101(tmp_path: Path) -> Path:
    put(tmp_path / "UCF-101", *(f"{name}/{name}_g0{k}.avi" for name in ("ApplyEyeMakeup", "YoYo") for k in (1, 8)))
    folder = tmp_path / "ucfTrainTestlist"
    folder.mkdir()
    (folder / "classInd.txt").write_bytes(b"1 ApplyEyeMakeup\r\n2 YoYo\r\n")
    (folder / "trainlist01.txt").write_bytes(b"ApplyEyeMakeup/ApplyEyeMakeup_g08.avi 1\r\nYoYo/YoYo_g08.avi 2\r\n")
    (folder / "testlist01.txt").write_bytes(b"ApplyEyeMakeup/ApplyEyeMakeup_g01.avi\r\nYoYo/YoYo_g01.avi\r\n")
    return folder


def test_ucf101_becomes_lists_and_settings_that_a_run_takes(ucf101: Path, tmp_path: Path, own_configs: Path) -> None:
    root, out = tmp_path / "UCF-101", tmp_path / "lists/ucf101"
    lists = [ucf101 / "trainlist01.txt", ucf101 / "testlist01.txt", "--root", root]
    assert prepare(*lists, "--classes", ucf101 / "classInd.txt", "--out", out, "--name", "ucf101") == 0
    assert labels_in(out / "train.csv", root=root, num_classes=2) == {"ApplyEyeMakeup_g08.avi": 0, "YoYo_g08.avi": 1}
    assert labels_in(out / "val.csv", root=root, num_classes=2) == {"ApplyEyeMakeup_g01.avi": 0, "YoYo_g01.avi": 1}
    assert read_classes(str(out / "classes.txt")) == ["ApplyEyeMakeup", "YoYo"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        overrides = ["experiment=kinetics/nl_i3d_r50_32x2", "data=local/ucf101"]
        cfg = compose("train", overrides=[f"hydra.searchpath=[file://{own_configs}]", *overrides])
    data = settings_of(DataConfig, settings_for(TrainConfig, OmegaConf.to_container(cfg, resolve=True))["data"])
    assert data == DataConfig(
        name="ucf101", root=str(root), train=str(out / "train.csv"), val=str(out / "val.csv"),
        classes=str(out / "classes.txt"), num_classes=2,
    )  # fmt: skip


def test_labels_without_their_classes_are_not_guessed(
    ucf101: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--root", tmp_path / "UCF-101"]
    both = [ucf101 / "trainlist01.txt", ucf101 / "testlist01.txt", *root]
    assert "testlist01.txt: got videos without labels" in error_of(*both, "--out", tmp_path / "lists")
    assert "labels of different kinds" in error_of(*both, "--out", tmp_path / "both.csv")
    assert prepare(ucf101 / "trainlist01.txt", *root, "--out", tmp_path / "train.csv") == 0
    assert "if the labels go from 1, as UCF101's, give --classes" in capsys.readouterr().out
    classes = ["--classes", ucf101 / "classInd.txt"]
    assert prepare(*both, *classes, "--out", tmp_path / "both.csv") == 0
    assert sorted(labels_in(tmp_path / "both.csv", root=root[1], num_classes=2).values()) == [0, 0, 1, 1]


def test_labels_outside_the_classes_are_refused(ucf101: Path, tmp_path: Path) -> None:
    put(tmp_path / "UCF-101", "a.avi", "b.avi")
    options = ["--root", tmp_path / "UCF-101", "--classes", ucf101 / "classInd.txt", "--out", tmp_path / "out.csv"]
    for content, message in {
        "a.avi 0\nb.avi 2\n": "got label 2, expected 0 to 1",
        "a.avi 1\nb.avi 2\n": "the labels go from 1",
    }.items():
        (tmp_path / "own_train.txt").write_text(content)
        assert message in error_of(tmp_path / "own_train.txt", *options)
    assert not (tmp_path / "out.csv").exists()


def test_hmdb51_becomes_the_lists_of_the_split(tmp_path: Path) -> None:
    splits, root = tmp_path / "testTrainMulti_7030_splits", tmp_path / "videos"
    splits.mkdir()
    odd = "#1_&; (a)_wave_0.avi"
    for number, uses in {1: (1, 2, 0), 2: (2, 1, 1)}.items():
        (splits / f"brush_hair_test_split{number}.txt").write_text("a.avi 1 \nb.avi 2 \n")
        lines = [f"{video} {use} \n" for video, use in zip((odd, "c.avi", "d.avi"), uses, strict=True)]
        (splits / f"wave_test_split{number}.txt").write_text("".join(lines))
    put(root, "brush_hair/a.avi", "brush_hair/b.avi", f"wave/{odd}", "wave/c.avi", "d.avi")
    assert prepare(splits, "--root", root, "--out", tmp_path / "one", "--name", "hmdb51") == 0
    assert labels_in(tmp_path / "one/train.csv", root=root, num_classes=2) == {"a.avi": 0, odd: 1}
    assert labels_in(tmp_path / "one/val.csv", root=root, num_classes=2) == {"b.avi": 0, "c.avi": 1}
    assert prepare(splits, "--root", root, "--out", tmp_path / "two", "--split", "2") == 0
    assert labels_in(tmp_path / "two/train.csv", root=root, num_classes=2) == {"a.avi": 0, "c.avi": 1, "d.avi": 1}
    assert "name the folder that holds the videos" in error_of(splits, "--out", tmp_path / "three")
    assert "expected a folder such as" in error_of(splits, "--root", root, "--out", tmp_path / "three.csv")
    assert "got no files CLASS_test_split3.txt" in error_of(
        splits, "--root", root, "--out", tmp_path / "three", "--split", "3"
    )


def test_something_something_becomes_three_lists(tmp_path: Path) -> None:
    root, prefix = put(tmp_path / "videos", "1.webm", "2.webm", "3.webm", "4.webm"), "something-something-v2"
    contents = {
        "train": [{"id": "1", "template": "Holding [something]"}, {"id": "2", "template": "Closing [something]"}],
        "validation": [{"id": "3", "template": "Holding [something]"}],
        "test": [{"id": "4"}],
        "labels": {"Closing something": "0", "Holding something": "1"},
    }
    paths = {name: tmp_path / f"{prefix}-{name}.json" for name in contents}
    for name, content in contents.items():
        paths[name].write_text(json.dumps(content))
    lists = [paths["train"], paths["validation"], paths["test"]]
    out = ["--root", root, "--classes", paths["labels"], "--out", tmp_path / "lists"]
    assert prepare(*lists, *out, "--name", "ssv2") == 0
    assert labels_in(tmp_path / "lists/train.csv", root=root, num_classes=2) == {"1.webm": 1, "2.webm": 0}
    assert labels_in(tmp_path / "lists/val.csv", root=root, num_classes=2) == {"3.webm": 1}
    assert labels_in(tmp_path / "lists/test.csv", root=root, num_classes=2) == {"4.webm": None}


def test_tree_of_splits_has_the_same_classes_in_each(tmp_path: Path, own_configs: Path) -> None:
    root = put(
        tmp_path / "ROOT ${x} é", "train/cat/a.avi", "train/dog/b.avi", "validation/dog/c.avi", "annotations/x.txt"
    )
    assert prepare(root, "--out", tmp_path / "lists", "--name", "pets") == 0
    assert (tmp_path / "lists/train.csv").read_text() == "train/cat/a.avi 0\ntrain/dog/b.avi 1\n"
    assert (tmp_path / "lists/val.csv").read_text() == "validation/dog/c.avi 1\n"
    cfg = OmegaConf.load(own_configs / "data/local/pets.yaml")
    assert (cfg.root, cfg.num_classes) == (str(root), 2)
    put(root, "test/dog/d.avi")
    assert prepare(root, "--out", tmp_path / "three") == 0
    assert (tmp_path / "three/test.csv").read_text() == "test/dog/d.avi 1\n"
    put(root, "test/bird/e.avi")
    assert f"no class of the folders of {root / 'train'}: bird" in error_of(root, "--out", tmp_path / "four")
    put(root, "val/cat/f.avi")
    assert "got val and validation, expected one for each" in error_of(root, "--out", tmp_path / "four")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (["train.txt", "other.txt"], "other.txt: got the name of no one split"),
        (["train.txt", "train_val.txt"], "train_val.txt: got the name of no one split"),
        (["train.txt", "training2.txt"], "expected one for each of train, val and test"),
        (["train.txt", "train.txt"], "expected each list once"),
    ],
)
def test_lists_must_say_their_split(tmp_path: Path, lists: list[str], message: str) -> None:
    root = put(tmp_path / "videos", *(f"{name}.avi" for name in lists))
    for name in lists:
        (tmp_path / name).write_text(f"{name}.avi 0\n")
    assert message in error_of(*(tmp_path / name for name in lists), "--root", root, "--out", tmp_path / "lists")


def test_name_needs_both_lists_and_classes(ucf101: Path, tmp_path: Path, own_configs: Path) -> None:
    root = ["--root", tmp_path / "UCF-101"]
    classes = ["--classes", ucf101 / "classInd.txt"]
    one = [ucf101 / "trainlist01.txt", *root, "--out", tmp_path / "a.csv"]
    assert "got one list, expected one for training and one for evaluation" in error_of(*one, *classes, "--name", "x")
    both = [ucf101 / "trainlist01.txt", ucf101 / "testlist01.txt", *root, *classes, "--out", tmp_path / "lists"]
    assert "name: got '../x', expected" in error_of(*both, "--name", "../x")
    assert not (tmp_path / "lists").exists()
    assert prepare(*both, "--name", "x") == 0
    (own_configs / "data/local/x.yaml").write_text("mine")
    assert "is there and says something else" in error_of(*both, "--name", "x")


def coco_tree(root: Path) -> Path:
    """COCO's folders: instances and keypoints of train and val, images of the same names in both, and captions."""
    for which in ("train", "val"):
        plain = coco_files.content()
        coco_files.write(root / f"{which}2017", plain, name=f"../instances_{which}2017.json")
        points = coco_files.with_keypoints(plain)
        (root / f"person_keypoints_{which}2017.json").write_text(json.dumps(points))
    (root / "annotations").mkdir()
    for path in root.glob("*.json"):
        shutil.move(path, root / "annotations")
    (root / "annotations/captions_val2017.json").write_text(json.dumps({"images": [], "annotations": []}))
    return root


def test_folder_in_cocos_format_is_told_and_becomes_settings_that_a_run_takes(
    tmp_path: Path, own_configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = coco_tree(tmp_path / "my set")
    assert prepare(root, "--name", "mine") == 0
    said = capsys.readouterr().out
    assert (
        f"train: {root}/annotations/instances_train2017.json: 6 images, 10 objects of 2 categories, with masks" in said
    )
    assert said.count("not used: ") == 2
    assert "captions_val2017.json: has no list of categories" in said
    assert "then: python tools/train.py data=local/mine model=mask_rcnn_r50_nl init.weights=FILE" in said
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        overrides = ["experiment=coco/mask_rcnn_r50_nl", "data=local/mine", "init=random"]
        cfg = compose("train", overrides=[f"hydra.searchpath=[file://{own_configs}]", *overrides])
    data = settings_of(CocoConfig, settings_for(DetectionConfig, OmegaConf.to_container(cfg, resolve=True))["data"])
    places = {key: f"{root}/{which}2017" for which in ("train", "val") for key in (f"{which}_images",)}
    lists = {which: f"{root}/annotations/instances_{which}2017.json" for which in ("train", "val")}
    assert data == CocoConfig(name="mine", root=str(root), **lists, **places, num_classes=2)


def test_one_list_of_images_says_that_nothing_is_left_to_test_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco_files.write(tmp_path / "set/images", coco_files.with_keypoints(coco_files.content()), name="../labels.json")
    assert prepare(tmp_path / "set") == 0
    said = capsys.readouterr().out
    assert "one list only: no image is left to test on" in said
    assert f"data.train_images={tmp_path}/set/images" in said
    assert "data.val=FILE data.val_images=FOLDER" in said
    assert "model=keypoint_rcnn_r50_nl model.num_keypoints=3" in said
    assert "--name: got one list" in error_of(tmp_path / "set", "--name", "x")
    assert "--resize: is for videos" in error_of(tmp_path / "set", "--resize", tmp_path / "small")
    shutil.rmtree(tmp_path / "set/images")
    assert "none of its images (say 0.png) is below" in error_of(tmp_path / "set")
    (tmp_path / "set/labels.json").write_text("[1]")
    assert "got no folders, expected one for each class" in error_of(tmp_path / "set")
    assert f"not in COCO's format: {tmp_path}/set/labels.json: expected a JSON object" in capsys.readouterr().out
