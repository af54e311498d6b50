"""Networks as files hold them, and the names of other code bases turned into this project's."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor


class StoredNetwork(NamedTuple):
    """The network of a file of weights, in this project's names."""

    weights: dict[str, Tensor]
    """With the classifier. Kernels of networks of images are 2-D."""
    options: dict[str, Any]
    """Fields of `NetworkOptions` in which it differs from the released networks."""
    left_out: Sequence[str] = ()
    """Entries of the file that are no part of the network: momentum, counters, objects."""
    unknown: Mapping[str, str] = MappingProxyType({})
    """Options that the file does not tell and an importing user must, each with an error that says so."""
    untold: tuple[str, ...] = ()
    """Options that the file does not tell and that are taken as they are, unless the user names them."""
    copies: tuple[str, ...] = ()
    """Where in the file networks are, the one with these weights first ("" for the file itself)."""
    kind: str = ""
    """The kind of file in words, for a training that starts from it."""

    @property
    def told(self) -> dict[str, Any]:
        """The options that the file itself tells."""
        return {name: value for name, value in self.options.items() if name not in self.unknown}


LAYERS = {f"layer{i}": f"res{i + 1}" for i in range(10)}
"""The stages of networks by torchvision's names, for `renamed`."""


def renamed(tensors: Mapping[str, Tensor], rules: Mapping[str, str], words: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors by this project's names; a name that fits no rule stays as it is.

    Args:
        rules: patterns of whole names, and the new names with {} for each group of the pattern; the first that fits.
        words: replacements for what groups have found.
    """

    def new_name(name: str) -> str:
        for pattern, new in rules.items():
            if match := re.fullmatch(pattern, name):
                return new.format(*(words.get(group, group) for group in match.groups()))
        return name

    return {new_name(name): tensor for name, tensor in tensors.items()}


def pixel_statistics(mean: Sequence[float], std: Sequence[float]) -> dict[str, Tensor]:
    """The tensors of a normalisation, of pixel values from 0 to 1."""
    return {"mean": torch.tensor(mean).view(3, 1, 1, 1), "std": torch.tensor(std).view(3, 1, 1, 1)}
