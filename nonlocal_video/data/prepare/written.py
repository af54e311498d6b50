"""The files that preparing a data set leaves: none replaces another that says something else, unless it may."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nonlocal_video.data.prepare.sources import beside
from nonlocal_video.system.files import whole_file
from nonlocal_video.types import Entry


def check_free(texts: Mapping[Path, str], *, sources: Sequence[Path], force: bool) -> None:
    """Raises ValueError: a file that is to be written is a source, a folder, or there and says something else."""
    for path, text in texts.items():
        if path.exists() and any(source.exists() and path.samefile(source) for source in sources):
            raise ValueError(f"--out: got {path}, the source itself, expected another file")
        if path.is_dir():
            raise ValueError(f"--out: {path} is a folder, expected a file of this name or none")
        if path.exists() and not force and path.read_bytes() != _encode(text):
            raise ValueError(f"{path} is there and says something else: take another --out, or --force to replace it")


def make_once(folder: Path, made_from: Mapping[str, Any], make: Callable[[], None]) -> None:
    """Lets `make` fill a folder with a data set; a finished one that was made from the same arguments is kept.

    Raises:
        ValueError: the folder holds something that this function did not make.
    """
    stamp = folder / "miniature.json"
    if stamp.is_file() and json.loads(stamp.read_text()) == {**made_from, "complete": True}:
        return
    if folder.exists() and any(folder.iterdir()) and not stamp.is_file():
        raise ValueError(f"{folder}: got a folder with other files, expected an empty one or a miniature data set")
    folder.mkdir(parents=True, exist_ok=True)
    stamp.write_text(json.dumps({**made_from, "complete": False}))
    make()
    stamp.write_text(json.dumps({**made_from, "complete": True}))


def write(path: Path, text: str) -> None:
    """Writes a file as a whole, and its folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(_encode(text))


def report_on(out: Path, entries: Sequence[Entry], missing: Sequence[str], failed: Mapping[str, str]) -> None:
    """Names what is missing and what failed of a list in files beside it."""
    _report(out, ".missing.txt", missing, f"missing: {len(missing)} of {len(entries)} videos")
    paths = {os.path.abspath(entry.path) for entry in entries}
    causes = [" ".join(cause.split()) for path, cause in failed.items() if path in paths]
    what = f"failed: {len(causes)} could not be re-encoded and stay in the list (missing); the same command tries again"
    _report(out, ".failed.txt", causes, what)


def _report(out: Path, ending: str, lines: Sequence[str], what: str) -> None:
    """Names what went wrong in a file beside the list; removes that of an earlier run if nothing did."""
    path = beside(out, ending)
    if not lines:
        path.unlink(missing_ok=True)
        return
    write(path, "".join(f"{line}\n" for line in lines))
    print(f"{what} ({path})")
    print("".join(f"  {line}\n" for line in lines[:3]) + ("  ...\n" if len(lines) > 3 else ""), end="")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
