"""Files that `torch.save` wrote."""

import os
import pickle
from typing import Any

import torch


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """The content of a file, on the CPU; no code in the file is run.

    Raises:
        ValueError: no such file, a damaged one, or one that holds more than tensors and plain values.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: cannot be read as a file of weights: {reason}") from error
