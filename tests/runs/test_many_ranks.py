"""Runs on several processes and machines; runs that are killed, stopped, or started twice."""

import os
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch.nn import functional as F

from nonlocal_video.models.zoo import build_network
from nonlocal_video.settings.network import named_options
from nonlocal_video.system.distributed import is_main, rank, world_size, wrap
from nonlocal_video.system.files import locked
from nonlocal_video.system.launch import launch
from tests import multi_node
from tests.small_runs import (
    differences,
    files,
    finish,
    newest_step,
    ranks,
    session,
    started,
    succeed,
    tool,
    train_command,
    wait_until,
)
from tests.soak import kills

FROZEN = ["model.norm=affine", "model.nonlocal_norm=none", "model.dropout=0", "optim.lr=0.01", "optim.steps=4"]
"""Nothing in a step depends on which rank a clip is on: no batch normalisation, no dropout."""
LONG = ["optim.steps=30", "model.dropout=0.5"]
DIES_S = 30.0
"""A job that lost a process has so long to end."""


def write_gradients(path: str) -> None:
    """On every rank: a pass over its share of 8 clips, in float64; the main one keeps the gradients."""
    torch.manual_seed(0)
    options = replace(named_options("nl_i3d_small_8x2", num_classes=3), crop=32, norm="affine", nonlocal_norm="none")
    network = build_network(replace(options, dropout=0.0)).double()
    for name, parameter in network.named_parameters():
        if "w_z" in name:
            torch.nn.init.normal_(parameter, std=0.1)  # Else theta, phi and g have no gradient.
    clips = torch.randint(256, (8, 3, 8, 32, 32), dtype=torch.uint8)
    share = slice(rank() * 8 // world_size(), (rank() + 1) * 8 // world_size())
    wrapped = wrap(network, sync_bn=False)  # It averages the gradients as long as it lives.
    F.cross_entropy(wrapped(clips[share]), (torch.arange(8) % 3)[share]).backward()
    if is_main():
        torch.save({name: p.grad for name, p in network.named_parameters()}, path)


@pytest.mark.slow
def test_gradients_of_4_ranks_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    """In float64, to 1e-10 of each tensor's largest gradient: what differs is the order of sums.

    And to 1e-15 of the network's largest: phi's bias has none but rounding, since a softmax does not see it.
    """
    gradients = []
    for processes in (1, 4):
        path = tmp_path / f"{processes}.pt"
        launch(write_gradients, str(path), devices=processes, timeout_s=100)
        gradients.append(torch.load(path, weights_only=True))
    whole, parts = gradients
    largest = max(gradient.abs().max() for gradient in whole.values())
    assert whole["backbone.res3.nonlocal1.theta.weight"].abs().max() > 1e-9 * largest
    assert parts.keys() == whole.keys()
    for name, gradient in whole.items():
        assert (parts[name] - gradient).abs().max() <= 1e-10 * gradient.abs().max() + 1e-15 * largest, name


@pytest.fixture(scope="module")
def shared_out(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on 1 and 4 processes and on 2 machines of 2, with the same 4 clips a step."""
    runs = tmp_path_factory.mktemp("ranks")
    command = train_command(miniature, runs, *FROZEN)
    for processes in (1, 4):
        devices = [f"optim.clips_per_device={4 // processes}", f"runtime.devices={processes}"]
        tool("train.py", *command[2:], *devices, f"name=on_{processes}")
    nodes = [*command, "optim.clips_per_device=1", "name=on_2x2"]
    multi_node.train_on_nodes(multi_node.loopback(), nodes, runs / "on_2x2", processes=2, kill=False)
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("name", ["on_4", "on_2x2"])
def test_weights_and_losses_do_not_depend_on_the_number_of_ranks(shared_out: Path, name: str) -> None:
    """Float32: losses to 1e-5 relative, weights to 5e-6 after 4 steps of sums in another order.

    Weights differ by 6e-8 usually, and by 1.03e-6 where a rounding has moved a unit over its threshold.
    """
    one, other = multi_node.losses(shared_out / "on_1"), multi_node.losses(shared_out / name)
    assert other == pytest.approx(one, rel=1e-5)
    assert multi_node.farthest(shared_out / "on_1", shared_out / name) < 5e-6


@pytest.mark.slow
def test_two_machines_of_two_processes_train_as_one_of_four(shared_out: Path) -> None:
    """Only the order of sums may differ: 1e-5 relative."""
    one, two = multi_node.losses(shared_out / "on_4"), multi_node.losses(shared_out / "on_2x2")
    assert two == pytest.approx(one, rel=1e-5)


@pytest.mark.slow
def test_files_of_a_run_do_not_depend_on_the_number_of_ranks(shared_out: Path) -> None:
    names = {name: files(shared_out / name) for name in ("on_1", "on_4", "on_2x2")}
    assert "model.safetensors" in names["on_1"]
    assert all(found == names["on_1"] for found in names.values())


class Undisturbed(NamedTuple):
    """A finished run, and the command of another one that should become the same."""

    folder: Path
    command: list[str]
    other: Path
    log: Path


@pytest.fixture
def undisturbed(miniature: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Undisturbed:
    """On as many processes as the parameter says."""
    command = train_command(miniature, tmp_path, *LONG, f"runtime.devices={request.param}")
    tool("train.py", *command[2:], "name=whole")
    return Undisturbed(tmp_path / "whole", [*command, "name=other"], tmp_path / "other", tmp_path / "other.log")


def goes_on(run: Undisturbed, process: "subprocess.Popen[bytes]") -> None:
    """Waits until the job has made two more checkpoints."""
    before = newest_step(run.other)
    wait_until(lambda: newest_step(run.other) >= before + 2 or process.poll() is not None, limit_s=90)
    assert process.poll() is None, run.log.read_text()[-3000:]


def check_stopped(run: Undisturbed, process: "subprocess.Popen[bytes]", signum: signal.Signals, *, log: Path) -> None:
    """The job has saved the step that it ended after, said so, and left with the signal's exit code."""
    assert process.wait(timeout=DIES_S) == 128 + signum, log.read_text()[-3000:]
    wait_until(lambda: not session(process.pid), limit_s=DIES_S)
    assert f"stopped by {signum.name} after step {newest_step(run.other)}" in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("undisturbed", [2], indirect=True)
def test_a_killed_rank_and_a_signal_end_two_ranks_and_the_run_resumes_to_the_same(undisturbed: Undisturbed) -> None:
    run = undisturbed
    with started(run.command, run.log) as process:
        goes_on(run, process)
        os.kill(ranks(process.pid)[1], signal.SIGKILL)
        assert process.wait(timeout=DIES_S) == 1
        wait_until(lambda: not session(process.pid), limit_s=DIES_S)
    assert run.log.read_text().count("error: ") == 1
    assert "process " in run.log.read_text()
    assert "of 2 was killed by SIGKILL" in run.log.read_text()
    with started([*run.command, "runtime.workers=1"], run.log) as process:
        goes_on(run, process)
        os.killpg(process.pid, signal.SIGUSR2)  # All processes at once, those of the loader too, as Slurm does.
        check_stopped(run, process, signal.SIGUSR2, log=run.log)
    succeed(run.command, run.log)
    assert differences(run.folder, run.other) == []


@pytest.mark.slow
@pytest.mark.parametrize("undisturbed", [1], indirect=True)
def test_a_second_job_waits_until_a_signal_has_stopped_the_first_and_goes_on(undisturbed: Undisturbed) -> None:
    run, log = undisturbed, undisturbed.log.with_suffix(".second")
    with started([*run.command, "runtime.workers=1"], run.log) as first:
        goes_on(run, first)
        os.killpg(first.pid, signal.SIGSTOP)  # Else it would be done before the second one has started.
        with started(run.command, log) as second:
            wait_until(lambda: "waiting up to" in log.read_text(), limit_s=60)
            os.killpg(first.pid, signal.SIGTERM)
            os.killpg(first.pid, signal.SIGCONT)
            assert first.wait(timeout=DIES_S) == 128 + signal.SIGTERM
            goes_on(run, second)
            second.send_signal(signal.SIGUSR1)
            check_stopped(run, second, signal.SIGUSR1, log=log)
    (stopped,) = re.findall(r"stopped by SIGTERM after step (\d+)", run.log.read_text())
    assert f"resumed from {run.other}/checkpoints/step_{int(stopped):08d}.pt" in log.read_text()
    succeed(run.command, run.log)
    assert differences(run.folder, run.other) == []


def test_a_second_job_in_a_run_folder_is_refused(tmp_path: Path) -> None:
    notes: list[str] = []
    with (
        locked(tmp_path, wait_s=0, note=notes.append),
        pytest.raises(ValueError, match=f"process {os.getpid()} on .* name="),
        locked(tmp_path, wait_s=0, note=notes.append),
    ):
        pass
    with locked(tmp_path, wait_s=0, note=notes.append):
        assert notes == []


@pytest.mark.slow
def test_a_run_that_is_killed_ends_as_if_it_never_was(tmp_path: Path) -> None:
    dealt = kills.trial(tmp_path, 0, kind=kills.Training(1), kills=1)
    assert [death["wrong"] for death in dealt] == [[]]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can synchronise")
def test_synchronised_batch_normalisation_on_a_cpu_is_refused(miniature: Path, tmp_path: Path) -> None:
    command = train_command(miniature, tmp_path, "optim.sync_bn=true", "name=sync")
    assert finish(command, tmp_path / "log") == 1
    assert (tmp_path / "log").read_text().splitlines()[-1].startswith("error: optim.sync_bn: got True, expected false")
    assert not (tmp_path / "sync").exists()
