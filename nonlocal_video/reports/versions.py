"""What a report was made with."""

import importlib.metadata
import platform

PACKAGES = ("torch", "torchvision", "av", "numpy")


def versions() -> dict[str, str]:
    """Of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}
