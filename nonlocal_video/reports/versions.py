"""Versions of packages and of this code, for reports and checkpoints."""

import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path

PACKAGES = ("torch", "torchvision", "av", "numpy")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


@cache
def commit() -> str | None:
    """The commit of this code in 12 characters, with "+changes" if files differ from it; None without a repository."""

    def git(*words: str) -> str:
        return subprocess.check_output(["git", *words], cwd=Path(__file__).parent, stderr=subprocess.PIPE, text=True)

    try:
        changes = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD").strip() + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return None
