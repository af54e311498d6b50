"""Files of weights: PyTorch's own, and safetensors files that say which network they are of."""

import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from nonlocal_video.files import whole_file
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import Pairwise, name_of
from nonlocal_video.models.options import NetworkOptions
from nonlocal_video.models.zoo import build_network

FORMAT = "nonlocal_video 1"

BROKEN = (
    OSError, pickle.UnpicklingError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError,
    OverflowError, RuntimeError, TypeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""Besides their own errors, damaged archives and pickles raise whatever their bytes happen to ask for."""


class ModelFile(NamedTuple):
    """The content of a file that `save_model` wrote."""

    options: dict[str, Any]
    """Fields of `NetworkOptions`."""
    classes: list[str] | None
    """Their names in the order of the labels, where they are known."""
    origin: str
    """Where the weights come from, in words."""
    weights: dict[str, Tensor]
    published: dict[str, Any] | None = None
    """What is published of this very model: fields of `weights.published.Published`."""


def save_model(
    path: str | os.PathLike[str],
    model: Classifier,
    *,
    origin: str,
    classes: Sequence[str] | None = None,
    published: Mapping[str, Any] | None = None,
) -> None:
    """Writes the weights of a network and all that it takes to build it again, whole or not at all.

    The tensors alone are what `safetensors.torch.load_file` gives and `load_state_dict` takes.

    Args:
        origin, classes, published: as in `ModelFile`.
    """
    metadata = {
        "format": FORMAT,
        "network": model.options.name,
        "options": json.dumps(plain_options(model)),
        "classes": json.dumps(None if classes is None else list(classes)),
        "origin": origin,
        "published": json.dumps(published),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with whole_file(Path(path)) as file:
        file.write(save(tensors, metadata))


def plain_options(model: Classifier) -> dict[str, Any]:
    """The fields of a network's `NetworkOptions` in values that any file can hold."""
    options = {item.name: getattr(model.options, item.name) for item in fields(NetworkOptions)}
    places = options["nonlocal_blocks"]
    return {
        **options,
        "pairwise": name_of(options["pairwise"]),
        "nonlocal_blocks": places if isinstance(places, int) else list(places),
    }


def read_model_file(path: str | os.PathLike[str], *, with_weights: bool = True) -> ModelFile:
    """The content of a file that `save_model` wrote.

    Args:
        with_weights: False leaves `weights` empty and reads the head of the file only.

    Raises:
        ValueError: no such file, a damaged one, or one of another origin.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in (file.keys() if with_weights else ())}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: cannot be read as a safetensors file: {error}") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: not a file that this project wrote; bring it in with tools/import_weights.py")
    published = json.loads(metadata.get("published", "null"))  # Files of before have none.
    options, classes = json.loads(metadata["options"]), json.loads(metadata["classes"])
    return ModelFile(options, classes, metadata["origin"], weights, published)


def load_model(path: str | os.PathLike[str], *, pairwise: Pairwise | None = None) -> Classifier:
    """The network of a file that `save_model` wrote, in testing mode.

    Args:
        pairwise: the pairwise function, where it is not one of this project's.

    Raises:
        ValueError: no such file, or one that gives no network.
    """
    content = read_model_file(path)
    try:
        options = NetworkOptions(**content.options)
    except TypeError as error:
        raise ValueError(f"{path}: written by another version of this project: {error}") from error
    try:
        model = build_network(options if pairwise is None else replace(options, pairwise=pairwise))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    load_weights(model, content.weights, where=path)
    return model.eval()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, where: str | os.PathLike[str]) -> None:
    """Loads weights of exactly this network.

    Raises:
        ValueError: names or shapes differ; says which, and the number of classes where it is that.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if "fc.weight" in shapes and "fc.weight" in expected and shapes["fc.weight"][0] != expected["fc.weight"][0]:
        raise ValueError(
            f"{where}: got weights for {shapes['fc.weight'][0]} classes, expected {expected['fc.weight'][0]}; "
            "for another data set train with init.weights, which makes a fresh classifier"
        )
    if shapes != expected:
        missing, unused = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
        other = [
            f"{k} {shapes[k]} for {expected[k]}"
            for k in sorted(shapes.keys() & expected.keys())
            if shapes[k] != expected[k]
        ]
        differences = [
            f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for kind, names in (("missing", missing), ("unknown", unused), ("of another shape", other))
            if names
        ]
        raise ValueError(f"{where}: weights of another network: {'; '.join(differences)}")
    model.load_state_dict(weights)


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """The content of a file that `torch.save` wrote, on the CPU; no code in the file is run.

    Raises:
        ValueError: no such file, a damaged one, or one that holds more than tensors and plain values.
    """
    try:
        with open(path, "rb") as file:  # By its name PyTorch would take a .safetensors file for one.
            _check_sums(file)
            return torch.load(file, map_location="cpu", weights_only=True)
    except BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: cannot be read as a file of weights: {reason}") from error


def _check_sums(file: BinaryIO) -> None:
    """Reads the whole file: PyTorch writes a CRC-32 of every record but does not compare it when it reads.

    Raises:
        ValueError: a damaged file. One from before PyTorch 1.6 is no zip archive and has no sums.
    """
    is_zip = file.read(4) == b"PK\x03\x04"
    if is_zip:
        with zipfile.ZipFile(file) as records:
            damaged = records.testzip()
        if damaged is not None:
            raise ValueError(f"damaged: the checksum of {damaged} is wrong")
    file.seek(0)
