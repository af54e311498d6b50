"""Trains a small run on 1 machine x 4 processes and on 2 x 2, and compares the losses and weights.

python -m tests.multi_node                two launchers on this machine, who meet on its loopback
python -m tests.multi_node --namespaces   in two network namespaces joined by a cable: no address is shared (needs root)
python -m tests.multi_node --kill         a rank of the second one is killed; torchrun starts all again
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from nonlocal_video.data.prepare.miniature import make_miniature
from tests.small_runs import newest_step, ranks, started, succeed, train_command, wait_until

SETTINGS = ["optim.steps=12", "optim.reference_batch=8", "optim.lr=0.001", "model.dropout=0.5"]
TOLERANCE = 1e-5
"""Relative, of losses: the ranks' gradients are added up in float32, perhaps in another order."""


class Node(NamedTuple):
    """A machine: what its commands begin with, and the variables of scripts/train_nodes.sh."""

    prefix: list[str]
    variables: dict[str, str]


def loopback() -> list[Node]:
    """Two launchers on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return [
        Node([], {"NODES": "2", "NODE_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port})
        for rank in range(2)
    ]


@contextmanager
def namespaces() -> Iterator[list[Node]]:
    """Two network namespaces whose only link, besides their own loopbacks, is one cable."""
    names = [f"node{rank}_{os.getpid()}" for rank in range(2)]
    ends = [f"veth{rank}" for rank in range(2)]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("-n", names[0], "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", names[1])
        for rank, (name, end) in enumerate(zip(names, ends, strict=True)):
            ip("-n", name, "address", "add", f"10.77.0.{rank + 1}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield [
            Node(["ip", "netns", "exec", name], {"NODES": "2", "NODE_RANK": str(rank), "MASTER_ADDR": "10.77.0.1"})
            for rank, name in enumerate(names)
        ]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)


def train_on_nodes(nodes: Sequence[Node], command: Sequence[str], run: Path, *, processes: int, kill: bool) -> None:
    """Runs a training command on all machines by scripts/train_nodes.sh.

    Args:
        command: as for one machine: Python, tools/train.py, and the arguments.
        run: the folder of the run; what each machine prints goes beside it.
        processes: ranks of each machine.
        kill: a rank of the last machine is killed in the middle, and torchrun starts all of them again.
    """
    overrides = [word for word in command[2:] if not word.startswith("runtime.devices=")]
    variables = {"PROCESSES": str(processes), "RESTARTS": "1" if kill else "0", "OMP_NUM_THREADS": "1"}
    variables["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with ExitStack() as stack:
        running = []
        for rank, node in enumerate(nodes):
            start = [*node.prefix, "bash", "scripts/train_nodes.sh", *overrides]
            log = run.with_name(f"{run.name}.node{rank}.log")
            running.append((stack.enter_context(started(start, log, **variables, **node.variables)), log))
        if kill:
            launcher, log = running[-1]
            wait_until(lambda: newest_step(run) >= 2 or launcher.poll() is not None, limit_s=120)
            os.kill(ranks(launcher.pid)[0], signal.SIGKILL)
        for process, log in running:
            assert process.wait(timeout=240) == 0, log.read_text()[-3000:]


def losses(run: Path) -> dict[int, float]:
    """The mean loss of each step."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {record["step"]: record["loss"] for record in records}


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Those of the newest checkpoint."""
    path = run / f"checkpoints/step_{newest_step(run):08d}.pt"
    return torch.load(path, weights_only=True)["model"]


def farthest(run: Path, other: Path) -> float:
    """The largest difference between two runs' weights, running averages included."""
    one, two = weights(run), weights(other)
    assert one.keys() == two.keys()
    return max(float((one[name].double() - two[name].double()).abs().max()) for name in one)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespaces", action="store_true")
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        runs = Path(folder)
        make_miniature(runs / "miniature", num_train=24, num_val=9, processes=1)
        command = train_command(runs / "miniature", runs, *SETTINGS)
        succeed([*command, "name=one", "runtime.devices=4"], runs / "one.log")
        nodes = stack.enter_context(namespaces()) if options.namespaces else loopback()
        train_on_nodes(nodes, [*command, "name=two"], runs / "two", processes=2, kill=options.kill)
        return _compare(runs / "one", runs / "two")


def _compare(one: Path, two: Path) -> int:
    print("step     1 x 4 processes     2 x 2 processes")
    a, b = losses(one), losses(two)
    for step in sorted(a | b):
        print(f"{step:4d}  {a.get(step, float('nan')):18.15f}  {b.get(step, float('nan')):18.15f}")
    equal = a.keys() == b.keys() and all(abs(a[step] - b[step]) <= TOLERANCE * abs(a[step]) for step in a)
    print("losses", "identical;" if a == b else f"within {TOLERANCE:g};" if equal else "DIFFERENT;", end=" ")
    print(f"weights differ by {farthest(one, two):g} at most")
    return int(not equal)


if __name__ == "__main__":
    sys.exit(main())
