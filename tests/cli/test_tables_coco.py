"""Tables 5 and 6: what stands in them, what their rows are, that each trains, and reports over detectors."""

import csv
import dataclasses
import json
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.types import RunMode

pytest.importorskip("pycocotools")

from nonlocal_video.cli.tables import CONFIGS, EVERY_START, composed, read_table, row_config
from nonlocal_video.data.prepare.miniature_coco import make_coco_miniature
from nonlocal_video.engine.optim import build_optimizer
from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.runs.folder import write_run
from nonlocal_video.runs.recipe import make_recipe
from nonlocal_video.settings import DetectionConfig
from nonlocal_video.settings.detector import named_detector
from nonlocal_video.settings.identity import flat, row_key
from nonlocal_video.settings.network import DEPTHS
from tests.models.test_detector import images, targets
from tests.reports.made_runs import made_detector
from tests.runs.test_detection import TINY
from tests.small_runs import tool

BOXES_AND_MASKS = ("box_AP", "box_AP50", "box_AP75", "mask_AP", "mask_AP50", "mask_AP75")
PAPER = {
    "table5": {
        "r50": (38.0, 59.6, 41.0, 34.6, 56.4, 36.5), "nl_r50": (39.0, 61.1, 41.9, 35.5, 58.0, 37.4),
        "r101": (39.5, 61.4, 42.9, 36.0, 58.1, 38.3), "nl_r101": (40.8, 63.1, 44.5, 37.1, 59.9, 39.2),
        "x152": (44.1, 66.4, 48.4, 39.7, 63.2, 42.2), "nl_x152": (45.0, 67.8, 48.9, 40.3, 64.4, 42.8),
    },
    "table6": {
        "r101": (65.1, 86.8, 70.4), "head_4": (66.0, 87.1, 71.7), "head_4_backbone_1": (66.5, 87.3, 72.8),
    },
}  # fmt: skip
STEPS = {"table5": {"r50": 90_000, "r101": 90_000, "x152": 260_000}, "table6": {"r101": 130_000}}
ROWS = [(table, row) for table, rows in PAPER.items() for row in rows]
OVERRIDES = ("data.root=images", EVERY_START)


@cache
def config_of(table: str, row: str) -> DetectionConfig:
    """The settings of a row, composed once for all who ask."""
    found = read_table(f"coco/{table}")
    config = row_config(found, found.job(row), OVERRIDES)
    assert isinstance(config, DetectionConfig)
    return config


# What stands in the tables


@pytest.mark.parametrize("name", PAPER)
def test_table_has_every_row_and_number_of_the_paper(name: str) -> None:
    table = read_table(f"coco/{name}")
    assert {row.name: row.paper for row in table.rows.values()} == PAPER[name]
    assert table.metrics == (
        BOXES_AND_MASKS if name == "table5" else tuple(f"keypoint_{m}" for m in ("AP", "AP50", "AP75"))
    )
    bases = {row: "r101" if name == "table6" else row.removeprefix("nl_") for row in PAPER[name]}
    assert {row.name: row.baseline for row in table.rows.values()} == {
        row: None if row == base else base for row, base in bases.items()
    }


def test_rows_are_different_networks() -> None:
    assert len({row_key(config_of(*row)) for row in ROWS}) == len({config_of(*row).name for row in ROWS}) == len(ROWS)


def test_table_5_has_torchvisions_recipe_too() -> None:
    table = read_table("coco/table5_26e")
    assert {row.name: row.paper for row in table.rows.values()} == {
        row: paper for row, paper in PAPER["table5"].items() if "x152" not in row
    }
    config = row_config(table, table.job("nl_r50"), OVERRIDES)
    assert (config.optim.steps, config.optim.bias_lr, config.optim.warmup_steps) == (190_557, 1.0, 1000)
    assert row_key(config) != row_key(config_of("table5", "nl_r50"))


@pytest.mark.parametrize(
    "name", ["coco/table5", "coco/table5_26e", "coco/table6", "miniature/table5", "miniature/table6"]
)
def test_command_in_the_head_of_a_table_is_a_sweep_over_its_rows(name: str) -> None:
    command = re.search(
        r"# Run: python tools/train\.py (.*(?:\n#   .*)*)", (CONFIGS / f"experiment/{name}.yaml").read_text()
    )
    assert command is not None
    words = command[1].replace("FOLDER", "images").replace("FILE", "start.pth").replace("#", "").split()
    words = [word for word in words if "seed=" not in word]  # Composing alone does not sweep.
    cfg, hydra = composed("train", words)
    assert words[0] == f"experiment={name}"
    assert hydra.mode == RunMode.MULTIRUN
    table = read_table(name)
    assert hydra.sweeper.params.row.split(",") == list(table.rows)
    assert cfg.test == "coco"
    config = row_config(table, table.job(list(table.rows)[-1]), words)
    assert config.runtime.devices == (None if "miniature" in name else 8)


# What the rows are


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_row_is_the_detector_and_the_recipe_of_the_paper(table: str, row: str) -> None:
    """The parameters, multiply-adds and places of these detectors are in tests/models/test_detector.py."""
    config, depth = config_of(table, row), re.search(r"r50|r101|x152", row)
    kind = "mask_rcnn" if table == "table5" else "keypoint_rcnn"
    name = f"{kind}_{depth[0] if depth else 'r101'}{'_nl' if 'nl_' in row or 'backbone' in row else ''}"
    expected = named_detector(name, num_classes=80 if table == "table5" else 1)
    assert config.model == dataclasses.replace(expected, head_blocks=4 if "head" in row else 0)
    base = row.removeprefix("nl_") if table == "table5" else "r101"
    assert config.optim.steps == STEPS[table][base]
    alike = {"model": None, "name": None, "choices": {}}
    ours, theirs = (flat(asdict(config_of(table, one))) | alike for one in (row, base))
    assert {key for key in ours if ours[key] != theirs[key] and not key.startswith(("model", "choices"))} == set()
    recipe = make_recipe(config, processes=8)
    assert (recipe.global_batch, recipe.schedule.base_lr) == ((8, 0.01) if base == "x152" else (16, 0.02))
    assert config.init.weights == f"imagenet_{base}"


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_network_of_a_row_trains_two_steps(table: str, row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At an eighth of the width. In the second step every kernel has a gradient: in the first, W_z = 0 stops it."""
    config = config_of(table, row)
    monkeypatch.setitem(DEPTHS, config.model.depth, DEPTHS[config.model.depth]._replace(width=8))
    torch.manual_seed(0)
    small = {"pyramid_width": 16, "box_width": 32, "head_width": 16, "rois": 16, "proposals": 20}
    sizes = {"short_side": 64, "long_side": 96, "anchor_sizes": (8, 16, 32, 48, 64)}
    model = Detector(dataclasses.replace(config.model, **small, **sizes))
    model.training_sides = (64,)
    for name, buffer in model.named_buffers():
        if name.endswith("bn3.weight"):  # Random weights need small steps where nothing is normalised.
            buffer.fill_(0.2)
    model.train_mode()
    optimizer = build_optimizer(model.groups(), config.optim, lr=config.optim.lr)
    for _ in range(2):
        optimizer.zero_grad()
        losses = model(images(1), targets(1, config.task))
        sum(losses.values()).backward()
        optimizer.step()
        assert all(loss.isfinite() for loss in losses.values())
    blocks = [module for module in model.modules() if isinstance(module, NonLocalBlock)]
    assert len(blocks) == len(range(config.model.nonlocal_blocks)) + len(config.model.head_places())
    kernels = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.ndim > 1]
    assert all(kernel.grad is not None and kernel.grad.isfinite().all() for kernel in kernels)
    assert all(kernel.grad.abs().max() > 0 for block in blocks for kernel in block.parameters() if kernel.ndim > 1)


# Running


def test_dry_run_says_changes_folder_and_cost_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = [word for word in TINY if not word.startswith(("init", "data", "optim"))]
    where = [f"runtime.runs={tmp_path}", "runtime.devices=8", "schedule=quarter"]
    tool("train.py", "experiment=coco/table6", "row=head_4_backbone_1", "dry_run=true", *where, *tiny)
    said = capsys.readouterr().out
    in_order = [
        f"head_4_backbone_1: {tmp_path}/coco_keypoint_rcnn_r101_nl-",
        "against r101: model.head_blocks: 0 -> 4",
        "against r101: model.nonlocal_blocks: 0 -> 1",
        "in the paper: keypoint_AP 66.5, keypoint_AP50 87.3, keypoint_AP75 72.8",
        "batch 2 images x 1 passes x 8 processes = 16",
        "/10 at 25,000, 30,000 of 32,500 steps, after a warm-up of 125 steps",
        "no list of images was looked at",
        "init.weights is not given",
    ]
    places = [said.index(line) for line in in_order]
    assert places == sorted(places)
    cost = re.search(r"cost: ([\d,]+) parameters, \d+\.\d GFLOPs \(multiply-adds\) for an image of 64x96 with 30", said)
    assert cost is not None
    size = int(cost[1].replace(",", ""))
    assert f"{size / 1e6:.2f}M parameters" in said
    assert [path.name for path in tmp_path.iterdir()] == ["multirun.yaml"]


def test_table_trains_and_tests_its_rows_and_lists_what_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_coco_miniature(tmp_path / "data", num_train=6, num_val=2)
    small = [
        "optim.steps=1",
        "optim.milestones=[]",
        "optim.clips_per_device=1",
        "runtime.workers=0",
        "runtime.threads=1",
    ]
    where = [f"data.root={tmp_path}/data", f"runtime.runs={tmp_path}/runs", "runtime.validate_every=0"]
    tool("train.py", "experiment=miniature/table5", "row=mask_rcnn,nl_1", *small, *where)
    assert capfd.readouterr().out.count(" trained and tested ") == 2
    with pytest.raises(SystemExit):
        tool("train.py", "experiment=coco/table5", "row=x152", *small, *where)
    assert re.search(r"the rows of the table:\n  x152 +REFUSED", capfd.readouterr().out)
    tool("report.py", "miniature/table5", str(tmp_path / "runs"), "--out", str(tmp_path))
    with (tmp_path / "miniature_table5.csv").open() as file:
        rows = {(row["row"], row["marks"]): row for row in csv.DictReader(file)}
    mark = "another schedule: 1 of 300 steps"
    assert list(rows) == [("mask_rcnn", ""), ("mask_rcnn", mark), ("residual_1", ""), ("nl_1", ""), ("nl_1", mark)]
    ours = rows["nl_1", mark]
    report = json.loads(next((tmp_path / "runs").glob("*nonlocal*/test/coco/report.json")).read_text())
    assert (float(ours["mask_AP"]), ours["test_images"], ours["train_images"]) == (
        report["mask_AP"],
        "2 / 0",
        "6 / 0 / 0",
    )
    assert float(ours["box_AP_gain"]) == report["box_AP"] - float(rows["mask_rcnn", mark]["box_AP"])


# Reports


def made(folder: Path, row: str, numbers: tuple[float, ...], *overrides: str, **facts: Any) -> None:
    """A tested run of a row of Table 6 with the AP, AP50 and AP75 of keypoints, and 50.0 of the box."""
    table = read_table("coco/table6")
    config = row_config(table, table.job(row), [*OVERRIDES, *overrides])
    write_run(config, folder)
    measured = dict(zip(table.metrics, numbers, strict=True)) | {"box_AP": 50.0}
    made_detector(folder, measured, settings=flat(asdict(config)), categories=[numbers[0]], **facts)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of the baseline and of the whole network; of the head a quarter schedule and other images."""
    folder = tmp_path_factory.mktemp("runs")
    made(folder / "b0", "r101", (64.0, 86.0, 70.0))
    made(folder / "b1", "r101", (65.0, 87.0, 71.0), "seed=1")
    made(folder / "n0", "head_4_backbone_1", (66.0, 87.5, 71.0))
    made(folder / "n1", "head_4_backbone_1", (68.0, 87.5, 73.0), "seed=1")
    made(folder / "q0", "head_4", (60.0, 80.0, 65.0), "schedule=quarter")
    made(folder / "o0", "head_4", (61.0, 80.0, 65.0), listed_images="0a")
    return folder


def test_table_6_shows_ours_the_papers_and_the_gains(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool("report.py", "coco/table6", str(runs), "--out", str(tmp_path))
    lines = [re.sub(" +", " ", line) for line in capsys.readouterr().out.splitlines()]
    shown = [line.strip("|").split("|") for line in lines if line.startswith("| ")]
    cells = [[cell.strip() for cell in line] for line in shown]
    header, base, head, others, quarter, whole = cells[:6]
    assert header == [
        "row", "keypoint AP", "paper", "difference", "keypoint AP50", "paper", "difference", "keypoint AP75", "paper",
        "difference", "parameters (M)", "GFLOPs", "seeds",
    ]  # fmt: skip
    assert base[:7] == ["r101", "64.5 ± 0.7", "65.1", "-0.6", "86.5 ± 0.7", "86.8", "-0.3"]
    assert head[:4] == ["head_4", "not run", "66.0", ""]
    assert others[:2] == ["head_4: other test images: 5 listed, usually 5", "61.0"]
    assert quarter[:4] == ["head_4: quarter schedule: 32,500 of 130,000 steps", "60.0", "", ""]
    assert whole[:4] == ["head_4_backbone_1", "67.0 ± 1.4", "66.5", "+0.5"]
    millions, gmacs = (float(whole[k]) for k in (10, 11))
    assert millions == pytest.approx(82.28, abs=0.01), "as counted in tests/models/test_detector.py"
    assert gmacs == pytest.approx(682.3, rel=1e-3)
    gains = {line[0]: line[1:] for line in cells[7:11]}
    assert gains["head_4_backbone_1"] == ["r101", "+2.5 ± 0.7", "+1.4", "+1.0 ± 0.7", "+0.5", "+1.5 ± 0.7", "+2.4", "2"]
    assert gains["head_4: quarter schedule: 32,500 of 130,000 steps"][:3] == ["r101", "no baseline", ""]
    page = (tmp_path / "coco_table6.html").read_text()
    assert page.count("data:image/png;base64,") == 2, "nothing was logged: costs and categories"
    assert "images" in page
    assert "videos" not in page
    assert "keypoint AP50" in (tmp_path / "coco_table6.tex").read_text()


def test_a_sweep_over_detectors_is_a_table(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picked = (*(f"{runs}/{name}" for name in ("b0", "b1", "n0", "n1")), "--out", str(tmp_path))
    tool("report.py", "--rows", "model.name", "--baseline", "keypoint_rcnn_r101", *picked)
    said = re.sub(" +", " ", capsys.readouterr().out)
    assert "| model.name | keypoint AP | box AP | parameters (M) | GFLOPs | seeds |" in said
    assert "| keypoint_rcnn_r101_nl | 67.0 ± 1.4 | 50.0 ± 0.0 |" in said
    assert "| keypoint_rcnn_r101_nl | +2.5 ± 0.7 | +0.0 ± 0.0 |" in said
