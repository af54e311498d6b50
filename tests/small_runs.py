"""Small runs of tools/train.py, started as a user starts them, and what they leave."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from nonlocal_video.settings import OptimConfig
from tests import forked

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
SMALL = [
    "experiment=miniature/nl_c2d", "optim.clips_per_device=2", "optim.reference_batch=4", "optim.milestones=[20]",
    "clip.length=8", "runtime.workers=0", "runtime.threads=1", "runtime.log_every=1", "runtime.checkpoint_every=1",
    "runtime.validate_every=0",
]  # fmt: skip
OF_THE_RUN = (
    "step",
    "model",
    "optimizer",
    "scaler",
    "best",
    "precise_bn",
    "num_failures",
    "num_transient",
    "num_skipped",
)
"""The parts of a checkpoint that do not depend on how often it was interrupted."""
MEASURED = ("clips_per_s", "images_per_s", "data_wait")
"""The values of a log record that depend on the clock."""


def optim_of(**changes: Any) -> OptimConfig:
    """Settings of an optimiser, of which those that a test does not say do not matter to it."""
    return OptimConfig(**{"lr": 0.1, "reference_batch": 1, "clips_per_device": 1, "steps": 1, **changes})


def tool(name: str, *arguments: str) -> None:
    """Runs a tool in this process; raises SystemExit as it exits."""
    before = sys.argv
    sys.argv = [name, *arguments]
    try:
        runpy.run_path(str(ROOT / "tools" / name), run_name="__main__")
    finally:
        sys.argv = before


def train_command(miniature: Path, runs: Path, *overrides: str) -> list[str]:
    """A later override wins over an earlier one."""
    return [sys.executable, "tools/train.py", f"data.root={miniature}", f"runtime.runs={runs}", *SMALL, *overrides]


def start(command: Sequence[str], log: Path, **variables: str) -> "subprocess.Popen[bytes] | forked.Command":
    """Starts a command in a session of its own; its output is added to `log`. In tests, a tool is forked."""
    environment = {**ENVIRONMENT, **variables}
    if forked.FORKING and command[0] == sys.executable and command[1].endswith(".py"):
        return forked.Command(command[1:], log, log, folder=ROOT, environment=environment)
    with log.open("a") as out:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )


@contextmanager
def started(
    command: Sequence[str], log: Path, **variables: str
) -> Iterator["subprocess.Popen[bytes] | forked.Command"]:
    """The same; what is left of the session at the end is killed."""
    process = start(command, log, **variables)
    try:
        yield process
    finally:
        kill(session(process.pid))
        process.wait()


def finish(command: Sequence[str], log: Path, *, limit_s: float = 240, **variables: str) -> int:
    """Runs a command to its end; its exit code."""
    with started(command, log, **variables) as process:
        return process.wait(timeout=limit_s)


def succeed(command: Sequence[str], log: Path, *, limit_s: float = 240, **variables: str) -> None:
    code = finish(command, log, limit_s=limit_s, **variables)
    assert code == 0, f"exit code {code}:\n{log.read_text()[-3000:]}"


def output(*words: str | Path, limit_s: float = 240) -> "subprocess.CompletedProcess[str]":
    """Runs a tool in a process of its own to its end: its exit code, and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder) / "out", Path(folder) / "errors"
        command = forked.Command([str(word) for word in words], out, errors, folder=ROOT, environment=ENVIRONMENT)
        code = command.wait(timeout=limit_s)
        return subprocess.CompletedProcess(words, code, out.read_text(), errors.read_text())


def wait_until(claim: Callable[[], object], *, limit_s: float, every_s: float = 0.02) -> float:
    """Waits until the claim holds; the seconds it took.

    Raises:
        TimeoutError: it does not hold in time.
    """
    start = time.monotonic()
    while not claim():
        if time.monotonic() - start > limit_s:
            raise TimeoutError(f"not within {limit_s:g} s: {claim}")
        time.sleep(every_s)
    return time.monotonic() - start


def session(leader: int) -> list[int]:
    """The living processes of a session."""
    return [pid for pid, (state, _, _, sid) in _processes().items() if int(sid) == leader and state not in "ZX"]


def ranks(launcher: int) -> list[int]:
    """The processes that a launcher, ours or torchrun, has started as ranks; none if it is the only one."""
    children = [pid for pid, (_, parent, _, _) in _processes().items() if int(parent) == launcher]
    forks = re.escape(command_of(launcher))
    return [pid for pid in children if re.search(rf"spawn_main|train\.py|^{forks}$", command_of(pid))]


def command_of(pid: int) -> str:
    """The command line of a process; empty if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def _processes() -> dict[int, list[str]]:
    """State, parent, group and session of every process."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found[int(stat.parent.name)] = stat.read_text().rpartition(")")[2].split()[:4]
    return found


def kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def tested(folder: Path) -> list[dict[str, Any]]:
    """The lines of predictions.jsonl of a test, each with its `scores`, and its `views` if they were kept."""
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    with np.load(folder / "scores.npz") as file:
        arrays = {name: file[name].tolist() for name in file.files}
    assert arrays.pop("videos") == [line["video"] for line in lines]
    return [{**line, **{name: rows[k] for name, rows in arrays.items()}} for k, line in enumerate(lines)]


def newest_step(run: Path) -> int:
    """The step of the newest checkpoint; 0 if there is none."""
    return max((int(path.stem.removeprefix("step_")) for path in run.glob("checkpoints/step_*.pt")), default=0)


def differences(run: Path, other: Path) -> list[str]:
    """What of two finished runs is not the same, bit for bit: checkpoint, exported weights, log records, files."""
    one, two = _outcome(run), _outcome(other)
    return [key for key in sorted(one | two) if key not in one or key not in two or not _same(one[key], two[key])]


def _outcome(run: Path) -> dict[str, Any]:
    checkpoint = torch.load(run / f"checkpoints/step_{newest_step(run):08d}.pt", weights_only=True)
    found = {name: checkpoint[name] for name in OF_THE_RUN}
    found["model.safetensors"] = load_file(run / "model.safetensors")
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = {key: value for key, value in json.loads(line).items() if key not in MEASURED}
        found[f"record of step {record['step']:4d}"] = record
    return {**_flat(found), "files": files(run)}


def files(run: Path) -> list[str]:
    """The names of a run's files; those of TensorBoard bear the time."""
    names = [str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()]
    return sorted(name for name in names if not name.startswith("tensorboard/"))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {prefix: value}
    return {k: v for key, inner in items for k, v in _flat(inner, f"{prefix}/{key}").items()}


def _same(one: Any, two: Any) -> bool:
    return torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two
