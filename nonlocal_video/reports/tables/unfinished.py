"""Runs that a table cannot hold, and why: they failed, were killed, are at work, or wait for their test."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from nonlocal_video.reports.texts import write_text
from nonlocal_video.system.files import LOCK, held_by, is_new

SETTINGS = "config.yaml"
"""The file of a run's settings, which training writes before its first step."""
WEIGHTS = "model.safetensors"
"""The file that training writes at its end."""
FAILED = "failed.txt"
"""The file that says why the last job of a run failed; the next one that begins to train deletes it."""
SHOWN = 200
"""Characters of an error that a list of runs shows."""


def write_failure(folder: Path, error: BaseException) -> None:
    """Keeps why a run's job failed; where its folder cannot be written, it has no other place."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / FAILED, f"{str(error) or type(error).__name__}\n")


def unfinished_runs(folders: Iterable[Path], *, tested: set[Path]) -> dict[str, list[Path]]:
    """The runs in these folders or below that are not `tested` (resolved folders), by the reason; failed ones first.

    A run has settings, a failure, or nothing but a lock; the locks of tests lie below a run's folder.
    """
    runs: dict[Path, Path] = {}
    for folder in folders:
        files = [path for name in (SETTINGS, FAILED, LOCK) for path in folder.rglob(name)]
        for path in sorted(files, key=lambda path: path.parent):
            run = path.parent
            if path.name != LOCK or (is_new(run) and run.parent.name != "test"):
                runs.setdefault(run.resolve(), run)
    reasons: dict[str, list[Path]] = {}
    for resolved, run in runs.items():
        if resolved not in tested:
            reasons.setdefault(_why(run), []).append(run)
    return dict(sorted(reasons.items(), key=lambda reason: not reason[0].startswith("failed")))


def _why(run: Path) -> str:
    """Why a run is not tested."""
    if held_by(run) is not None:
        return "at work now"
    if (run / FAILED).is_file():
        said = " ".join((run / FAILED).read_text(encoding="utf-8", errors="replace").split())
        return f"failed ({said if len(said) <= SHOWN else f'{said[:SHOWN]}...'})"
    if not (run / SETTINGS).is_file():
        return f"failed or killed before the first step (nothing but the file {LOCK} is there)"
    if not (run / WEIGHTS).is_file():
        return "not trained to the end (the same command goes on)"
    return "trained, but not tested yet (tools/test.py)"
