"""From a checkpoint of another code base to a network of ours: what every format shares."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.weights.file import load_weights
from nonlocal_video.models.weights.shape import misfit
from nonlocal_video.models.zoo import build_model


class Foreign(NamedTuple):
    """A checkpoint of another code base in this project's names."""

    weights: dict[str, Tensor]
    options: dict[str, Any]
    """Where its networks differ from the released ones: fields of `NetworkOptions`."""
    ignored: list[str]
    """What is no part of the network: momentum, counters."""
    unknown: Mapping[str, str] = MappingProxyType({})
    """The options that the file does not tell and the user must, each with an error that says so."""
    untold: tuple[str, ...] = ()
    """The options that the file does not tell and that are taken as they are, unless the user names them."""
    copies: tuple[str, ...] = ()
    """As in `State.copies`: where in the file the weights were, and where others are that were not taken."""


class Imported(NamedTuple):
    """A network with the weights of a checkpoint, and what became of its tensors."""

    model: Classifier
    num_matched: int
    num_inflated: int
    ignored: list[str]


Rule = tuple[str, str | Callable[[re.Match[str]], str]]


def rename(name: str, rules: Sequence[Rule]) -> str:
    """The name by the first rule (a pattern of the whole name, its replacement); unknown names stay as they are."""
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement) if isinstance(replacement, str) else replacement(match)
    return name


def build_imported(name: str, foreign: Foreign, *, changes: dict[str, Any], where: str) -> Imported:
    """Builds the network of a name with the weights of a checkpoint, every tensor in its place.

    Args:
        name: as for `build_model`.
        changes: options of the user's, over those of the format.

    Raises:
        ValueError: the file lacks what has to be known, or tensors are missing, left over or of another shape.
    """
    if "fc.weight" not in foreign.weights:
        raise ValueError(f"{where}: has no classifier, so it is no trained network; start training from it instead")
    if not changes.keys().isdisjoint(("name", "num_classes")):
        raise ValueError("name and num_classes are no options here: the one is MODEL, the other is read from the file")
    for option, error in foreign.unknown.items():
        if option not in changes:
            raise ValueError(f"{where}: {error}")
    num_classes = len(foreign.weights["fc.weight"])
    model = build_model(name, num_classes=num_classes, **{**foreign.options, **changes})
    other = misfit(foreign.weights, model.options, for_import=True)
    if other is not None:
        raise ValueError(f"{where}: {other}")
    own = model.state_dict()
    weights, num_inflated = inflate_like(foreign.weights, own)
    weights["fc.weight"] = weights["fc.weight"].reshape(weights["fc.weight"].shape[:2])
    # What no format but PyTorch's has, and what has one value for all networks but of some formats.
    given = {key: own[key] for key in own if key.endswith("num_batches_tracked") or key in ("mean", "std")}
    load_weights(model, {**given, **weights}, where=where)
    return Imported(model.eval(), len(weights), num_inflated, foreign.ignored)


def inflate(kernel: Tensor, num_frames: int) -> Tensor:
    """A 2-D kernel (O, I, h, w) -> (O, I, t, h, w): t equal planes, each rescaled by 1/t (Sec. 4).

    On a clip of t equal frames the inflated kernel answers as the 2-D kernel does on one.
    """
    return kernel[:, :, None].repeat(1, 1, num_frames, 1, 1) / num_frames


def inflate_like(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """The weights with their 2-D kernels inflated where the network's are 3-D, and how many became longer than 1."""
    inflated, number = dict(weights), 0
    for name, tensor in weights.items():
        if tensor.ndim == 4 and name in own and own[name].ndim == 5:
            frames = own[name].shape[2]
            inflated[name], number = inflate(tensor, frames), number + (frames > 1)
    return inflated, number


def pixel_statistics(mean: Sequence[float], std: Sequence[float]) -> dict[str, Tensor]:
    """The tensors of a normalisation, of pixel values from 0 to 1."""
    return {"mean": torch.tensor(mean).view(3, 1, 1, 1), "std": torch.tensor(std).view(3, 1, 1, 1)}


IMAGENET = pixel_statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
