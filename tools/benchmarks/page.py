"""A page of measurements: on which machine they were made, and its parts as they come."""

import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch


def processor() -> str:
    """The name of the CPU."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def machine(tool: str, *, packages: Sequence[str], threads: int) -> str:
    """One line on the machine and the versions that a tool measured with."""
    gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if gpu else f"{processor()}, {threads} threads"
    missing = "" if gpu else " **A GPU was not at hand**; the same command measures there."
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    command = shlex.join(["python", f"tools/{tool}", *sys.argv[1:]])
    return f"`{command}` on {device}; Python {platform.python_version()}, {versions}.{missing}"


def tell(parts: Iterable[str], *, out: Path | None, end: str = "") -> None:
    """Prints the parts of a page as they come, and at the end writes them to a file, if there is one."""
    found = []
    for part in parts:
        print(part, end=end, flush=True)
        found.append(part)
    if out:
        out.write_text(end.join(found))
