"""Jobs that are killed by force at random moments, again and again, and compared with the undisturbed one.

Every victim dies by SIGKILL: all processes of the job at once, only the one that started it (the others have to end
by themselves), or one rank (the job has to end by itself and say so). The same command starts it again, until it is
finished: then what it leaves must be what the undisturbed job left, bit for bit. Moments lie in the start of a job, in
its work, and (as soon as a file is being written) in saving.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from nonlocal_video.data.prepare.miniature import make_miniature
from nonlocal_video.engine.evaluate import journals
from tests.small_runs import (
    differences,
    files,
    newest_step,
    ranks,
    session,
    start,
    succeed,
    train_command,
    wait_until,
)

STEPS = 60
SETTINGS = [f"optim.steps={STEPS}", "optim.milestones=[40]", "model.dropout=0.5"]
KILLS = 5
"""A run is killed so often at most."""
ENDS_S = 60.0
"""A job that lost a process has so long to end."""
STARTS_S = 2.0
"""Kills in the start come up to so long after it."""
BEGINS_S = 300.0
"""A job has so long to its first new result; on busy cores it needs minutes."""
WORKS_S = 1.5
"""Kills at work come up to so long after its first new result, some ten steps."""
SAVES_S = 0.006
"""Kills in saving come up to so long after an unfinished file was seen."""


class Kind(Protocol):
    """What is killed."""

    processes: int

    def prepare(self, place: Path) -> list[str]:
        """Makes what the jobs need, once for all; the command of a job, but for its name."""
        ...

    def folder(self, place: Path, name: str) -> Path:
        """Where the job of this name writes."""
        ...

    def progress(self, folder: Path) -> int:
        """How far a job has come."""
        ...

    def differences(self, folder: Path, other: Path) -> list[str]:
        """What two finished jobs have left that is not the same."""
        ...


def miniature_of(place: Path) -> Path:
    """Videos to train on and to test, made once."""
    make_miniature(place / "miniature", num_train=24, num_val=24, processes=1)
    return place / "miniature"


class Training(NamedTuple):
    """A run of 60 steps that saves at every step."""

    processes: int

    def prepare(self, place: Path) -> list[str]:
        return train_command(miniature_of(place), place, *SETTINGS, f"runtime.devices={self.processes}")

    def folder(self, place: Path, name: str) -> Path:
        return place / name

    def progress(self, folder: Path) -> int:
        return newest_step(folder)

    def differences(self, folder: Path, other: Path) -> list[str]:
        return differences(folder, other)


class Testing(NamedTuple):
    """A test of 24 videos by 30 views."""

    processes: int

    def prepare(self, place: Path) -> list[str]:
        run = place / "run"
        if not (run / "model.safetensors").exists():
            succeed(train_command(miniature_of(place), place, "optim.steps=4", "name=run"), place / "run.log")
        return [
            sys.executable, "tools/test.py", f"run={run}", "protocol=full_10", "protocol.crops=3", "runtime.chunk=2",
            "runtime.threads=1", f"runtime.devices={self.processes}",
        ]  # fmt: skip

    def folder(self, place: Path, name: str) -> Path:
        return place / "run/test" / name

    def progress(self, folder: Path) -> int:
        return sum(path.read_bytes().count(b"\n") for path in journals(folder)) if folder.exists() else 0

    def differences(self, folder: Path, other: Path) -> list[str]:
        one, two = (self._outcome(path) for path in (folder, other))
        return [name for name in sorted(one | two) if one.get(name) != two.get(name)]

    def _outcome(self, folder: Path) -> dict[str, Any]:
        """The files of a test, and those that hold no times as they are; an hour later the commit may be another."""
        report = json.loads((folder / "report.json").read_text())
        kept = {key: value for key, value in report.items() if key not in ("time", "cost", "chunk", "commit")}
        predictions = {name: (folder / name).read_bytes() for name in ("predictions.jsonl", "scores.npz")}
        return {"files": files(folder), "classes": (folder / "classes.csv").read_text(), **kept, **predictions}


def trial(place: Path, number: int, *, kind: Kind, kills: int = KILLS) -> list[dict[str, Any]]:
    """Kills one job up to so many times, lets it end, and compares it with the undisturbed one."""
    command, log = kind.prepare(place), place / f"killed_{number}.log"
    log.unlink(missing_ok=True)
    whole, killed = (kind.folder(place, name) for name in ("whole", f"killed_{number}"))
    if not (place / "whole.done").exists():
        succeed([*command, "name=whole"], place / "whole.log")
        (place / "whole.done").touch()
    chance, dealt = random.Random(number), list[dict[str, Any]]()
    command = [*command, f"name=killed_{number}"]
    while not dealt:  # A job may end before it is killed.
        shutil.rmtree(killed, ignore_errors=True)  # Also what a soak that was stopped has left.
        while len(dealt) < kills and (death := strike(kind, command, killed, log, chance)):
            dealt.append(death)
    succeed(command, log)
    wrong = kind.differences(whole, killed)
    return [{**death, "wrong": wrong} for death in dealt]


def strike(kind: Kind, command: Sequence[str], folder: Path, log: Path, chance: random.Random) -> dict[str, Any] | None:
    """Starts a job and kills it at a random moment; what died and when, or None if it was finished before."""
    moment = chance.choice(["start", "work", "saving", "saving"])
    victim = chance.choice(["job", "job", "parent"] + (["rank"] if kind.processes > 1 else []))
    waits, began = chance.random() < 0.5, time.time()
    process = start([*command, f"runtime.workers={chance.randint(0, 1)}"], log)
    _wait_for(moment, kind, folder, process, chance)
    found = ranks(process.pid) if victim == "rank" else []
    if process.poll() is not None:
        assert process.returncode == 0, log.read_text()[-3000:]
        return None
    if found:
        os.kill(chance.choice(found), signal.SIGKILL)
        assert process.wait(timeout=ENDS_S) > 0
        assert "was killed by SIGKILL" in log.read_text().rpartition("error: ")[2], log.read_text()
    elif victim == "parent":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if waits:
        wait_until(lambda: not session(process.pid), limit_s=ENDS_S)
    unfinished = sum(path.stat().st_mtime >= began for path in folder.rglob("*.tmp"))
    victim = "job" if victim == "rank" and not found else victim
    return {"moment": moment, "victim": victim, "progress": kind.progress(folder), "unfinished": unfinished}


def _wait_for(moment: str, kind: Kind, folder: Path, process: "subprocess.Popen[bytes]", chance: random.Random) -> None:
    """Until a random time in the start of the job, in its work, or while it saves; or its end."""
    if moment == "start":
        time.sleep(chance.uniform(0, STARTS_S))
        return
    before = kind.progress(folder)
    wait_until(lambda: kind.progress(folder) > before or process.poll() is not None, limit_s=BEGINS_S)
    time.sleep(chance.uniform(0, WORKS_S))
    if moment == "saving":
        unfinished = folder.rglob
        wait_until(lambda: [*unfinished("*.tmp")] or process.poll() is not None, limit_s=BEGINS_S, every_s=0)
        time.sleep(chance.uniform(0, SAVES_S))


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """A line for each kind of job."""
    lines = [
        "| what is killed | kills | while a file was being written | jobs | of them other than the undisturbed one |",
        "|---|---|---|---|---|",
    ]
    for name, records in found.items():
        victims = Counter(record["victim"] for record in records)
        words = {"job": "all its processes", "parent": "the parent", "rank": "one rank"}
        told = ", ".join(f"{words[victim]} {count}" for victim, count in victims.items())
        jobs = {record["trial"]: record["wrong"] for record in records}
        differ = [f"{trial} ({', '.join(wrong)})" for trial, wrong in jobs.items() if wrong]
        unfinished = sum(record["unfinished"] > 0 for record in records)
        lines.append(
            f"| {name.replace('on 1', 'on 1 process').replace('on 2', 'on 2 processes')} | {len(records)}: {told} | "
            f"{unfinished} | {len(jobs)} | {'; '.join(differ) or 'none'} |"
        )
    return "\n".join(lines)
