"""Published models: the facts of each, and its file."""

import hashlib
import os
import re
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nonlocal_video.models.weights.state import StoredNetwork
from nonlocal_video.system.files import whole_file


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model that someone released, as its source describes it."""

    name: str
    file: str
    """The name of its file of weights."""
    url: str
    source: str
    """Which script or config of which code base it is of."""
    format: str
    """One of `read.FORMATS`."""
    network: str
    """The name for `build_model`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of `NetworkOptions` that differ from the name's and the format's, and all that its file may not tell."""
    protocol: dict[str, Any]
    """How it was tested: a `name` in configs/protocol, and the settings that were others."""
    data: str
    """The data set that it was trained and tested on, by its name in configs/data."""
    top1: float
    """Accuracy in percent of the testing videos, as published."""
    top5: float
    note: str | None = None
    """The part of its test that the protocol does not repeat."""

    @property
    def checksum(self) -> str | None:
        """The first digits of the file's SHA-256, where its name ends with them (mmaction2's publish_model.py)."""
        match = re.search(r"-([0-9a-f]{8})\.pth$", self.file)
        return match[1] if match else None


def check_options(published: Published, stored: StoredNetwork, *, where: str) -> None:
    """Raises ValueError where the options that a file tells of its network are not the published ones."""
    pairs = {key: (stored.told.get(key, value), value) for key, value in published.options.items()}
    differences = [f"{key} is {got}, expected {value}" for key, (got, value) in pairs.items() if got != value]
    if differences:
        raise ValueError(f"{where}: is another network than {published.name}: {'; '.join(differences)}")


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def download(published: Published, path: Path, *, progress: Callable[[int, int, int], object]) -> None:
    """Fetches the file of a published model; it appears under its name only when it is whole.

    Args:
        progress: is told blocks so far, bytes of a block, and all bytes (-1 if the server does not say).

    Raises:
        OSError: no network, no such file there, or a broken connection.
        ValueError: what came has another checksum than the name of the file says.
    """
    with whole_file(path) as file:
        urllib.request.urlretrieve(published.url, file.name, progress)
        digest = sha256(file.name)
        if published.checksum and not digest.startswith(published.checksum):
            raise ValueError(
                f"{published.url}: got a file whose SHA-256 begins with {digest[:8]}, expected {published.checksum}"
            )
