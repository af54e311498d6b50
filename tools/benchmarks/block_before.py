"""The block of this checkout beside that of another one, each in fresh processes that take turns.

As a program it times one block, with the package that Python finds: its settings as a line of JSON in, figures out.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from nonlocal_video.models import NonLocalBlock

HERE = Path(__file__).parent.parent.parent
ROUNDS, WARM_UPS = 3, 2
EXPLANATION = """# The block before and now

In each of {rounds} rounds two fresh processes, one of each checkout, take {repeats} steps of a block with pooled keys
on {threads} threads, after {warm_ups} that are not timed; "compiled" is `torch.compile` for this size. Milliseconds
of a step: the median of the rounds' medians; MiB: by how much the steps raise the peak of the process; "now / before":
the median of the rounds' ratios, then the lowest and the highest.

| function | input | step | before: ms | now: ms | now / before | before: MiB | now: MiB |
|---|---|---|---|---|---|---|---|
"""


def before(
    functions: Sequence[str], sizes: dict[str, tuple[int, ...]], *, checkout: Path, threads: int, repeats: int
) -> Iterator[str]:
    """The page, part by part.

    Args:
        sizes: the names of inputs and their shapes (B, C, T, H, W).
        checkout: the root of the other one.

    Raises:
        subprocess.CalledProcessError: a process fails.
    """
    yield EXPLANATION.format(rounds=ROUNDS, repeats=repeats, threads=threads, warm_ups=WARM_UPS)
    for name, shape in sizes.items():
        for function in functions:
            for step, options in {
                "forward": {}, "training": {"trains": True}, "training, compiled": {"trains": True, "compiled": True},
            }.items():  # fmt: skip
                case = {"function": function, "shape": shape, "threads": threads, "repeats": repeats, **options}
                found = [_turn(case, checkout, number) for number in range(ROUNDS)]
                ratios = [now["ms"] / was["ms"] for was, now in found]
                was, now = (_medians([one[i] for one in found]) for i in (0, 1))
                ratio = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
                cells = f"{was['ms']:.1f} | {now['ms']:.1f} | {ratio} | {was['mib']:.0f} | {now['mib']:.0f}"
                yield f"| {function} | {name} | {step} | {cells} |\n"


def _medians(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in found) for key in ("ms", "mib")}


def _turn(case: dict[str, Any], checkout: Path, number: int) -> tuple[dict[str, float], dict[str, float]]:
    """Figures before and now."""
    order = (checkout, HERE) if number % 2 else (HERE, checkout)
    found = {root: _measured(case, root) for root in order}
    return found[checkout], found[HERE]


def _measured(case: dict[str, Any], root: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(root.resolve()), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(case), capture_output=True, text=True, check=True, env=environment
    )
    return json.loads(done.stdout)


def main() -> None:
    case = json.load(sys.stdin)
    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    trains, shape = case.get("trains", False), tuple(case["shape"])
    block: Any = NonLocalBlock(shape[1], pairwise=case["function"]).train(trains)
    step = torch.compile(block, dynamic=False) if case.get("compiled") else block
    x, times = torch.randn(shape, requires_grad=trains), list[float]()
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(WARM_UPS + case["repeats"]):
        began = time.perf_counter()
        with torch.set_grad_enabled(trains):
            z = step(x)
        if trains:
            z.backward(x.detach())
        times.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"ms": 1000 * statistics.median(times[WARM_UPS:]), "mib": (peak - start) / 1024}))


if __name__ == "__main__":
    main()
