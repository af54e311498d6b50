"""Lists of videos: one `path label` a line, as PySlowFast and mmaction2 write them."""

import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nonlocal_video.types import Entry

_SEPARATOR = re.compile(r"\s*,\s*|\s+")


def read_list(path: str, *, root: str | None, num_classes: int) -> list[Entry]:
    """The entries of a list of videos.

    The label is what follows the last space or comma, so that paths may hold spaces and commas.

    Args:
        root: the folder that relative paths start from; the working directory if None.

    Raises:
        ValueError: no such list or root, an empty list, a line without a label, a label out of range.
    """
    if not os.path.isfile(path):
        raise ValueError(f"{path}: no such list of videos")
    if root is not None and not os.path.isdir(root):
        raise ValueError(f"data.root: got {root}, expected an existing folder")
    lines = Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    entries = [
        _parse(line.strip(), f"{path}:{number}", root, num_classes)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not entries:
        raise ValueError(f"{path}: the list is empty")
    return entries


def _parse(line: str, where: str, root: str | None, num_classes: int) -> Entry:
    separators = list(_SEPARATOR.finditer(line))
    video, label = (line[: separators[-1].start()], line[separators[-1].end() :]) if separators else (line, "")
    if not video or not re.fullmatch(r"-?\d+", label):
        raise ValueError(f"{where}: got {line!r}, expected a path and a label, such as 'videos/a.mp4 3'")
    if not 0 <= int(label) < num_classes:
        raise ValueError(f"{where}: got label {label}, expected 0 to {num_classes - 1}")
    return Entry(video, os.path.join(root, video) if root else video, int(label))


def split_missing(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The entries whose file exists, and those whose file does not; both in the list's order."""
    with ThreadPoolExecutor(16) as pool:  # A stat on a network disk waits; many wait together.
        exists = list(pool.map(os.path.isfile, [entry.path for entry in entries]))
    present = [entry for entry, here in zip(entries, exists, strict=True) if here]
    return present, [entry for entry, here in zip(entries, exists, strict=True) if not here]


def check_missing(missing: Sequence[Entry], *, num_listed: int, max_missing: float) -> None:
    """Refuses a list of which more than the share `max_missing` is missing.

    Raises:
        ValueError: with the count and the first missing paths.
    """
    if len(missing) > max_missing * num_listed:
        names = ", ".join(entry.path for entry in missing[:3])
        raise ValueError(
            f"{len(missing)} of {num_listed} listed videos are missing ({names}, ...), more than "
            f"data.max_missing={max_missing} allows: check data.root, or raise the limit"
        )


def read_classes(path: str, *, num_classes: int) -> list[str]:
    """Class names, one a line, in the order of the labels.

    Raises:
        ValueError: no such file, or another number of names than `num_classes`.
    """
    if not os.path.isfile(path):
        raise ValueError(f"data.classes: {path}: no such file")
    names = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(names) != num_classes:
        raise ValueError(f"data.classes: {path} has {len(names)} names, expected data.num_classes={num_classes}")
    return names


def hash_entries(entries: Sequence[Entry]) -> str:
    """Names a list of videos, wherever their root is, in 12 characters."""
    lines = "".join(f"{entry.video} {entry.label}\n" for entry in entries)
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()[:12]
