"""Non-local Neural Networks (Wang, Girshick, Gupta, He; CVPR 2018) for video classification."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nonlocal_video.models import NonLocalBlock, build_model, load_model
    from nonlocal_video.runs.predict import Predictor
    from nonlocal_video.runs.predict_images import ImagePredictor

__version__ = "0.1.0"
__all__ = ["ImagePredictor", "NonLocalBlock", "Predictor", "build_model", "load_model"]
_RUNS = {"Predictor": "nonlocal_video.runs.predict", "ImagePredictor": "nonlocal_video.runs.predict_images"}


def __getattr__(name: str) -> Any:
    """The public names are imported when they are used: PyTorch takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_RUNS.get(name, "nonlocal_video.models")), name)
