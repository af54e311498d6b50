from pathlib import Path

import pytest
import torch

from nonlocal_video.engine.checkpoint import (
    list_checkpoints,
    load_weights,
    read_checkpoint,
    restore,
    save_checkpoint,
)
from nonlocal_video.engine.log import RunLog, read_metrics
from nonlocal_video.engine.optim import build_sgd
from nonlocal_video.engine.state import TrainState
from nonlocal_video.models import build_model
from nonlocal_video.types import Failure


def new_state(num_classes: int = 2, **options: object) -> TrainState:
    model = build_model("c2d_small_8x2", num_classes=num_classes, crop=48, **options)
    optimizer = build_sgd(model, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    return TrainState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))


def step(state: TrainState) -> None:
    torch.manual_seed(state.step)
    state.optimizer.zero_grad()
    state.model(torch.randint(0, 256, (2, 3, 8, 48, 48), dtype=torch.uint8)).square().sum().backward()
    state.optimizer.step()
    state.step += 1


def test_a_restored_state_goes_on_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = new_state()
    step(state)
    path = save_checkpoint(tmp_path, state, facts={}, keep=2)
    step(state)
    restored = new_state()
    restore(restored, read_checkpoint(path), where=path)
    step(restored)
    assert restored.step == state.step == 2
    assert all(
        torch.equal(a, b)
        for a, b in zip(state.model.state_dict().values(), restored.model.state_dict().values(), strict=True)
    )


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    state = new_state()
    for state.step in (5, 10, 100):
        save_checkpoint(tmp_path, state, facts={}, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000010.pt", "step_00000100.pt"]


def test_an_unfinished_file_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, new_state(), facts={}, keep=2)
    (tmp_path / "step_00000007.tmp").write_bytes(b"half")
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000000.pt"]


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, new_state(), facts={}, keep=2)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"step_00000000\.pt: cannot be read"):
        read_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match="not a checkpoint of this project"):
        read_checkpoint(path)
    with pytest.raises(ValueError, match=r"none\.pt: cannot be read"):
        read_checkpoint(tmp_path / "none.pt")


def test_weights_of_another_network_or_class_count_are_rejected() -> None:
    weights = new_state().model.state_dict()
    with pytest.raises(ValueError, match="got weights for 2 classes, expected 3"):
        load_weights(new_state(3).model, weights, where=Path("file"))
    with pytest.raises(ValueError, match=r"weights of another network: .* missing \(backbone\.res3\.nonlocal1"):
        load_weights(new_state(nonlocal_blocks=["res3.1"]).model, weights, where=Path("file"))
    with pytest.raises(ValueError, match=r"of another shape \(backbone\.conv1\.weight"):
        load_weights(new_state(inflation="3x1x1").model, weights, where=Path("file"))


def test_a_resumed_log_holds_each_step_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path, step=0)
    for number in (10, 20, 30):
        log.write({"step": number, "loss": 1.0}, [Failure("a.mp4", "broken")])
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 35, "lo')  # Killed while writing.
    log = RunLog(tmp_path, step=20)
    log.write({"step": 30, "loss": 2.0})
    log.close()
    assert [(record["step"], record["loss"]) for record in read_metrics(tmp_path)] == [(10, 1.0), (20, 1.0), (30, 2.0)]
    assert (tmp_path / "failed_videos.jsonl").read_text().count("a.mp4") == 2
