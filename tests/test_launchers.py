"""The shell scripts that start a run on one machine, on several, and under Slurm, whose commands are played here."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_runs import ROOT, command_of, newest_step, session, started, train_command, wait_until

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
SRUN = """#!{python}
# One process a task on this machine; passes signals on; --kill-on-bad-exit=1: the first that fails ends the others.
import os, signal, subprocess, sys, time
words = sys.argv[1:]
assert words.pop(0) == "--kill-on-bad-exit=1"
tasks = int(os.environ["SLURM_NTASKS"])
step = dict(os.environ, SLURM_STEP_NUM_TASKS=str(tasks), SLURM_STEP_NUM_NODES="1")
children = [subprocess.Popen(words, env=dict(step, SLURM_PROCID=str(i), SLURM_LOCALID=str(i))) for i in range(tasks)]
for signum in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(signum, lambda signum, _: [child.send_signal(signum) for child in children])
while any(child.poll() is None for child in children):
    if any(child.returncode for child in children):
        [child.terminate() for child in children]
    time.sleep(0.1)
sys.exit(max(code if code >= 0 else 128 - code for code in (child.returncode for child in children)))
"""
SCONTROL = """#!/bin/sh
if [ "$1" = show ]; then echo 127.0.0.1; else echo "$@" >> {requeued}; fi
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a batch script of two tasks; what it asks to queue again is in the file `requeued`."""
    commands = {"srun": SRUN.format(python=sys.executable), "scontrol": SCONTROL.format(requeued=tmp_path / "requeued")}
    for name, text in commands.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    job = {"JOB_ID": "4711", "JOB_NODELIST": "node0", "NTASKS": "2", "SUBMIT_DIR": str(ROOT), "CPUS_PER_TASK": "1"}
    return {"PATH": f"{tmp_path}:{PATH}", **{f"SLURM_{name}": value for name, value in job.items()}}


@pytest.mark.slow
def test_slurm_script_queues_a_run_again_when_its_time_is_over(
    miniature: Path, tmp_path: Path, slurm: dict[str, str]
) -> None:
    arguments = train_command(miniature, tmp_path, "name=run", "optim.steps=12", "test=1x1")[2:]
    script, log, run = ["bash", "scripts/train.sbatch", *arguments], tmp_path / "log", tmp_path / "run"
    with started(script, log, **slurm) as job:
        wait_until(lambda: newest_step(run) >= 2 or job.poll() is not None, limit_s=120)
        os.kill(job.pid, signal.SIGUSR1)  # --signal=B: to the script alone.
        # The first task that has left by the signal makes srun terminate the other, which may be on its way out.
        assert job.wait(timeout=60) in (128 + signal.SIGUSR1, 128 + signal.SIGTERM), log.read_text()[-3000:]
    assert "stopped by SIGUSR1 after step" in log.read_text()
    assert (tmp_path / "requeued").read_text() == "requeue 4711\n"
    assert 2 <= newest_step(run) < 12
    with started(script, log, **slurm, SLURM_RESTART_COUNT="1") as job:
        assert job.wait(timeout=240) == 0, log.read_text()[-3000:]
    assert (tmp_path / "requeued").read_text() == "requeue 4711\n"
    assert json.loads((run / "test/1x1/report.json").read_text())["videos"]["decoded"] == 9
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 13))
    assert "on 2 x" in log.read_text()
    assert "resumed from" in log.read_text()


@pytest.mark.slow
def test_slurm_script_does_not_queue_a_failed_run_again(tmp_path: Path, slurm: dict[str, str]) -> None:
    done = _run("train.sbatch", "optim.steps=-1", **slurm)
    assert done.returncode != 0
    assert "error: optim.steps: got -1" in done.stderr
    assert not (tmp_path / "requeued").exists()


@pytest.mark.slow
def test_sweep_by_submitit_saves_at_its_warning_and_is_queued_again(miniature: Path, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs hydra-submitit-launcher")
    sweep = ["hydra/launcher=submitit_local", "name=run", "seed=0", "optim.steps=30", "runtime.devices=2"]
    python, tool, *arguments = train_command(miniature, tmp_path, *sweep)
    run, log = tmp_path / "run", tmp_path / "log"
    with started([python, tool, "-m", *arguments], log) as process:
        wait_until(lambda: newest_step(run) >= 2 or process.poll() is not None, limit_s=120)
        (task,) = [pid for pid in session(process.pid) if "submitit.core._submit" in command_of(pid)]
        os.kill(task, signal.SIGUSR2)
        assert process.wait(timeout=240) == 0, log.read_text()[-3000:]
    (text,) = [path.read_text() for path in tmp_path.glob(".submitit/*/*_log.out")]
    (step,) = re.findall(r"stopped by SIGUSR2 after step (\d+)", text)
    assert f"resumed from {run}/checkpoints/step_{int(step):08d}.pt" in text
    assert newest_step(run) == 30


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "NODES: got '', expected the number of machines"),
        ({"NODES": "two"}, "NODES: got 'two', expected the number of machines"),
        ({"NODES": "2"}, "NODE_RANK: got '', expected the number of this machine, 0 to 1"),
        ({"NODES": "2", "NODE_RANK": "2"}, "NODE_RANK: got '2', expected the number of this machine, 0 to 1"),
        ({"NODES": "2", "NODE_RANK": "0"}, "MASTER_ADDR: not given, expected the name or address of machine 0"),
        (
            {"NODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "no.such.invalid", "PROCESSES": "1"},
            "MASTER_ADDR: cannot find the way to 'no.such.invalid'",
        ),
    ],
)
def test_nodes_script_names_what_is_missing(variables: dict[str, str], message: str) -> None:
    done = _run("train_nodes.sh", PATH=PATH, **variables)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def test_slurm_script_outside_slurm_says_how_to_start_it() -> None:
    done = _run("train.sbatch", PATH=PATH)
    assert done.returncode != 0
    assert "expected: sbatch scripts/train.sbatch" in done.stderr


def _run(script: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = ["bash", f"scripts/{script}", *arguments]
    environment = {"HOME": os.environ.get("HOME", "/"), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=240)
