"""Files that a killed process never leaves half written, and folders that one process writes at a time."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows has no such locks; there two jobs in one folder are not told apart.
    fcntl = None  # type: ignore[assignment]


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name only when it is whole and on the disk."""
    unfinished = path.with_name(f"{path.name}.tmp")
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
    _sync(path.parent)


@contextmanager
def locked(folder: Path, *, wait_s: float, note: Callable[[str], None] | None) -> Iterator[None]:
    """While this lasts, no other process gets the folder's lock. It ends with the process, however that dies.

    Args:
        wait_s: how long to wait for another one's: the processes of a killed job may need a moment to end.
        note: is told if this process has to wait.

    Raises:
        ValueError: another process holds it; says which.
    """
    with (folder / "lock").open("a+") as file:
        began = time.monotonic()
        while fcntl and not _take(file.fileno()):
            file.seek(0)
            holder = file.read().strip() or "another process"
            if time.monotonic() - began > wait_s:
                raise ValueError(
                    f"{folder}: {holder} is writing there; end that job, or give this one another name=..."
                )
            if note:
                note(f"{folder}: {holder} is writing there; waiting up to {wait_s:g} s for it to end")
                note = None
            time.sleep(0.5)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def _take(descriptor: int) -> bool:
    """Whether the lock was free. A file system without locks gives it to everyone."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _sync(folder: Path) -> None:
    """Puts the name of a new file on the disk, too. Not every system opens folders."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
