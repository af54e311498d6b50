"""Kills a small run by force at random moments, again and again, and compares it with the undisturbed run.

python -m tests.kill --kills 50 --processes 1

Every victim dies by SIGKILL: all processes of the job at once, only the one that started it (the others have to end
by themselves), or one rank (the job has to end by itself and say so). The same command starts it again, until it is
finished: then weights, optimiser, log records and the names of its files must be those of the undisturbed run, bit for
bit. Moments lie in the start of a job, in training, and (as soon as a file is being written) in saving.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nonlocal_video.data.prepare.miniature import make_miniature
from tests.small_runs import (
    differences,
    newest_step,
    ranks,
    session,
    start,
    started,
    succeed,
    train_command,
    wait_until,
)

STEPS = 60
SETTINGS = [f"optim.steps={STEPS}", "optim.milestones=[40]", "model.dropout=0.5"]
ENDS_S = 60.0
"""A job that lost a process has so long to end."""
TRAINS_S = 1.5
"""Kills in training come up to so long after its first new checkpoint, some ten steps."""
SAVES_S = 0.006
"""Kills in saving come up to so long after its unfinished file was seen."""


class Kill(NamedTuple):
    """One death of a job."""

    moment: str
    victim: str
    step: int
    """Of the newest checkpoint that it left."""
    unfinished: int
    """Files that it was writing."""
    waited: bool
    """Whether all its processes were gone before the next start."""


class Trial(NamedTuple):
    """A run that is killed and started again."""

    command: Sequence[str]
    folder: Path
    log: Path
    chance: random.Random
    start_s: float
    """From the start of the job to its first checkpoint, when undisturbed."""
    victims: Sequence[str]


def endure(miniature: Path, runs: Path, *, kills: int, processes: int, seed: int) -> tuple[list[Kill], list[str]]:
    """Deals the kills, to as many runs as it takes.

    Returns:
        The kills, and what came out otherwise than in the undisturbed run.
    """
    command = train_command(miniature, runs, *SETTINGS, f"runtime.devices={processes}")
    began = time.monotonic()
    with started([*command, "name=whole"], runs / "whole.log") as whole:
        wait_until(lambda: newest_step(runs / "whole") or whole.poll() is not None, limit_s=120)
        start_s = time.monotonic() - began
        assert whole.wait(timeout=240) == 0, (runs / "whole.log").read_text()
    victims = ["job", "job", "parent"] + (["rank"] if processes > 1 else [])
    chance, dealt, wrong = random.Random(seed), list[Kill](), list[str]()
    while len(dealt) < kills:
        name = f"killed_{len(dealt)}"
        trial = Trial([*command, f"name={name}"], runs / name, runs / f"{name}.log", chance, start_s, victims)
        while len(dealt) < kills and (death := strike(trial)):
            dealt.append(death)
            print(f"{len(dealt):5d}  {name:10s} " + " ".join(f"{word!s:>9}" for word in death), flush=True)
        succeed(trial.command, trial.log)
        wrong += [f"{name}: {difference}" for difference in differences(runs / "whole", trial.folder)]
    return dealt, wrong


def strike(trial: Trial) -> Kill | None:
    """Starts the job and kills it at a random moment; None if it was finished before."""
    moment = trial.chance.choice(["start", "training", "saving", "saving"])
    victim, waits = trial.chance.choice(trial.victims), trial.chance.random() < 0.5
    began = time.time()
    process = start([*trial.command, f"runtime.workers={trial.chance.randint(0, 1)}"], trial.log)
    _wait_for(moment, trial, process)
    found = ranks(process.pid) if victim == "rank" else []
    if moment == "saving":
        unfinished = (trial.folder / "checkpoints").glob
        wait_until(lambda: [*unfinished("*.tmp")] or process.poll() is not None, limit_s=120, every_s=0)
        time.sleep(trial.chance.uniform(0, SAVES_S))
    if process.poll() is not None:
        assert process.returncode == 0, trial.log.read_text()[-3000:]
        return None
    if found:
        os.kill(trial.chance.choice(found), signal.SIGKILL)
        assert process.wait(timeout=ENDS_S) > 0
        assert "was killed by SIGKILL" in trial.log.read_text().rpartition("error: ")[2], trial.log.read_text()
    elif victim == "parent":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if waits:
        wait_until(lambda: not session(process.pid), limit_s=ENDS_S)
    left = sum(path.stat().st_mtime >= began for path in trial.folder.rglob("*.tmp"))
    return Kill(moment, "job" if victim == "rank" and not found else victim, newest_step(trial.folder), left, waits)


def _wait_for(moment: str, trial: Trial, process: "subprocess.Popen[bytes]") -> None:
    """Until a random time in the start of the job or in its training, or its end."""
    if moment == "start":
        time.sleep(trial.chance.uniform(0, trial.start_s))
        return
    before = newest_step(trial.folder)
    wait_until(lambda: newest_step(trial.folder) > before or process.poll() is not None, limit_s=120)
    time.sleep(trial.chance.uniform(0, TRAINS_S))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        miniature, runs = Path(folder) / "miniature", Path(folder) / "runs"
        runs.mkdir()
        make_miniature(miniature, num_train=24, num_val=9, processes=1)
        print(
            " kill  run        "
            + " ".join(f"{word:>9}" for word in ("moment", "victim", "step", "unfinished", "waited"))
        )
        dealt, wrong = endure(miniature, runs, kills=options.kills, processes=options.processes, seed=options.seed)
    summary = ", ".join(f"{number} {victim}" for victim, number in Counter(kill.victim for kill in dealt).items())
    print(f"{len(dealt)} kills ({summary}) on {options.processes} processes;", end=" ")
    print(f"{sum(kill.unfinished > 0 for kill in dealt)} while a file was being written")
    print(
        "\n".join(["other than in the undisturbed run:", *wrong]) if wrong else "every run ended bit for bit the same"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
