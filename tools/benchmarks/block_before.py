"""The block of this checkout beside that of another one: two processes that take their steps in turn.

As a program it steps one block, with the package that Python finds: its settings as a line of JSON in, then a line for
each step; the figures of each step out.
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
WARM_UPS = 3
EXPLANATION = """# The block before and now

Two processes, one of each checkout, take {repeats} steps in turn of a block with pooled keys on {threads} threads,
after {warm_ups} that are not timed; "compiled" is `torch.compile` for this size. Milliseconds of a step: the median;
"now / before": the median of the ratios of two steps after one another, and the quartiles; MiB: by how much the steps
raise the peak of the process.

"""
HEADER = ("function", "input", "step", "before: ms", "now: ms", "now / before", "before: MiB", "now: MiB")


def before(
    functions: Sequence[str], sizes: dict[str, tuple[int, ...]], *, checkout: Path, threads: int, repeats: int
) -> Iterator[str]:
    """The page, part by part.

    Args:
        sizes: the names of inputs and their shapes (B, C, T, H, W).
        checkout: the root of the other one.

    Raises:
        EOFError: a process fails.
    """
    from nonlocal_video.reports.texts import table  # As a program this file runs with the package of another checkout.

    yield EXPLANATION.format(repeats=repeats, threads=threads, warm_ups=WARM_UPS)
    rows = []
    for name, shape in sizes.items():
        for function in functions:
            for step, options in {
                "forward": {}, "training": {"trains": True}, "training, compiled": {"trains": True, "compiled": True},
            }.items():  # fmt: skip
                case = {"function": function, "shape": shape, "threads": threads, **options}
                was, now = _in_turn(case, (checkout, HERE), WARM_UPS + repeats)
                ratios = [b["ms"] / a["ms"] for a, b in zip(was, now, strict=True)][WARM_UPS:]
                low, middle, high = statistics.quantiles(ratios, n=4)
                ms = [statistics.median(figures["ms"] for figures in found[WARM_UPS:]) for found in (was, now)]
                mib = [found[-1]["mib"] for found in (was, now)]
                ratio = f"{middle:.3f} ({low:.3f} to {high:.3f})"
                figures = [f"{ms[0]:.1f}", f"{ms[1]:.1f}", ratio, f"{mib[0]:.0f}", f"{mib[1]:.0f}"]
                rows.append([function, name, step, *figures])
    yield table(HEADER, rows, texts=range(3)) + "\n"


def _in_turn(case: dict[str, Any], roots: Sequence[Path], steps: int) -> list[list[dict[str, float]]]:
    """The figures of each step of each checkout."""
    processes = [_started(case, root) for root in roots]
    found: list[list[dict[str, float]]] = [[] for _ in roots]
    for _ in range(steps):
        for root, process, figures in zip(roots, processes, found, strict=True):
            assert process.stdin
            assert process.stdout
            process.stdin.write("\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise EOFError(f"{root}: its process ended with {process.wait()}")
            figures.append(json.loads(line))
    for process in processes:
        process.communicate()
    return found


def _started(case: dict[str, Any], root: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(root.resolve()), "OMP_WAIT_POLICY": "PASSIVE"}
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdin
    process.stdin.write(json.dumps(case) + "\n")
    process.stdin.flush()
    return process


def main() -> None:
    case = json.loads(sys.stdin.readline())
    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    trains, shape = case.get("trains", False), tuple(case["shape"])
    block: Any = NonLocalBlock(shape[1], pairwise=case["function"]).train(trains)
    step = torch.compile(block, dynamic=False) if case.get("compiled") else block
    x = torch.randn(shape, requires_grad=trains)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in sys.stdin:
        began = time.perf_counter()
        with torch.set_grad_enabled(trains):
            z = step(x)
        if trains:
            z.backward(x.detach())
        ms = 1000 * (time.perf_counter() - began)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"ms": ms, "mib": (peak - start) / 1024}), flush=True)


if __name__ == "__main__":
    main()
