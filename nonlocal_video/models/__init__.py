"""The non-local operation, the residual networks that hold it, and their weights."""

from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.models.weights.file import load_model
from nonlocal_video.models.zoo import build_model

__all__ = ["NonLocalBlock", "build_model", "load_model"]
