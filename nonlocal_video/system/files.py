"""Files that a killed process never leaves half written, and folders that one process writes at a time."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

fcntl: Any = None
try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

LOCK = "lock"
"""The file of a folder that is locked; it says who holds it, or who did."""
_UNFINISHED = ".tmp"
_LOCKED_BYTE = 2**30
"""The byte of the file that is locked on Windows, far behind its text: nobody else can read what is locked there."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name only when it is whole and on the disk."""
    unfinished = path.with_name(path.name + _UNFINISHED)
    if unfinished.is_symlink():  # In a folder of somebody else: its target would be overwritten.
        unfinished.unlink()
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
    with suppress(OSError):  # Puts the new name on the disk, too. Not every system opens folders.
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def keep_lines(path: Path, number: int | None = None) -> None:
    """Cuts a file behind its first `number` lines, or behind the last whole one; a full disk allows that."""
    if path.is_file():
        with path.open("rb") as file:
            sizes = [len(line) for line in file if line.endswith(b"\n")]
        os.truncate(path, sum(sizes[:number]))


@contextmanager
def locked(
    folder: Path,
    *,
    wait_s: float = 0,
    note: Callable[[str], None] | None = None,
    refusal: str = "{folder}: {holder} is writing there; end that job, or give this one another name=...",
) -> Iterator[None]:
    """While this lasts, no other process gets the folder's lock. It ends with the process, however that dies.

    The processes of a killed job may need a moment to end: this waits for up to `wait_s`, and tells `note` so.

    Raises:
        ValueError: the refusal, with the places `{folder}` and `{holder}`, since another process holds the lock; or the
            lock is a link, whose target would be overwritten.
    """
    if (folder / LOCK).is_symlink():
        raise ValueError(f"{folder / LOCK}: is a link, expected the lock of the folder itself: delete it")
    with (folder / LOCK).open("a+") as file:
        deadline = time.monotonic() + wait_s
        while not _lock(file.fileno(), take=True):
            file.seek(0)
            holder = file.read().strip() or "another process"
            if time.monotonic() > deadline:
                raise ValueError(refusal.format(folder=folder, holder=holder))
            if note:
                note(f"{folder}: {holder} is writing there; waiting up to {wait_s:g} s for it to end")
                note = None
            time.sleep(0.5)
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            yield
        finally:
            _lock(file.fileno(), take=False)


def held_by(folder: Path) -> str | None:
    """The holder of a folder's lock at this moment; None if there is none, or if that cannot be known."""
    with suppress(OSError), (folder / LOCK).open() as file:
        if not _lock(file.fileno(), take=True):
            return file.read().strip() or "another process"
        _lock(file.fileno(), take=False)
    return None


def is_new(folder: Path) -> bool:
    """Whether a folder has no files yet, but for its lock and what a killed process left half written."""
    return all(item.name == LOCK or item.name.endswith(_UNFINISHED) for item in folder.iterdir())


def _lock(descriptor: int, *, take: bool) -> bool:
    """Takes the lock, or gives it back; whether it was free. A file system without locks gives it to everyone.

    On Windows a lock outlives its file by some time; elsewhere they end together, and nothing is given back.
    """
    try:
        if fcntl and take:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif not fcntl:
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK if take else msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        return not isinstance(error, BlockingIOError | PermissionError)  # Windows says the second.
    return True
