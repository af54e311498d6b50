"""The released Caffe2 pickles: video networks, plain and affine, and the ImageNet networks that they started from.

Written by Python 2, as {"blobs": {name: array}} or as the inner dictionary alone.
"""

import pickle
import re
from typing import Any

import numpy as np
import torch

from nonlocal_video.models.weights.file import check_whole
from nonlocal_video.models.weights.state import StoredNetwork, renamed
from nonlocal_video.models.weights.torch_file import BROKEN

WORDS = {
    "2a": "1", "2b": "2", "2c": "3", "w": "weight", "out": "w_z",
    "s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var",  # riv is a variance, not its inverse.
}  # fmt: skip
RULES = {
    "conv1_w": "backbone.conv1.weight",
    r"res_conv1_bn_(s|b|rm|riv)": "backbone.bn1.{}",
    r"res(\d)_(\d+)_branch(2[abc])_w": "backbone.res{}.block{}.conv{}.weight",
    r"res(\d)_(\d+)_branch(2[abc])_bn_(s|b|rm|riv)": "backbone.res{}.block{}.bn{}.{}",
    r"res(\d)_(\d+)_branch1_w": "backbone.res{}.block{}.shortcut.0.weight",
    r"res(\d)_(\d+)_branch1_bn_(s|b|rm|riv)": "backbone.res{}.block{}.shortcut.1.{}",
    r"nonlocal_conv(\d)_(\d+)_(theta|phi|g|out)_(w|b)": "backbone.res{}.nonlocal{}.{}.{}",
    r"nonlocal_conv(\d)_(\d+)_bn_(s|b|rm|riv)": "backbone.res{}.nonlocal{}.bn.{}",
    "pred_(w|b)": "fc.{}",
}
_IGNORED = re.compile(r"lr|model_iter|.*_momentum")


def read_caffe2(path: str, part: str | None = None) -> StoredNetwork:
    """The one network of a released file; `part` has to be None.

    Raises:
        ValueError: not such a pickle, or one that wants to run code.
    """
    check_whole(path, part)
    blobs = read_blobs(path)
    ignored = [name for name in blobs if _IGNORED.fullmatch(name)]
    arrays = {name: blob for name, blob in blobs.items() if name not in ignored}
    wrong = [name for name, blob in arrays.items() if not isinstance(blob, np.ndarray) or blob.dtype.kind != "f"]
    if wrong or "conv1_w" not in arrays:
        raise ValueError(f"{path}: not the blobs of a ResNet: {', '.join(wrong[:3]) or 'there is no conv1_w'}")
    # A copy, since the arrays of a pickle may be read-only or of another byte order.
    tensors = {name: torch.tensor(blob.astype(np.float32)) for name, blob in arrays.items()}
    return StoredNetwork(renamed(tensors, RULES, WORDS), {"bn_eps": 1.0000001e-5}, ignored)


def read_blobs(path: str) -> dict[str, Any]:
    """The blobs of a Caffe2 pickle by name; ValueError if it is damaged, or holds more than arrays and plain values."""
    try:
        with open(path, "rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: cannot be read as a Caffe2 pickle: {reason}") from error
    blobs = content.get("blobs", content) if isinstance(content, dict) else None
    if not isinstance(blobs, dict) or not all(isinstance(name, str) for name in blobs):
        raise ValueError(f"{path}: not a dictionary of blobs")
    return blobs


def _to_bytes(text: str, encoding: str) -> bytes:
    """Decodes the bytes of an array as Python 3 writes them for protocol 2."""
    if encoding not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError(f"it wants the encoding {encoding!r}, which no file of weights needs")
    return text.encode("latin1")


class _ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain values, and refuses every other name: a pickle can call what it names."""

    ALLOWED = {  # noqa: RUF012
        "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
        "numpy.core.multiarray.scalar": np.float32(0).__reduce__()[0],
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
        "_codecs.encode": _to_bytes,
    }

    def find_class(self, module: str, name: str) -> Any:
        allowed = self.ALLOWED.get(f"{module.replace('numpy._core', 'numpy.core')}.{name}")
        if allowed is None:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}, which no file of weights needs")
        return allowed
