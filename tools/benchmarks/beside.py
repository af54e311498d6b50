"""Training of the miniature as the tool does it, alone and beside busy processes, by this checkout and by another."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nonlocal_video.reports.texts import table

HERE = Path(__file__).parent.parent.parent
STEPS, FIRST = 60, 20
"""Steps of a run, and those of them that come before the counted ones."""
EXPLANATION = """
## Beside other work

In each of {rounds} rounds `tools/train.py experiment=miniature/nl_c2d` runs {steps} steps with each checkout in turn,
alone and beside {busy} processes that only count; clips per second over the last {counted}, of the rounds the median.

"""


def beside(data: Path, *, before: Path, busy: int, rounds: int) -> Iterator[str]:
    """The section, part by part.

    Args:
        data: the folder of the miniature.
        before: the root of the other checkout.
        busy: the number of busy processes.

    Raises:
        subprocess.CalledProcessError: a training fails.
    """
    yield EXPLANATION.format(rounds=rounds, steps=STEPS, busy=busy, counted=STEPS - FIRST)
    rows = []
    for title, number in (("alone", 0), (f"beside {busy} busy processes", busy)):
        found: list[tuple[float, float]] = []
        with _busy(number):
            for turn in range(rounds):
                order = (before, HERE) if turn % 2 else (HERE, before)
                rates = {root: _rate(root, data) for root in order}
                found.append((rates[before], rates[HERE]))
        was, now = (statistics.median(column) for column in zip(*found, strict=True))
        ratios = [after / earlier for earlier, after in found]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append([title, f"{was:.1f}", f"{now:.1f}", ratio])
    yield table(["", "before: clips/s", "now: clips/s", "now / before"], rows) + "\n"


@contextmanager
def _busy(number: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _rate(root: Path, data: Path) -> float:
    """Clips per second of a training with the code of a checkout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    with tempfile.TemporaryDirectory() as runs:
        subprocess.run(
            [
                sys.executable, "tools/train.py", "experiment=miniature/nl_c2d", "name=beside", f"runtime.runs={runs}",
                f"data.root={data.resolve()}", f"optim.steps={STEPS}", f"runtime.log_every={FIRST}",
                "runtime.validate_every=0", f"runtime.checkpoint_every={STEPS}",
            ],
            cwd=root, env={**environment, "PYTHONPATH": str(root.resolve())}, check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        records = [json.loads(line) for line in (Path(runs) / "beside" / "metrics.jsonl").read_text().splitlines()]
    return statistics.harmonic_mean([record["clips_per_s"] for record in records if record["step"] > FIRST])
