"""Training on a GPU, started as a user starts it."""

from pathlib import Path

import pytest
import torch

from tests.multi_node import losses
from tests.runs.test_many_ranks import FROZEN
from tests.small_runs import differences, newest_step, started, succeed, train_command, wait_until

pytestmark = pytest.mark.gpu


def train(miniature: Path, runs: Path, name: str, *overrides: str) -> Path:
    succeed(train_command(miniature, runs, "optim.steps=8", f"name={name}", *overrides), runs / f"{name}.log")
    return runs / name


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 3e-2), ("fp16", 1e-2)])
def test_mixed_precision_trains_as_float32_does(
    precision: str, tolerance: float, miniature: Path, tmp_path: Path
) -> None:
    """Losses of 8 steps at a small rate, to the rounding of 8 and 11 bits; fp16 keeps its scale in the checkpoint."""
    plain = train(miniature, tmp_path, "plain", "optim.lr=0.001", "model.dropout=0")
    mixed = train(miniature, tmp_path, "mixed", "optim.lr=0.001", "model.dropout=0", f"runtime.precision={precision}")
    assert losses(mixed) == pytest.approx(losses(plain), rel=tolerance)
    scaler = torch.load(mixed / "checkpoints/step_00000008.pt", weights_only=True)["scaler"]
    assert ("scale" in scaler) == (precision == "fp16")


@pytest.mark.parametrize("option", ["compile=true", "recompute=true", "channels_last=false", "fused=false"])
def test_options_for_speed_and_memory_change_only_the_rounding(option: str, miniature: Path, tmp_path: Path) -> None:
    plain = train(miniature, tmp_path, "plain", "optim.lr=0.001", "model.dropout=0")
    other = train(miniature, tmp_path, "other", "optim.lr=0.001", "model.dropout=0", f"runtime.{option}")
    assert losses(other) == pytest.approx(losses(plain), rel=1e-3)


def test_a_stopped_run_goes_on_and_keeps_its_scale(miniature: Path, tmp_path: Path) -> None:
    """Kernels of a GPU may sum in another order each time, so only the names and shapes of what is left are equal."""
    steps = ("optim.steps=40", "runtime.precision=fp16")
    whole = train(miniature, tmp_path, "whole", *steps)
    command = train_command(miniature, tmp_path, *steps, "name=stopped")
    with started(command, tmp_path / "stopped.log") as process:
        wait_until(lambda: newest_step(tmp_path / "stopped") >= 3 or process.poll() is not None, limit_s=120)
        process.terminate()
        assert process.wait(timeout=60) > 0
    succeed(command, tmp_path / "stopped.log")
    assert newest_step(tmp_path / "stopped") == 40
    assert "files" not in differences(whole, tmp_path / "stopped")


@pytest.mark.gpu(2)
def test_two_gpus_train_as_one_does_on_all_clips(miniature: Path, tmp_path: Path) -> None:
    """Ranks that speak by NCCL average the gradients; without batch normalisation only the order of sums differs."""
    alone = train(miniature, tmp_path, "alone", *FROZEN, "optim.clips_per_device=4")
    shared = train(miniature, tmp_path, "shared", *FROZEN, "runtime.devices=2")
    assert losses(shared) == pytest.approx(losses(alone), rel=1e-3)


@pytest.mark.gpu(2)
def test_synchronised_batch_normalisation_sees_the_clips_of_both_gpus(miniature: Path, tmp_path: Path) -> None:
    settings = ("optim.lr=0.001", "model.dropout=0", "optim.steps=4")
    alone = train(miniature, tmp_path, "alone", *settings, "optim.clips_per_device=4")
    shared, apart = (
        train(miniature, tmp_path, name, *settings, "runtime.devices=2", f"optim.sync_bn={name == 'shared'}")
        for name in ("shared", "apart")
    )
    assert losses(shared) == pytest.approx(losses(alone), rel=1e-3)
    assert losses(apart) != pytest.approx(losses(alone), rel=1e-3)
