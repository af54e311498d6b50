import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nonlocal_video.engine.checkpoint import read_checkpoint
from nonlocal_video.engine.evaluate import Journal, evaluate, read_journals
from nonlocal_video.runs.train import run
from nonlocal_video.settings import ClipConfig, DataConfig, NetworkOptions, OptimConfig, RuntimeConfig, TrainConfig
from nonlocal_video.types import Failure
from tests.engine.ranks import on_ranks
from tests.tasks.boxes import BoxJob, BoxJudge, Detector, Found, image

STEPS = 12


def settings(folder: Path, *, accumulate: int = 1, images: int = 4) -> TrainConfig:
    return TrainConfig(
        name="boxes",
        model=NetworkOptions(name="detector", depth="small", num_classes=1, clip_length=8),
        data=DataConfig(name="boxes", train="list.txt", val="list.txt", num_classes=1),
        clip=ClipConfig(length=8, stride=1, jitter=[48, 48], crop=48),
        optim=OptimConfig(lr=0.02, reference_batch=4, clips_per_device=images, steps=STEPS),
        runtime=RuntimeConfig(
            runs=str(folder), threads=1, log_every=2, checkpoint_every=4, validate_every=6, accumulate=accumulate
        ),
        choices={"model": "detector", "data": "boxes"},
    )


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "boxes" / name).read_text().splitlines())
    clocks = ("images_per_s", "data_wait")
    return [{key: value for key, value in line.items() if key not in clocks} for line in lines]


def train(config: TrainConfig) -> None:
    run(BoxJob(config))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(settings(folder))
    return folder


def test_it_trains_validates_and_logs(trained: Path) -> None:
    metrics, validations = records(trained, "metrics.jsonl"), records(trained, "validation.jsonl")
    assert [record["step"] for record in metrics] == [2, 4, 6, 8, 10, 12]
    assert list(metrics[0]) == ["step", "loss", "place", "presence", "lr", "failed_images", "skipped_steps"]
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert metrics[0]["loss"] == pytest.approx(metrics[0]["place"] + metrics[0]["presence"])
    assert [record["images"] for record in validations] == [10, 10]
    best = read_checkpoint(trained / "boxes/checkpoints/step_00000012.pt")["best"]
    lowest = min(validations, key=lambda record: record["error"])
    assert best == {"step": lowest["step"], "error": lowest["error"]}  # Lower is better.
    lines = (trained / "boxes/train.log").read_text()
    assert "place 0." in lines
    assert "images/s" in lines
    assert (trained / "boxes/failed_images.jsonl").read_text() == ""


def test_it_is_killed_and_resumes_bit_for_bit(trained: Path, tmp_path: Path) -> None:
    words = "from tests.tasks.test_third_task import *; train(settings(Path(sys.argv[1])))"
    command = [sys.executable, "-c", words, str(tmp_path)]
    assert subprocess.run(command, env={**os.environ, "DIE_AT": "7"}, check=False).returncode == 9
    assert not (tmp_path / "boxes/model.safetensors").exists()
    train(settings(tmp_path))
    assert_same_weights(trained, tmp_path)
    for name in ("metrics.jsonl", "validation.jsonl"):
        assert records(tmp_path, name) == records(trained, name)


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = (load_file(folder / "boxes/model.safetensors") for folder in (one, other))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_two_ranks_are_one_with_two_passes(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    train(settings(tmp_path, accumulate=2, images=2))
    on_ranks(2, partial(train, settings(tmp_path / "two", images=2)))
    assert_same_weights(tmp_path, tmp_path / "two")
    for name in ("metrics.jsonl", "validation.jsonl"):
        for one, two in zip(records(tmp_path, name), records(tmp_path / "two", name), strict=True):
            assert one == pytest.approx(two, rel=1e-12)


def test_its_biases_have_a_rate_of_their_own(trained: Path) -> None:
    content = read_checkpoint(trained / "boxes/checkpoints/step_00000012.pt")
    groups = content["optimizer"]["param_groups"]
    assert [(group["lr_factor"], group["weight_decay"]) for group in groups] == [(1.0, 1e-4), (2.0, 0.0)]
    assert groups[1]["lr"] == 2 * groups[0]["lr"]


def test_it_is_tested_and_a_killed_test_goes_on(trained: Path, tmp_path: Path) -> None:
    network = Detector()
    network.load_state_dict(load_file(trained / "boxes/model.safetensors"))
    items = [(f"{number}.png", image(number)[0]) for number in range(5)]
    outcomes: list[Found | Failure] = []
    broken = Failure("b.png", "b.png: broken")
    evaluate(BoxJudge(network), [items[0], broken, *items[1:]], finished=outcomes.append, total=6, unit="image")
    assert [one.name for one in outcomes if isinstance(one, Found)] == [name for name, _ in items]
    assert outcomes[1] == broken
    journal = Journal(tmp_path, rank=0, test={"weights": "abc"})
    for outcome in outcomes:
        if isinstance(outcome, Found):
            journal.add(outcome)
    journal.close()
    again = read_journals(tmp_path, test={"weights": "abc"}, read=lambda plain: Found(**plain))
    assert again == [one for one in outcomes if isinstance(one, Found)]


def test_other_settings_are_another_run(trained: Path) -> None:
    config = settings(trained)
    with pytest.raises(ValueError, match=r"holds a run with other settings:\n  optim\.lr: was 0\.02, now 0\.5"):
        train(replace(config, optim=replace(config.optim, lr=0.5)))
