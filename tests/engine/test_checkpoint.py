import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nonlocal_video.engine.checkpoint import (
    FORMAT,
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    restore,
    save_checkpoint,
)
from nonlocal_video.engine.optim import build_optimizer
from nonlocal_video.engine.step import TrainState
from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import parameter_groups
from nonlocal_video.models.weights.file import load_weights
from nonlocal_video.system.files import locked, whole_file
from tests.small_runs import optim_of

OLD = Path(__file__).parent / "checkpoints"
OPTIM = optim_of(momentum=0.9, nesterov=True, weight_decay=1e-4)


def new_state(num_classes: int = 2, **options: object) -> TrainState:
    model = build_model("c2d_small_8x2", num_classes=num_classes, crop=48, **options)
    optimizer = build_optimizer(model.groups(), OPTIM, lr=0.1)
    return TrainState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))


def tiny_state() -> TrainState:
    """The network of the files in `checkpoints/`."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(3, 2, 1), nn.BatchNorm3d(2))
    optimizer = build_optimizer(parameter_groups(model), OPTIM, lr=0.1)
    return TrainState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))


def save(folder: Path, state: TrainState, *, keep: int = 2) -> Path:
    return save_checkpoint(folder, state, facts={"a": [1, "b"]}, keep=keep)


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
    state.num_skipped, state.best, state.precise_bn = 3, {"step": 1, "clip_top1": 50.0}, {"x": torch.ones(2)}
    path = save(tmp_path, state)
    step(state)
    restored = new_state()
    restore(restored, read_checkpoint(path), where=path)
    assert (restored.num_skipped, restored.best) == (3, {"step": 1, "clip_top1": 50.0})
    assert restored.precise_bn is not None
    assert torch.equal(restored.precise_bn["x"], torch.ones(2))
    step(restored)
    assert restored.step == state.step == 2
    assert all(
        torch.equal(a, b)
        for a, b in zip(state.model.state_dict().values(), restored.model.state_dict().values(), strict=True)
    )


def test_checkpoints_of_earlier_days_load() -> None:
    """It was written when its format was new; the numbers were noted then."""
    path = OLD / f"format_{FORMAT}.pt"
    content = read_checkpoint(path)
    state = tiny_state()
    restore(state, content, where=path)
    assert (state.step, state.num_failures, state.num_transient) == (3, 2, 1)
    assert content["facts"]["global_batch"] == 4
    sums = {name: tensor.double().sum().item() for name, tensor in state.model.state_dict().items()}
    assert sums["0.weight"] == pytest.approx(-166473.5, rel=1e-6)
    assert sums["1.running_var"] == pytest.approx(1.5872728824615479)
    assert sums["1.num_batches_tracked"] == 3
    assert [group["lr_factor"] for group in state.optimizer.param_groups] == [1.0, 1.0]
    assert len(state.optimizer.state) == 4  # Momentum of each parameter.
    state.model(torch.ones(1, 3, 2, 4, 4)).sum().backward()
    state.optimizer.step()


def test_only_the_newest_and_the_best_checkpoints_are_kept(tmp_path: Path) -> None:
    state = tiny_state()
    for state.step in (5, 10, 20, 30, 100):
        if state.step == 10:
            state.best = {"step": 10, "clip_top1": 70.0}
        save(tmp_path, state)
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ["step_00000010.pt", "step_00000030.pt", "step_00000100.pt"]


def test_an_unfinished_file_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, tiny_state())
    (tmp_path / "step_00000007.pt.tmp").write_bytes(b"half")
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000000.pt"]


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = save(tmp_path, tiny_state())
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"step_00000000\.pt: cannot be read"):
        read_checkpoint(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match="not a checkpoint of this project"):
        read_checkpoint(path)
    with pytest.raises(ValueError, match=r"none\.pt: cannot be read"):
        read_checkpoint(tmp_path / "none.pt")


def test_every_flipped_bit_is_found_or_harmless(tmp_path: Path) -> None:
    """Of 600 random single bits: what still loads holds the same tensors and numbers."""
    path = save(tmp_path, tiny_state())
    whole, intact = path.read_bytes(), read_checkpoint(path)
    rng, found = np.random.default_rng(0), 0
    for place, bit in zip(rng.integers(len(whole), size=600), rng.integers(8, size=600), strict=True):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            content = read_checkpoint(path)
        except ValueError:
            found += 1
            continue
        for name, tensor in intact["model"].items():
            assert torch.equal(content["model"][name], tensor)
        assert (content["step"], content["facts"]) == (intact["step"], intact["facts"])
    with zipfile.ZipFile(path) as records:
        share = sum(info.compress_size for info in records.infolist()) / len(whole)
    assert found >= 0.8 * share * 600


def test_a_flipped_bit_of_a_weight_is_found(tmp_path: Path) -> None:
    path = save(tmp_path, new_state())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checksum of .* is wrong"):
        read_checkpoint(path)


def test_the_checkpoint_before_a_damaged_one_is_found_and_the_damage_told(tmp_path: Path) -> None:
    state = tiny_state()
    for state.step in (1, 2, 3):
        save(tmp_path, state, keep=3)
    (tmp_path / "step_00000003.pt").write_bytes(b"foreign")
    path, content, problems = newest_checkpoint(tmp_path)
    assert path == tmp_path / "step_00000002.pt"
    assert content["step"] == 2
    assert len(problems) == 1
    assert "step_00000003.pt" in problems[0]
    for name in ("step_00000001.pt", "step_00000002.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"no checkpoint of this run can be read(.|\n)*name=(.|\n)*step_00000001"):
        newest_checkpoint(tmp_path)
    assert newest_checkpoint(tmp_path / "empty") == (None, {}, [])


def test_a_full_disk_leaves_the_checkpoints_before(tmp_path: Path) -> None:
    """A limit on the size of files is a disk that is full to the process that hits it."""
    state = new_state()
    first = save(tmp_path, state)
    before = first.read_bytes()
    state.step = 1
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            save(tmp_path, state, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert first.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def fail() -> None:
        with whole_file(path) as file:
            file.write(b"after")
            file.flush()
            assert path.read_bytes() == b"before"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_lock_is_for_one_process_and_ends_with_it(tmp_path: Path) -> None:
    holds = (
        "import sys, time, pathlib; from nonlocal_video.system.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), wait_s=0, note=None):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", holds, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(ValueError, match=f"process {holder.pid} on .* is writing there.*name="),
        locked(tmp_path, wait_s=0, note=None),
    ):
        pass
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        holder.kill()

    with locked(tmp_path, wait_s=30, note=note):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()
    assert len(notes) == 1
    holder.wait()


def test_weights_of_another_network_or_class_count_are_rejected() -> None:
    weights = new_state().model.state_dict()
    with pytest.raises(ValueError, match="got weights for 2 classes, expected 3"):
        load_weights(new_state(3).model, weights, where=Path("file"))
    with pytest.raises(ValueError, match=r"weights of another network: .* missing \(backbone\.res3\.nonlocal1"):
        load_weights(new_state(nonlocal_blocks=["res3.1"]).model, weights, where=Path("file"))
    with pytest.raises(ValueError, match=r"of another shape \(backbone\.conv1\.weight"):
        load_weights(new_state(inflation="3x1x1").model, weights, where=Path("file"))
