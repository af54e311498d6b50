"""Runs on a disk of their own, which becomes full at a random moment; needs the right to mount one (root)."""

import contextlib
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.small_runs import newest_step, started, succeed, wait_until
from tests.soak.kills import BEGINS_S, STARTS_S, Training

MIB = 64
"""Size of the disk."""


@contextlib.contextmanager
def mounted(place: Path) -> Iterator[Path]:
    """An empty disk, which is gone afterwards."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MIB}m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    """Takes all the room that is left on a disk."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(2**12)):
            pass


def trial(place: Path, number: int) -> list[dict[str, Any]]:
    """A run whose disk becomes full: for seconds, which it survives, or to its end, after which it is started again."""
    kind, chance = Training(1), random.Random(number)
    if not (place / "whole.done").exists():
        succeed([*kind.prepare(place), "name=whole"], place / "whole.log")
        (place / "whole.done").touch()
    log = place / f"full_{number}.log"
    log.unlink(missing_ok=True)
    with mounted(place / "disk") as full:
        command = [*kind.prepare(place), f"runtime.runs={full}", "name=run", "runtime.workers=0"]
        stays, early = chance.random() < 0.5, chance.random() < 0.25
        with started(command, log) as process:
            if not early:
                wait_until(lambda: newest_step(full / "run") > 0 or process.poll() is not None, limit_s=BEGINS_S)
            time.sleep(chance.uniform(0, STARTS_S if early else 3.0))
            fill(full / "filler")
            reached = newest_step(full / "run")
            if not stays:
                time.sleep(chance.uniform(0.2, 2.0))
                (full / "filler").unlink()
            code = process.wait(timeout=BEGINS_S)
        (full / "filler").unlink(missing_ok=True)
        told = "No space left" in log.read_text()
        wrong = [] if code == 0 or told else [f"exit code {code} without the reason"]
        succeed(command, log)
        shutil.copytree(full / "run", place / "ended", dirs_exist_ok=True)
        wrong += kind.differences(place / "whole", full / "run")
    shutil.rmtree(place / "ended")
    return [{"stays": stays, "step": reached, "code": code, "told": told, "wrong": wrong}]


def table(records: list[dict[str, Any]]) -> str:
    """A line for disks that get room again, and one for those that do not."""
    lines = [
        "| the disk is full | disks | said so | the run failed | ended as the undisturbed one |",
        "|---|---|---|---|---|",
    ]
    for stays, name in ((False, "for 0.2 to 2 s"), (True, "until the run ends, and is started again")):
        some = [record for record in records if record["stays"] == stays]
        counts = (
            len(some),
            sum(record["told"] for record in some),
            sum(record["code"] != 0 for record in some),
            sum(not record["wrong"] for record in some),
        )
        lines.append(f"| {name} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(lines)
