"""Weights in files: our own (`file`), and those of other code bases, one file for each format."""

from collections.abc import Callable

from nonlocal_video.models.weights.caffe2 import read_caffe2
from nonlocal_video.models.weights.foreign import Foreign
from nonlocal_video.models.weights.mmaction2 import from_mmaction2, read_mmaction2
from nonlocal_video.models.weights.pyslowfast import from_pyslowfast, read_pyslowfast
from nonlocal_video.models.weights.pytorchvideo import from_pytorchvideo, read_pytorchvideo
from nonlocal_video.models.weights.torchvision import from_torchvision, read_torchvision

FORMATS: dict[str, Callable[[str, str | None], Foreign]] = {
    "caffe2": read_caffe2,
    "pyslowfast": read_pyslowfast,
    "pytorchvideo": read_pytorchvideo,
    "mmaction2": read_mmaction2,
    "torchvision": read_torchvision,
}
"""Reads (path, part), a part as in `state.read_state`."""

TRANSLATORS: dict[str, Callable[..., Foreign]] = {
    "pyslowfast": from_pyslowfast,
    "pytorchvideo": from_pytorchvideo,
    "mmaction2": from_mmaction2,
    "torchvision": from_torchvision,
}
"""Of a `state.State` whose names are those of a code base."""
