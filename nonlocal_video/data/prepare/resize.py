"""A folder of re-encoded videos: planned, made by many processes, resumed after a stop."""

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures import TimeoutError as OutOfTime
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from nonlocal_video.data.prepare.encode import UNFINISHED, Encoding, reencode
from nonlocal_video.data.workers import START_METHOD
from nonlocal_video.system.files import is_new, locked, whole_file
from nonlocal_video.system.plain import differences
from nonlocal_video.system.signals import end_with_parent

STAMP = "prepare.json"
"""The file that says how the videos of a folder were made, and from what; the mark of a folder that is ours."""
_CLASHES_SHOWN = 10


class Reencoded(NamedTuple):
    """The outcome of re-encoding many videos."""

    num_kept: int
    """Videos made by an earlier run."""
    num_made: int
    failed: dict[str, str]
    """Causes by source."""
    retimed: list[str]
    """Sources without usable times of their frames; their average rate was used."""


def plan_targets(sources: Sequence[str], *, root: Path) -> list[str]:
    """The new name of each video, below the new folder: its place below the root, as .mp4.

    Raises:
        ValueError: a video outside of the root, or two videos that would get one name.
    """
    base, names, taken = os.path.abspath(root), [], dict[str, set[str]]()
    for source in sources:
        place = os.path.relpath(source, base)
        if place.split(os.sep)[0] == os.pardir:
            raise ValueError(f"{source}: got a video outside of {base}, expected all below it (set --root)")
        names.append(os.path.splitext(place)[0] + ".mp4")
        taken.setdefault(names[-1], set()).add(source)
    clashes = [f"\n  {name}: {', '.join(sorted(several))}" for name, several in taken.items() if len(several) > 1]
    if clashes:
        shown, more = "".join(clashes[:_CLASHES_SHOWN]), len(clashes) - _CLASHES_SHOWN
        shown += f"\n  ... and {more} more" if more > 0 else ""
        raise ValueError(f"{len(clashes)} new videos would be made of several each; rename all but one of:{shown}")
    return names


def _check_apart(jobs: Mapping[str, str], *, root: Path, folder: Path) -> None:
    """Raises: ValueError: new videos would lie among the originals, in their folder or through a link."""
    real_root, real_folder = root.resolve(), folder.resolve()
    if real_root == real_folder or real_root in real_folder.parents:
        raise ValueError(f"--resize: got {folder}, expected a folder outside of the originals in {root}")
    sources = {os.path.realpath(parent) for parent in {os.path.dirname(source) for source in jobs.values()}}
    targets = {os.path.realpath(parent) for parent in {os.path.dirname(target) for target in jobs}}
    if sources & targets:
        raise ValueError(f"{min(sources & targets)}: a link makes this both a folder of originals and of new videos")


def reencode_all(
    jobs: Mapping[str, str], encoding: Encoding, *, root: Path, folder: Path, processes: int, time_limit_s: float
) -> Reencoded:
    """Makes the videos that are not there yet: `jobs` are sources by their targets below `folder`.

    A video that fails, takes too long or kills its process is noted, and the rest goes on. Whatever
    ends a run, the targets that are there are whole, and the next run makes the others.

    Raises:
        ValueError: the folder was made otherwise, holds other files, or another run is writing there.
        OSError: the folder cannot be written, or the disk is full.
    """
    _check_apart(jobs, root=root, folder=folder)
    with _claimed(folder, {"root": str(root.resolve()), **encoding._asdict()}):
        try:
            there = _clean(folder)
            todo = {target: source for target, source in jobs.items() if os.path.abspath(target) not in there}
            for parent in {os.path.dirname(target) for target in todo}:
                os.makedirs(parent, exist_ok=True)
            failed, retimed = _work(todo, encoding, processes=processes, time_limit_s=time_limit_s)
        finally:
            _clean(folder)
    return Reencoded(len(jobs) - len(todo), len(todo) - len(failed), dict(sorted(failed.items())), sorted(retimed))


@contextmanager
def _claimed(folder: Path, made_by: dict[str, str | int]) -> Iterator[None]:
    """Holds the folder against other runs, if it is new or was made in this way."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / STAMP
    if not stamp.exists() and not is_new(folder):
        raise ValueError(f"--resize: {folder}: got a folder with other files, expected a new or an empty one")
    with locked(folder, refusal="--resize: {folder}: another prepare_data.py is writing there ({holder})"):
        if not stamp.exists():
            with whole_file(stamp) as file:
                file.write((json.dumps(made_by, indent=1) + "\n").encode())
        was = json.loads(stamp.read_text())
        changes = differences({key: was.get(key) for key in made_by}, made_by)
        if changes:
            raise ValueError(
                f"--resize: {folder} holds videos that were made otherwise ({'; '.join(changes)}): take another "
                "folder, or delete this one to start afresh"
            )
        yield


def _clean(folder: Path) -> set[str]:
    """Removes what killed processes left behind; returns the files that are there."""
    there = set()
    for parent, _, names in os.walk(os.path.abspath(folder)):
        for name in names:
            path = os.path.join(parent, name)
            if name.endswith(UNFINISHED):
                os.unlink(path)
            else:
                there.add(path)
    return there


def _work(
    jobs: Mapping[str, str], encoding: Encoding, *, processes: int, time_limit_s: float
) -> tuple[dict[str, str], list[str]]:
    context = get_context(START_METHOD)
    # Loaded once and shared: each process needs what the main module imports.
    context.set_forkserver_preload(["nonlocal_video.data.lists.manifest", __name__])
    failed, retimed = dict[str, str](), list[str]()
    pool = ProcessPool(max(1, min(processes, len(jobs))), initializer=end_with_parent, context=context)
    try:
        futures: dict[Future[bool], str] = {
            pool.schedule(reencode, args=(Path(source), Path(target), encoding), timeout=time_limit_s): source
            for target, source in jobs.items()
        }
        bar = tqdm(as_completed(futures), total=len(futures), desc="re-encoding", unit="video", disable=not jobs)
        for future in bar:
            source, error = futures[future], future.exception()
            if error is not None:
                cause = _cause(error, time_limit_s)
                failed[source] = cause if cause.startswith(source) else f"{source}: {cause}"
                bar.set_postfix(failed=len(failed))
            elif not future.result():
                retimed.append(source)
    finally:
        pool.stop()
        pool.join()
    return failed, retimed


def _cause(error: BaseException, time_limit_s: float) -> str:
    """Why a video failed; raises the `OSError` of a full disk, since every other video would fail too."""
    if isinstance(error, OutOfTime):
        return f"not done after {time_limit_s:g} s (--time-limit)"
    if isinstance(error, ProcessExpired):
        return f"its process ended with exit code {error.exitcode}"
    is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if is_full or not isinstance(error, ValueError | OSError | MemoryError):
        raise error
    return str(error) or type(error).__name__
