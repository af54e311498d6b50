"""Files of weights: safetensors, of which this project's say which network they are of."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import Pairwise
from nonlocal_video.models.zoo import build_network
from nonlocal_video.settings.network import NetworkOptions
from nonlocal_video.system.files import whole_file

StrPath = str | os.PathLike[str]

FORMAT = "nonlocal_video 1"

_PUBLISHED = {
    "data": str, "format": str, "protocol": dict, "top1": int | float, "top5": int | float, "note": str | None,
}  # fmt: skip
"""Fields of `weights.published.Published` that tests and reports read."""


class ModelFile(NamedTuple):
    """The content of a file that `save_model` wrote."""

    options: dict[str, Any]
    """Fields of `NetworkOptions`."""
    classes: list[str] | None
    """Names in the order of the labels, where they are known."""
    origin: str
    """A few words on where the weights come from."""
    weights: dict[str, Tensor]
    published: dict[str, Any] | None = None
    """Published facts of this very model: fields of `weights.published.Published`."""


def save_model(
    path: StrPath,
    model: Classifier,
    *,
    origin: str,
    classes: Sequence[str] | None = None,
    published: Mapping[str, Any] | None = None,
) -> None:
    """Writes the weights of a network and all that it takes to build it again (`ModelFile`), whole or not at all.

    The tensors alone are what `safetensors.torch.load_file` gives and `load_state_dict` takes.
    """
    told = {"classes": None if classes is None else list(classes), "published": published}
    write_network(path, model, form=FORMAT, origin=origin, told=told)


def write_network(path: StrPath, model: Any, *, form: str, origin: str, told: Mapping[str, Any]) -> None:
    """Writes the tensors of a network with its options and what else is told of it, in a format of this project."""
    known = {"format": form, "network": model.options.name, "origin": origin}
    plain = {"options": model.plain_options(), **told}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with whole_file(Path(path)) as file:
        file.write(save(tensors, {**known, **{key: json.dumps(value) for key, value in plain.items()}}))


def check_whole(path: StrPath, part: str | None) -> None:
    """Raises: ValueError: a part was asked for, of a file that holds one network and no other."""
    if part is not None:
        raise ValueError(f"{path}: got the part {part!r}, expected none: the file holds one network")


def is_safetensors(path: StrPath) -> bool:
    """Whether a file begins as safetensors files do, with the size of a JSON header; a wrong size needs their name."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        size, brace = int.from_bytes(file.read(8), "little"), file.read(1)
    return brace == b"{" and (size < os.path.getsize(path) or str(path).endswith(".safetensors"))


def read_tensors(path: StrPath, *, with_weights: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file (with `with_weights`), and its metadata; ValueError if it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if with_weights else ()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: cannot be read as a safetensors file: {error}") from error


def read_model_file(path: StrPath, *, with_weights: bool = True) -> ModelFile:
    """The content of a file that `save_model` wrote, or its head only; ValueError for any other or a damaged file."""
    weights, metadata = read_tensors(path, with_weights=with_weights)
    if metadata.get("format", "").startswith("nonlocal_video detector"):
        raise ValueError(f"{path}: a detector of images, expected a network of videos")
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: not a file that this project wrote; bring it in with tools/import_weights.py")
    try:
        published = json.loads(metadata.get("published", "null"))  # Files of before have none.
        options, classes = json.loads(metadata["options"]), json.loads(metadata["classes"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: what it says of itself cannot be read: {str(error)[:100]}") from error
    names = classes is None or (isinstance(classes, list) and all(isinstance(name, str) for name in classes))
    told = published is None or (
        isinstance(published, dict) and all(isinstance(published.get(key), kind) for key, kind in _PUBLISHED.items())
    )
    if not (isinstance(options, dict) and names and told):
        raise ValueError(f"{path}: damaged: expected options, names of classes and what is published of its network")
    return ModelFile(options, classes, metadata.get("origin", ""), weights, published)


def network_options(content: ModelFile, *, where: StrPath) -> NetworkOptions:
    """The options of a file's network, checked before anything is built; ValueError for values that cannot be."""
    pairwise = content.options.get("pairwise", "")
    if not (isinstance(pairwise, str) and len(pairwise) <= 200):
        raise ValueError(f"{where}: damaged: its pairwise is no name of a function")
    try:
        options = NetworkOptions(**content.options)
    except TypeError as error:
        raise ValueError(f"{where}: written by another version of this project: {str(error)[:200]}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    num_names = options.num_classes if content.classes is None else len(content.classes)
    if num_names != options.num_classes:
        raise ValueError(f"{where}: damaged: has {num_names} names of classes, expected {options.num_classes}")
    return options


def load_model(path: StrPath, *, pairwise: Pairwise | None = None) -> Classifier:
    """The network of a file that `save_model` wrote, in testing mode.

    Args:
        pairwise: the pairwise function, where it is not one of this project's.

    Raises:
        ValueError: no such file, or one that gives no network.
    """
    content = read_model_file(path)
    options, weights = network_options(content, where=path), content.weights
    # All other sizes follow from the depth: where these differ, nothing of such a size is built.
    for option, name in (("num_classes", "fc.weight"), ("stem_width", "backbone.conv1.weight")):
        size, there = getattr(options, option), weights[name].shape[0] if name in weights and weights[name].ndim else 0
        if size not in (0, there):  # A stem_width of 0 follows from the depth, too.
            raise ValueError(f"{path}: damaged: it says {option} {size}, but its {name} has {there}")
    try:
        model = build_network(options if pairwise is None else replace(options, pairwise=pairwise))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    load_weights(model, weights, where=path)
    return model.eval()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, where: StrPath) -> None:
    """Loads weights of exactly this network.

    Raises:
        ValueError: names or shapes differ; says which, and the number of classes where it is that.
    """
    got = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    both = sorted(got.keys() & expected.keys())
    if "fc.weight" in both and got["fc.weight"][0] != expected["fc.weight"][0]:
        raise ValueError(
            f"{where}: got weights for {got['fc.weight'][0]} classes, expected {expected['fc.weight'][0]}; "
            "for another data set train with init.weights, which makes a fresh classifier"
        )
    differences = {
        "missing": sorted(expected.keys() - got.keys()),
        "unknown": sorted(got.keys() - expected.keys()),
        "of another shape": [f"{k} {got[k]} for {expected[k]}" for k in both if got[k] != expected[k]],
    }
    told = [f"{len(names)} {kind} ({examples(names)})" for kind, names in differences.items() if names]
    if told:
        raise ValueError(f"{where}: weights of another network: {'; '.join(told)}")
    model.load_state_dict(weights)


def examples(names: Sequence[str]) -> str:
    """The first three of some names."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
