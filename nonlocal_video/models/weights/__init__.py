"""Weights in files: our own (`file`), and those of other code bases, one file for each format."""

from collections.abc import Callable

from nonlocal_video.models.weights.caffe2 import read_caffe2
from nonlocal_video.models.weights.foreign import Foreign
from nonlocal_video.models.weights.mmaction2 import read_mmaction2
from nonlocal_video.models.weights.pyslowfast import read_pyslowfast
from nonlocal_video.models.weights.pytorchvideo import read_pytorchvideo
from nonlocal_video.models.weights.torchvision import read_torchvision

FORMATS: dict[str, Callable[[str], Foreign]] = {
    "caffe2": read_caffe2,
    "pyslowfast": read_pyslowfast,
    "pytorchvideo": read_pytorchvideo,
    "mmaction2": read_mmaction2,
    "torchvision": read_torchvision,
}
