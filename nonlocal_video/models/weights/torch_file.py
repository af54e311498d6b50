"""Files that `torch.save` wrote, read without running the code in them."""

import os
import pickle
import re
import struct
import zipfile
import zlib
from typing import Any, BinaryIO

import torch

from nonlocal_video.models.weights.pickled import load_with_stand_ins

BROKEN = (
    OSError, pickle.UnpicklingError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError,
    OverflowError, RuntimeError, TypeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""Besides their own errors, damaged archives and pickles raise whatever their bytes happen to ask for."""


def read_torch_file(path: str | os.PathLike[str], *, with_objects: bool = False) -> Any:
    """The content of a file that `torch.save` wrote, on the CPU; no code in the file is run.

    Args:
        with_objects: whether it may hold more than tensors and plain values, which is left out: see `pickled`.

    Raises:
        ValueError: no such file, a damaged one, or one that holds more than it may; says what.
    """
    try:
        with open(path, "rb") as file:  # By its name PyTorch would take a .safetensors file for one.
            _check_sums(file)
            try:
                return torch.load(file, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError:
                if not with_objects:
                    raise
                return load_with_stand_ins(file)
    except BROKEN as error:
        raise ValueError(f"{path}: cannot be read as a file of weights: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What PyTorch has against a file, without its advice to read it unsafely."""
    text = str(error)
    blocked, unknown = re.search(r"GLOBAL (\S+) whose module", text), re.search(r"GLOBAL (\S+) was not", text)
    if blocked:
        return f"it wants to run {blocked[1]}, which no file of weights needs"
    if unknown:
        return f"it holds an object of {unknown[1]}, which cannot be read without running its code"
    told = re.search(r"WeightsUnpickler error: *(.+)", text)
    return told[1] if told else (text.splitlines() or [type(error).__name__])[0]


def _check_sums(file: BinaryIO) -> None:
    """Reads the whole file: PyTorch writes a CRC-32 of every record but does not compare it when it reads.

    Raises:
        ValueError: a damaged file, or a program. One from before PyTorch 1.6 is no zip archive and has no sums.
    """
    is_zip = file.read(4) == b"PK\x03\x04"
    if is_zip:
        with zipfile.ZipFile(file) as records:
            damaged = records.testzip()
            is_script = any(name.endswith("/constants.pkl") for name in records.namelist())
        if damaged is not None:
            raise ValueError(f"damaged: the checksum of {damaged} is wrong")
        if is_script:
            raise ValueError(
                "it is a TorchScript archive, which is a program, expected its weights alone: "
                f"python -c \"import torch; torch.save(torch.jit.load('{file.name}').state_dict(), 'state.pth')\""
            )
    file.seek(0)
