"""ImagePredictor, and tools/predict.py with image= as a user runs it."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

pytest.importorskip("pycocotools")

from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.models.detection.weights import save_detector
from nonlocal_video.runs.predict_images import ImagePredictor
from nonlocal_video.settings import PredictConfig
from tests.data import coco_files
from tests.models.test_detector import tiny
from tests.runs.test_main_job import error_of
from tests.small_runs import tool

CATEGORIES = [(3, "square"), (17, "bär")]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with random weights, which finds squares in anything, with scores of about 0.35."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_detector(path, Detector(tiny(short_side=64)), origin="random", categories=CATEGORIES)
    return path


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images with annotations."""
    folder = tmp_path_factory.mktemp("coco")
    coco_files.write(folder / "images", coco_files.content(), name="../instances.json")
    return folder


def predict(*arguments: object) -> None:
    tool("predict.py", "runtime.workers=0", "runtime.threads=1", *map(str, arguments))


def noise(height: int = 48, width: int = 64) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return Image.fromarray(pixels.repeat(4, 0).repeat(4, 1))


def found_in(weights: Path, images: Any, **options: Any) -> dict[str, Any]:
    return dict(ImagePredictor(weights, **options)(images))


# Results


def test_min_score_leaves_out_the_worse_and_changes_no_other(weights: Path, coco: Path) -> None:
    everything = found_in(weights, coco / "images", min_score=0)
    scores = sorted(one["score"] for found in everything.values() for one in found.objects)
    middle = scores[len(scores) // 2]
    best = found_in(weights, coco / "images", min_score=middle)
    assert 0 < sum(len(found.objects) for found in best.values()) < len(scores)
    for name, found in everything.items():
        assert best[name].objects == [one for one in found.objects if one["score"] > middle]


def test_texts_lines_and_tables_say_the_same(
    weights: Path, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.jpg").write_bytes(b"no image")
    (tmp_path / "list.txt").write_text(f"{coco}/images/0.png\nb.jpg\ngone.png\n")
    given = [f"weights={weights}", f"image={tmp_path}/list.txt", f"data.root={tmp_path}", "min_score=0.1"]
    predict(*given, "format=jsonl", f"draw={tmp_path}/drawn")
    out, err = capsys.readouterr()
    first, broken, gone = map(json.loads, out.splitlines())
    assert err.splitlines()[-1] == "1 of 3 images predicted, 2 failed"
    assert first["drawn"] == [f"{tmp_path}/drawn/0.png"]
    assert broken == {"image": "b.jpg", "error": f"cannot identify image file '{tmp_path}/b.jpg'"}
    assert gone == {"image": "gone.png", "error": "No such file or directory"}
    objects = first["objects"]
    assert {one["category_id"]: one["class"] for one in objects}.items() <= dict(CATEGORIES).items()
    predict(*given, "format=csv")
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["error"] for row in rows] == [""] * len(objects) + [broken["error"], gone["error"]]
    for row, one in zip(rows, objects, strict=False):
        assert (row["class"], float(row["score"])) == (one["class"], round(one["score"], 6))
        assert [float(row[key]) for key in ("x", "y", "width", "height")] == pytest.approx(one["bbox"], abs=0.006)
    predict(*given)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(objects) + 5
    assert lines[1].startswith(f"{100 * objects[0]['score']:7.2f}%  {objects[0]['class']}  x ")
    predict(*given, "format=coco")
    out, err = capsys.readouterr()
    assert [one["file_name"] for one in json.loads(out)] == [f"{coco}/images/0.png"] * len(objects)
    assert f"b.jpg: {broken['error']}\n" in err, "the list has no place for it"


def test_nothing_found_is_an_empty_list_and_nothing_read_is_exit_code_1(
    weights: Path, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(f"weights={weights}", f"image={coco}/images/0.png", "min_score=1", "format=coco")
    assert capsys.readouterr().out == "[]\n"
    with pytest.raises(SystemExit) as exit_:
        predict(f"weights={weights}", f"image={tmp_path}/gone.jpg")
    assert exit_.value.code == 1
    assert "   error: No such file or directory\n" in capsys.readouterr().out


def test_results_come_before_the_next_image_is_read(weights: Path, coco: Path, tmp_path: Path) -> None:
    results = ImagePredictor(weights)([coco / "images/0.png", tmp_path / "late.png"])
    assert next(results)[1].error is None
    noise().save(tmp_path / "late.png")
    assert next(results)[1].error is None


def test_keypoints_have_scores_and_are_drawn_from_one_on(tmp_path: Path) -> None:
    detector, path = Detector(tiny("keypoint_rcnn", num_keypoints=3)), tmp_path / "k.safetensors"
    save_detector(path, detector, origin="random", categories=CATEGORIES, keypoints=["a", "b", "c"])
    noise().save(tmp_path / "a.png")
    ((_, found),) = ImagePredictor(path, min_score=0)(tmp_path / "a.png")
    assert found.objects
    assert all(len(one["keypoints"]) == 9 and len(one["keypoint_scores"]) == 3 for one in found.objects)
    boxes = [{key: one[key] for key in ("bbox", "score", "class")} for one in found.objects]
    assert torch.equal(found.drawn(min_keypoint=1e9), found._replace(objects=boxes).drawn())
    assert not torch.equal(found.drawn(min_keypoint=-1e9), found.drawn(min_keypoint=1e9))


# Images of all kinds


def test_images_are_seen_as_people_see_them(weights: Path, tmp_path: Path) -> None:
    turned, picture = Image.Exif(), noise()
    turned[0x0112] = 6  # Orientation: a quarter to the right.
    picture.save(tmp_path / "turned.jpg", exif=turned)
    for mode, name in (("L", "grey.jpg"), ("CMYK", "cmyk.jpg"), ("P", "palette.png"), ("1", "bits.png")):
        picture.convert(mode).save(tmp_path / name)
    picture.save(tmp_path / "Füße 猫.WEBP", lossless=True)
    for name, found in found_in(weights, tmp_path).items():
        with Image.open(name) as image:
            expected = np.array(ImageOps.exif_transpose(image).convert("RGB"))
        assert found.image is not None
        assert np.array_equal(found.image.permute(1, 2, 0), expected), name
    assert found_in(weights, tmp_path / "turned.jpg").popitem()[1].image.shape == (3, 64, 48)


def test_what_is_transparent_is_black_and_16_bits_are_not_cut_off(weights: Path, tmp_path: Path) -> None:
    pixels = np.full((48, 64, 4), 200, np.uint8)
    pixels[:, :32, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    Image.fromarray(np.full((48, 64), 40_000, np.uint16)).save(tmp_path / "deep.png")
    alpha, deep = (found.image for found in found_in(weights, tmp_path).values())
    assert alpha[:, 0, 0].tolist() == [0, 0, 0]
    assert deep.unique().tolist() == [40_000 >> 8]


def test_broken_images_are_results_with_their_errors(weights: Path, tmp_path: Path) -> None:
    noise().save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:500])
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    os.symlink(tmp_path / "gone", tmp_path / "leads_nowhere.png")
    noise(4, 4).resize((500, 4)).save(tmp_path / "thin.png")
    errors = {Path(name).name: str(found.error) for name, found in found_in(weights, tmp_path).items()}
    assert "truncated" in errors.pop("cut.jpg").lower()
    assert errors == {
        "empty.png": f"cannot identify image file '{tmp_path}/empty.png'",
        "leads_nowhere.png": "No such file or directory",
        "thin.png": "sides: got 500:4, expected up to 100:1",
        "whole.jpg": "None",
    }


def test_a_folder_gives_its_images_and_tells_of_other_files(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    (folder / "b" / ".hidden").mkdir(parents=True)
    for name in ("a (1).png", "b/a (1).jpg", ".a.png", "b/.hidden/x.png"):
        noise().save(folder / name)
    (folder / "notes.txt").touch()
    os.symlink(folder, folder / "b" / "round")
    predict(f"weights={weights}", f"image={folder}", f"draw={tmp_path}/drawn", "format=jsonl")
    out, err = capsys.readouterr()
    lines = list(map(json.loads, out.splitlines()))
    assert [line["image"] for line in lines] == [f"{folder}/a (1).png", f"{folder}/b/a (1).jpg"]
    assert [line["drawn"] for line in lines] == [[f"{tmp_path}/drawn/a (1){end}.png"] for end in ("", "_2")]
    assert f"{folder}: other files, ignored: 1 (1 .txt: {folder}/notes.txt)\n" in err


def test_lists_start_from_the_root_and_those_of_coco_number_their_images(
    weights: Path, coco: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("0.png\n\n1.png\n")
    images = [{"id": 50, "file_name": "2.png", "width": 64, "height": 48}]
    images.append({"id": 1, "file_name": "1.png", "width": 1, "height": 1})
    (tmp_path / "test.json").write_text(json.dumps({"images": images}))  # As COCO's lists of test images.
    predictor = ImagePredictor(weights, data=PredictConfig(weights="w", image="i").data)
    predictor.data.root = str(coco / "images")
    listed = predictor.find(str(tmp_path / "list.txt"))
    assert [(one.image_id, one.name, one.path) for one in listed] == [
        (1, "0.png", f"{coco}/images/0.png"), (2, "1.png", f"{coco}/images/1.png")
    ]  # fmt: skip
    numbered = predictor.find(tmp_path / "test.json")
    assert [one.image_id for one in numbered] == [50, 1]
    errors = [found.error for _, found in predictor.predict(numbered)]
    assert errors == [None, "is 40x56, expected 1x1 as listed"]
    with pytest.raises(ValueError, match="got the id 1 twice"):
        predictor.find([tmp_path / "list.txt", tmp_path / "test.json"])


# Refusals

BAD: dict[str, tuple[list[str], str]] = {
    "no image": ([], "these settings need a value: video=... or image=..."),
    "both": (["image=a.png", "video=a.mp4"], "video and image: got both, expected one of them"),
    "top": (["image=a.png", "top=3"], "there is no such setting for images: top"),
    "protocol": (["image=a.png", "protocol=1x1", "every_s=1"], "no such setting for images: every_s, protocol"),
    "decoder": (["image=a.png", "data.decoder=decord"], "no such setting for images: data.decoder"),
    "draw": (["video=a.mp4", "draw=x"], "there is no such setting for videos: draw"),
    "score": (["video=a.mp4", "min_score=0.1"], "there is no such setting for videos: min_score"),
    "coco": (["video=a.mp4", "format=coco"], "format: got coco, expected text, jsonl or csv for videos"),
    "share": (["image=a.png", "min_score=2"], "min_score: got 2"),
    "devices": (["image=a.png", "runtime.devices=2"], "runtime.devices: got 2, expected 1"),
    "video": (["video=a.mp4"], "a detector of images, expected a network of videos"),
    "folder": (["image=EMPTY"], "EMPTY: got no images, expected some (jpg, jpeg, png, webp, bmp)"),
    "root": (["image=a.png", "data.root=gone"], "data.root: got gone, expected an existing folder"),
    "list": (["image=EMPTY.txt"], "EMPTY.txt: the list is empty"),
    "own folder": (["image=IMAGES", "draw=IMAGES"], "expected a folder without these images"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_message(
    case: str, weights: Path, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "EMPTY.txt").touch()
    (tmp_path / "IMAGES").symlink_to(coco / "images")
    given, message = BAD[case]
    assert message in error_of(capsys, "predict.py", f"weights={weights}", *given)
