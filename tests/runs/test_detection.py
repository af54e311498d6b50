"""Detectors by the tools: trained, killed, resumed, tested on several processes, and refused with one message."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("pycocotools")

from nonlocal_video.cli.compose import train_config
from nonlocal_video.cli.tables import composed as compose_words
from nonlocal_video.data.coco.dataset import Grouping, TrainingImages
from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.models.detection.weights import build_detector, read_detector_file
from nonlocal_video.models.placement import built_places
from nonlocal_video.runs.predict_images import ImagePredictor
from nonlocal_video.runs.recipe import CONFIGS, make_recipe
from nonlocal_video.settings import DetectionConfig
from nonlocal_video.tasks.detection.results import ImageJudge
from tests.data import coco_files
from tests.runs.test_main_job import error_of
from tests.small_runs import ROOT, differences, newest_step, tool

TINY = [
    "init=random", "data.num_classes=null", "model.depth=tiny", "model.levels=[res3,res4]", "model.pyramid_width=16",
    "model.anchor_sizes=[16,32,64]", "model.box_width=32", "model.head_width=16", "model.proposals=30",
    "model.rois=16", "model.detections=5", "model.norm=batch", "model.frozen_stages=0", "model.short_side=64",
    "model.long_side=96", "image.short_sides=[48,64]", "optim.steps=6", "optim.milestones=[4]",
    "optim.warmup_steps=2", "runtime=default", "runtime.workers=0", "runtime.threads=1", "runtime.log_every=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images with instances, and the same with keypoints."""
    folder = tmp_path_factory.mktemp("coco")
    coco_files.write(folder / "images", coco_files.content(), name="../instances.json")
    coco_files.write(folder / "images", coco_files.with_keypoints(coco_files.content()), name="../keypoints.json")
    return folder


def arguments(coco: Path, runs: Path, *overrides: str, annotations: str = "instances") -> list[str]:
    path, images = coco / f"{annotations}.json", coco / "images"
    data = [f"data.{part}={path}" for part in ("train", "val")] + [
        f"data.{part}_images={images}" for part in ("train", "val")
    ]
    return [f"data.root={coco}", *data, *TINY, f"runtime.runs={runs}", *overrides]


def train(coco: Path, runs: Path, *overrides: str) -> None:
    tool("train.py", "experiment=coco/mask_rcnn_r50_nl", *arguments(coco, runs, *overrides))


@pytest.fixture(scope="module")
def run(coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained detector, validated in the middle."""
    runs = tmp_path_factory.mktemp("runs")
    train(coco, runs, "name=run", "runtime.validate_every=3", "runtime.checkpoint_every=1")
    return runs / "run"


def test_a_run_writes_losses_by_name_and_validations(run: Path) -> None:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 7))
    for record in records:
        parts = [record[name] for name in ("objectness", "proposals", "classes", "boxes", "masks")]
        assert record["loss"] == pytest.approx(sum(parts), rel=1e-5)
        assert record["nonlocal/res4.0"] >= 0
    validations = [json.loads(line) for line in (run / "validation.jsonl").read_text().splitlines()]
    assert [(one["step"], one["images"], one["failed"]) for one in validations] == [(3, 6, 0), (6, 6, 0)]
    assert validations[0].keys() >= {"box_AP", "box_AP50", "mask_AP", "mask_AP75"}
    content = read_detector_file(run / "model.safetensors")
    model = build_detector(content, where=run)
    assert content.categories == [(3, "square"), (17, "bar")]
    assert model.options.nonlocal_blocks == 1


def test_a_resumed_run_is_the_same_bit_for_bit_over_groups_of_both_orientations(
    run: Path, coco: Path, tmp_path: Path
) -> None:
    for steps in (1, 4, 6):
        more = ["runtime.validate_every=3", "runtime.checkpoint_every=1", f"optim.steps={steps}"]
        train(coco, tmp_path, "name=run", *more)
    kept = [one for one in differences(run, tmp_path / "run") if one != "files" and not one.startswith("/best")]
    weights = [load_file(folder / "model.safetensors") for folder in (run, tmp_path / "run")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert kept == [], "the shorter runs were validated at their ends, too: the best checkpoint is another"


def killed_at(index: int, words: list[str]) -> None:
    """Trains until a sample is read, and dies there by SIGKILL, in a process of its own."""
    get = TrainingImages.get

    def get_or_die(images: TrainingImages, number: int, **more: Any) -> Any:
        if number == index:
            os.kill(os.getpid(), signal.SIGKILL)
        return get(images, number, **more)

    TrainingImages.get = get_or_die  # type: ignore[method-assign]
    tool("train.py", *words)


def test_a_run_that_is_killed_behind_a_change_of_orientation_ends_as_if_it_never_was(
    run: Path, coco: Path, tmp_path: Path
) -> None:
    """Step 4 of tall images is done again, step 5 is of wide ones, between which it dies."""
    sizes = [image["width"] >= image["height"] for image in coco_files.content()["images"]]
    grouping = Grouping(sizes[:-1], size=2, seed=0)
    assert [sizes[grouping.row(index)[0]] for index in range(6, 10)] == [False, False, True, True]
    more = ["name=run", "runtime.validate_every=3", "runtime.checkpoint_every=100"]
    words = ["experiment=coco/mask_rcnn_r50_nl", *arguments(coco, tmp_path, *more)]
    code = "import sys; from tests.runs.test_detection import killed_at; killed_at(9, sys.argv[1:])"
    dead = subprocess.run([sys.executable, "-c", code, *words], check=False, capture_output=True, cwd=ROOT)
    assert dead.returncode == -signal.SIGKILL, dead.stderr.decode()[-3000:]
    assert newest_step(tmp_path / "run") == 3
    assert not (tmp_path / "run/model.safetensors").exists()
    tool("train.py", *words)
    assert [one for one in differences(run, tmp_path / "run") if one != "files"] == [], "other steps are kept"


def test_predictions_are_the_results_of_a_test(run: Path, coco: Path, tmp_path: Path) -> None:
    tool("test.py", f"run={run}", f"weights={run}/model.safetensors", "name=whole", "runtime.workers=0")
    expected = json.loads((run / "test/whole/results.json").read_text())
    assert len(expected) > 10
    given = [f"image={coco}/instances.json", f"data.root={coco}/images", "min_score=0", "format=coco"]
    for number, weights in enumerate((run, run / "model.safetensors", run / "checkpoints/step_00000006.pt")):
        out = tmp_path / f"{number}.json"
        tool("predict.py", f"weights={weights}", *given, "runtime.workers=0", f"out={out}")
        results = json.loads(out.read_text())
        assert all(one.pop("class") == {3: "square", 17: "bar"}[one["category_id"]] for one in results)
        assert all(one.pop("file_name") == f"{one['image_id'] - 10}.png" for one in results)
        assert results == expected
    content = torch.load(run / "checkpoints/step_00000006.pt", weights_only=True)
    del content["facts"]["categories"]  # As of a network of videos.
    torch.save(content, tmp_path / "clips.pt")
    for weights, message in (
        (tmp_path / "clips.pt", "got a network of videos, expected a detector of images"),
        (tmp_path, r"model\.safetensors, which training writes at its end: it is not there yet"),
    ):
        with pytest.raises(ValueError, match=message):
            ImagePredictor(weights)


@pytest.mark.slow
def test_results_are_the_same_bytes_on_several_processes_and_by_workers(run: Path) -> None:
    written = []
    runs = {"one": [], "two": ["devices=2"], "three": ["devices=3"], "worker": ["workers=1"], "workers": ["workers=2"]}
    for name, more in runs.items():
        given = [f"runtime.{word}" for word in ("devices=1", "workers=0", "threads=1", *more)]
        tool("test.py", f"run={run}", f"name={name}", *given)
        written.append((run / f"test/{name}/results.json").read_bytes())
    assert len(set(written)) == 1
    results, report = json.loads(written[0]), json.loads((run / "test/one/report.json").read_text())
    assert report["images"] == {"listed": 6, "failed": 0, "tested": 6, "detections": len(results)}
    assert report["box_AP"] >= 0
    assert {one["name"] for one in report["classes"]} == {"square", "bar"}
    assert all({"image_id", "category_id", "bbox", "score", "segmentation"} == result.keys() for result in results)
    assert "| box" in (run / "test/one/report.md").read_text()


def test_images_that_are_broken_or_missing_are_named(run: Path, coco: Path, tmp_path: Path) -> None:
    plain = coco_files.content()
    path = coco_files.write(tmp_path / "images", plain)
    (tmp_path / "images/1.png").write_bytes(b"no image")
    (tmp_path / "images/2.png").unlink()
    changes = [f"data.val={path}", f"data.val_images={tmp_path}/images", "data.max_missing=0.5"]
    tool("test.py", f"run={run}", "name=broken", "runtime.workers=0", *changes)
    report = json.loads((run / "test/broken/report.json").read_text())
    assert report["images"] == {**report["images"], "listed": 6, "failed": 2, "tested": 4}
    assert [failure["video"] for failure in report["failures"]] == ["2.png", "1.png"]
    assert report["census"]["missing"] == 1


@pytest.fixture(scope="module")
def own(run: Path) -> Path:
    """The folder of its test."""
    tool("test.py", f"run={run}", "name=own", "runtime.workers=0")
    return run / "test/own"


def test_a_killed_test_goes_on_and_counts_every_image_once(
    run: Path, own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish, done = ImageJudge.finish, list[object]()

    def finish_or_end(judge: ImageJudge, pending: Any) -> Any:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(pending)
        return finish(judge, pending)

    words = [f"run={run}", "name=again", "runtime.workers=0"]
    with monkeypatch.context() as patched:
        patched.setattr(ImageJudge, "finish", finish_or_end)
        with pytest.raises(SystemExit):
            tool("test.py", *words)
    assert not (run / "test/again/results.json").exists()
    tool("test.py", *words)
    assert "goes on: 4 images were tested before" in capsys.readouterr().out
    assert (run / "test/again/results.json").read_bytes() == (own / "results.json").read_bytes()
    assert not list((run / "test/again").glob("unfinished*"))


def test_results_of_anybody_are_evaluated(
    run: Path, own: Path, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, runs = own / "results.json", f"runtime.runs={tmp_path}"
    tool("test.py", f"detections={results}", f"data.val={coco}/instances.json", runs)
    mine = json.loads((own / "report.json").read_text())
    other = json.loads((tmp_path / "results/test/instances/report.json").read_text())
    measured = [key for key in mine if key.startswith(("box_", "mask_"))]
    assert {key: other[key] for key in measured} == {key: mine[key] for key in measured}
    assert len(mine["worst"]) == 5, "no image with objects is found whole by a network of six steps"
    assert other["worst"] == [], "there are no images beside the list"
    page = (own / "report.md").read_text()
    assert all((own / one["file"]).is_file() and one["file"] in page for one in mine["worst"])
    (tmp_path / "none.json").write_text("[]")
    tool("test.py", f"detections={tmp_path}/none.json", f"data.val={coco}/instances.json", runs)
    assert json.loads((tmp_path / "none/test/instances/report.json").read_text())["box_AP"] == 0
    for content, message in (
        ('{"a": 1}', "expected a list of results"),
        ('[{"image_id": 1}]', "image_id: got 1, expected"),
        (
            '[{"image_id": 10, "segmentation": {"size": [48, 64], "counts": [0, 10]}}]',
            "result 0: segmentation: got {'size'",
        ),
    ):
        (tmp_path / "wrong.json").write_text(content)
        given = [f"detections={tmp_path}/wrong.json", f"data.val={coco}/instances.json", runs]
        assert message in error_of(capsys, "test.py", *given)
    assert "data.val: got None" in error_of(capsys, "test.py", f"detections={results}", runs)


def test_keypoints_are_trained_and_tested(coco: Path, tmp_path: Path) -> None:
    given = arguments(coco, tmp_path, "name=run", "optim.steps=2", "optim.milestones=[]", annotations="keypoints")
    words = ["experiment=coco/mask_rcnn_r50_nl", "model=keypoint_rcnn_r50_nl", "model.num_keypoints=3"]
    tool("train.py", *words, "model.head_blocks=4", *given)
    tool("test.py", f"run={tmp_path}/run", "runtime.workers=0")
    report = json.loads((tmp_path / "run/test/coco/report.json").read_text())
    assert report["measured"] == ["box", "keypoint"]
    assert report["keypoint_AP"] >= 0


EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment/coco").glob("*.yaml") if "table" not in path.stem)
STARTS = "machine.starts={imagenet_r50: r50.pth, imagenet_r101: r101.pth, imagenet_x152: x152.pth}"
BLOCKS = {"nl": 1, "head": 4}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_composes_and_builds_the_detector_of_its_name(name: str) -> None:
    config = train_config(*compose_words("train", [f"experiment=coco/{name}", "data.root=images", STARTS]))
    assert isinstance(config, DetectionConfig)
    with torch.device("meta"):
        detector = Detector(config.model)
    if "miniature" in name or name in ("mask_rcnn_r50_half", "overfit"):  # Those are no networks of the paper.
        return
    kind, depth, added = re.fullmatch(r"([a-z]+_rcnn)_([a-z]\d+)(?:_(nl|head))?", name).groups()  # type: ignore[union-attr]
    assert (config.task, config.model.depth) == (kind, depth)
    head = 4 if kind == "keypoint_rcnn" and added else 0
    assert [place.stage for place in built_places(detector)] == ["res4"] * (added == "nl") + ["keypoint_head"] * head
    assert (config.model.norm, config.model.frozen_stages, config.model.nonlocal_norm) == ("affine", 2, "none")
    optim = config.optim
    assert (optim.bias_lr, optim.momentum, optim.nesterov, optim.weight_decay) == (2.0, 0.9, False, 1e-4)
    schedule = make_recipe(config, processes=8).schedule
    assert schedule(0) == pytest.approx(schedule.base_lr / 3, rel=0.01)
    assert schedule.base_lr == (0.01 if depth == "x152" else 0.02)
    text = (CONFIGS / f"experiment/coco/{name}.yaml").read_text()
    command = re.search(r"^# Run: python tools/train.py (.*)$", text, re.MULTILINE)
    assert command, "its head says how to run it"
    assert f"experiment=coco/{name}" in command[1]


BAD: dict[str, tuple[list[str], str]] = {
    "no root": (["data.root=null", "data.train=nowhere.json"], "data.train: got nowhere.json, expected a JSON file"),
    "no images": (["data.train_images=nowhere"], "data.train_images: got nowhere, expected the folder"),
    "classes": (["data.num_classes=80"], "data.num_classes: got 80, expected 2, those of"),
    "a setting of clips": (["clip.length=8"], "clip.length: got 8, but a DetectionConfig has no such setting"),
    "a decoder": (["data.decoder=decord"], "data.decoder: got decord, but a DetectionConfig has no such setting"),
    "compiled": (["runtime.compile=true"], "runtime.compile: got True, expected false"),
    "an option of clips": (["model.stem=dense"], "model.stem: got dense, but a DetectionConfig has no such setting"),
    "rates": (["optim.kind=rmsprop"], "optim.kind: got rmsprop, expected sgd or adamw"),
    "keypoints": (["model.kind=keypoint_rcnn"], "its categories have no keypoints"),
    "blocks": (["model.nonlocal_blocks=7"], "nonlocal_blocks: got 7, expected 0 or 1"),
    "start": (["init.weights=nowhere.pth"], "nowhere.pth: no such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_message(
    case: str, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, message = BAD[case]
    given = ["experiment=coco/mask_rcnn_r50_nl", *arguments(coco, tmp_path, "name=bad")]
    names = {word.partition("=")[0] for word in overrides}
    said = error_of(capsys, "train.py", *(word for word in given if word.partition("=")[0] not in names), *overrides)
    assert message in said
    assert not list(tmp_path.glob("bad/checkpoints/*"))


def test_settings_of_detectors_are_refused_for_clips(
    miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = [f"data.root={miniature}", f"runtime.runs={tmp_path}"]
    assert "optim.bias_lr: got 2" in error_of(capsys, "train.py", *given, "optim.bias_lr=2.0")
    said = error_of(capsys, "train.py", *given, "image.short_sides=[8]")
    assert "image.short_sides: got [8], but a TrainConfig has no such setting" in said
