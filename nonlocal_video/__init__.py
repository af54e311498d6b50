"""Non-local Neural Networks (Wang, Girshick, Gupta, He; CVPR 2018) for video classification."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nonlocal_video.models import NonLocalBlock, build_model, load_model
    from nonlocal_video.runs.predict import Predictor

__version__ = "0.1.0"
__all__ = ["NonLocalBlock", "Predictor", "build_model", "load_model"]


def __getattr__(name: str) -> Any:
    """The public names are imported when they are used: PyTorch takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "nonlocal_video.runs.predict" if name == "Predictor" else "nonlocal_video.models"
    return getattr(import_module(module), name)
