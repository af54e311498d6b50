"""tools/check_data.py on images with objects, run as a user runs it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("pycocotools")

from nonlocal_video.data.coco.annotations import read_annotations
from nonlocal_video.data.coco.dataset import read_sample
from nonlocal_video.types import Failure
from tests.data import coco_files
from tests.small_runs import tool


def spoil(images: Path, plain: dict[str, Any]) -> None:
    """One fault each of the images 0 to 9 of 12, and of further objects of image 10."""
    (images / "0.png").write_bytes((images / "0.png").read_bytes()[:60])
    (images / "1.png").unlink()
    Image.open(images / "2.png").resize((20, 20)).save(images / "2.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    for k in (3, 4):
        image = Image.open(images / f"{k}.png")
        stored = image.transpose(Image.Transpose.ROTATE_90) if k == 3 else image
        stored.save(images / f"{k}.png", exif=exif)
    Image.open(images / "5.png").convert("L").save(images / "5.png")
    Image.open(images / "6.png").convert("CMYK").save(images / "6.png", format="JPEG")
    shutil.copy(images / "9.png", images / "7.png")
    (images / "8.png").unlink()
    (images / "8.png").mkdir()
    whole = {"size": [48, 64], "counts": [0, 48 * 64]}
    for number, more in (
        (1, {}), (90, {"iscrowd": 1, "segmentation": whole}), (91, {"bbox": [3, 3, 0, 9]}),
        (92, {"segmentation": {**whole, "counts": [0, 10]}}), (93, {"segmentation": []}),
    ):  # fmt: skip
        plain["annotations"].append(coco_files.annotation(number, 20, [0, 0, 9, 9]) | more)


def test_every_fault_of_images_and_objects_is_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = coco_files.content(12)
    train, val = tmp_path / "train", tmp_path / "val"
    for folder in (train, val):
        coco_files.write(folder, plain)
    spoil(train, plain)
    for k, path in enumerate(sorted(val.glob("*.png"))):
        Image.new("RGB", (64, 48) if int(path.stem) % 2 == 0 else (40, 56), (9 * k, 0, 200)).save(path)
    shutil.copy(train / "10.png", val / "0.png")
    (train / "annotations.json").write_text(json.dumps(plain))
    words = [f"data.{which}{end}" for which in ("train", "val") for end in (f"={tmp_path / which}/annotations.json",
             f"_images={tmp_path / which}")]  # fmt: skip
    tool("check_data.py", "data=coco", *words, "--out", str(tmp_path / "out"), "--jobs", "1")
    found = {path.stem: path.read_text().splitlines() for path in (tmp_path / "out/train").glob("*.txt")}
    assert {kind: [line.split("\t")[0] for line in lines] for kind, lines in found.items()} == {
        "missing": ["1.png", "8.png"], "broken": ["0.png"], "other_size": ["2.png"], "turned": ["3.png", "4.png"],
        "grey": ["5.png"], "cmyk": ["6.png"], "duplicates": ["9.png"], "leaks": ["10.png"], "empty": ["11.png"],
        "crowds": ["10.png"], "no_area": ["10.png"], "other_mask": ["10.png"], "no_mask": ["10.png"],
        "same_ids": ["10.png"],
    }  # fmt: skip
    assert found["other_size"] == ["2.png\tis 20x20, listed as 64x48"]
    assert [path.name for path in (tmp_path / "out/val").glob("*.txt")] == ["empty.txt", "leaks.txt"]
    census = json.loads((tmp_path / "out/train/census.json").read_text())
    assert census["states"] == {"broken": 1, "missing": 2, "ok": 8, "other size": 1}
    said = capsys.readouterr().out
    assert f"census {census['census']['hash']}: 12 images listed, 2 missing, 1 without objects not used" in said
    page = (tmp_path / "out/train/report.md").read_text()
    assert "Every image was decoded." in page
    assert "10.png  |  annotations[22]  |  square  |  box [0, 0, 9, 9]" in page
    for picture in read_annotations(str(train / "annotations.json"), root=None, kind="mask_rcnn").pictures:
        fails = isinstance(read_sample(picture, num_keypoints=0), Failure)
        assert fails == (picture.name in ("0.png", "1.png", "2.png", "8.png")), "what a run cannot use either"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=coco"], "data.root: got no value"),
        (["data=coco", "data.root=/nowhere"], "data.train: got /nowhere/annotations/instances_train2017.json"),
        (["data=kinetics400", "data.root=/nowhere"], "data: got kinetics400"),
        (["data=nothing"], "there is no data=nothing"),
    ],
)
def test_words_that_name_no_images_are_refused(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as exit_:
        tool("check_data.py", *words, "--out", str(tmp_path / "out"))
    assert message in str(exit_.value.code)


def test_options_for_videos_are_refused_for_images(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tool("check_data.py", "data=coco", "--window", "32", "--root", "x")
    assert "--root, --window: is for lists of videos" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tool("check_data.py", "list.csv")
    assert "expected one LIST, and --out FOLDER; or settings such as data=coco" in capsys.readouterr().err
