"""The network in a file of anybody: out of its wrappings, beside its optimiser, one of its copies; and renamed.

What people have is {"state_dict": ...}, {"model": ...} and the like, names that begin with the wrappers of DDP,
torch.compile, FSDP or a trainer, a moving average (EMA) beside the weights, and settings and histories as objects.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nonlocal_video.models.weights.torch_file import classes_in, module_tensors

OURS = "nonlocal_video"
LANDMARKS = {
    OURS: "backbone.res2.block0.conv1.weight",
    "pyslowfast": "s1.pathway0_stem.conv.weight",
    "pytorchvideo": "blocks.0.conv.weight",
    "mmaction2": "backbone.conv1.conv.weight",
    "torchvision": "layer1.0.conv1.weight",
}
"""A tensor that networks of a code base have, and no others: what comes before it in a file are wrappers."""

_WRAPPERS = re.compile(r"(^|\.)(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)")
"""Words of DDP, torch.compile, FSDP and activation checkpointing, also in the middle of a name."""
_NO_WEIGHTS = re.compile(
    r"(^|[._])(ema|swa|averaged?|shadow|teacher|grads?|gradients?|momentum\w*|exp_avg\w*)($|[._])", re.IGNORECASE
)
"""Names of averages of a network, and of what has a tensor for each of a network's and is none."""
_WEIGHTS = (".weight", ".bias", ".running_mean", ".running_var")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MAX_DEPTH = 4
"""How deep dictionaries may lie in dictionaries."""


class State(NamedTuple):
    """The tensors of one network in a file, by the names that its code base gives them."""

    code_base: str
    """A key of `LANDMARKS`."""
    tensors: dict[str, Tensor]
    copies: tuple[str, ...]
    """The places of all networks in the file, this one first ("" for the file itself); others may be its averages."""
    left_out: list[str]
    """Entries of the file and tensors beside the network, and the classes of objects that were not read."""
    content: dict[str, Any]
    """The whole file."""


class StoredNetwork(NamedTuple):
    """The network of a file of weights, in this project's names."""

    weights: dict[str, Tensor]
    """Tensors of backbone and classifier. Kernels of networks of images are 2-D."""
    options: dict[str, Any]
    """Fields of `NetworkOptions` in which it differs from the released networks."""
    left_out: Sequence[str] = ()
    """Entries of the file that are no part of the network: momentum, counters, objects."""
    unknown: Mapping[str, str] = MappingProxyType({})
    """Options that the file does not tell and an importing user must, each with an error that says so."""
    untold: tuple[str, ...] = ()
    """Options that the file does not tell and that are taken as they are, unless the user names them."""
    copies: tuple[str, ...] = ()
    """The places of all networks in the file, the one with these weights first ("" for the file itself)."""
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
        rules: patterns of whole names, and new names with {} for each group; the first that fits is taken.
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


def state_of(content: Any, *, where: str, part: str | None, expected: str) -> State:
    """The network in the content of a file, or of several the one with the name `part` in `State.copies`.

    Raises:
        ValueError: no network (says that `expected` is), several of which none is named, or weights that cannot be.
    """
    parts = list(_parts(content))
    if not parts:
        raise ValueError(f"{where}: {_what_else(content)}; expected {expected}")
    chosen = _chosen(parts, where=where, part=part)
    check_tensors(chosen.tensors, where=where)
    copies = [other.copies[0] for other in parts if other is not chosen]
    return chosen._replace(copies=(*chosen.copies, *copies))


def check_tensors(tensors: dict[str, Any], *, where: str) -> None:
    """Makes sure that what a file calls weights can be some, before anything is computed with them.

    Raises:
        ValueError: whole numbers, as of quantised networks, other storage, fewer numbers than said, or infinite ones.
    """
    for name, tensor in tensors.items():
        begin = f"{where}: {name[:100]}: "
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{begin}got {type(tensor).__name__}, expected a tensor of weights")
        if not f".{name}".endswith(_WEIGHTS):
            continue
        if tensor.layout != torch.strided or tensor.is_meta or tensor.dtype not in _FLOATS:
            form = f"{tensor.dtype}, {tensor.layout}, on {tensor.device.type}"
            raise ValueError(f"{begin}got numbers of {form}, expected floating-point weights")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"{begin}damaged: says {tuple(tensor.shape)} and holds fewer numbers")
        if not tensor.isfinite().all():
            raise ValueError(f"{begin}damaged: expected finite weights")


def _chosen(parts: Sequence[State], *, where: str, part: str | None) -> State:
    """The part of a name, or without one the only part that is no average. Raises: ValueError: as `state_of`."""
    names = ", ".join(name or "the file itself" for state in parts for name in state.copies)
    how = "init.part=NAME in training, --part NAME in tools/import_weights.py"
    if part is not None:
        for state in parts:
            if state.copies == (part,):
                return state
        raise ValueError(f"{where}: got the part {part!r}, expected one of its networks: {names}; choose by {how}")
    plain = parts if len(parts) == 1 else [state for state in parts if not _NO_WEIGHTS.search(state.copies[0])]
    if len(plain) != 1:
        raise ValueError(f"{where}: holds {len(parts)} networks: {names}; choose one by {how}")
    return plain[0]


def _parts(content: Any) -> Iterator[State]:
    """All networks in a file, each with the one name by which it can be chosen."""
    objects = [f"objects of {name}" for name in classes_in(content)]
    for place, tensors in _dictionaries(content):
        names = {name: _WRAPPERS.sub("", f".{name}").lstrip(".") for name in tensors}
        for own in names.values():
            for code_base, landmark in LANDMARKS.items():
                if own != landmark and not own.endswith(f".{landmark}"):
                    continue
                prefix = own.removesuffix(landmark)
                inner = {new.removeprefix(prefix): tensors[old] for old, new in names.items() if new.startswith(prefix)}
                beside = [old for old, new in names.items() if not new.startswith(prefix)]
                entries = {str(entry): value for entry, value in dict.items(content)}
                left_out = [entry for entry in entries if place and entry != place[0]] + beside + objects
                name = ".".join([*place, *prefix.split(".")[:-1]])
                yield State(code_base, inner, (name,), left_out, entries)


def _dictionaries(content: Any) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """The dictionaries of tensors in a file, and where they are; modules that were saved as objects are some, too."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)]
    seen = set[int]()
    while waiting:
        place, here = waiting.pop(0)
        if not isinstance(here, dict) or id(here) in seen:  # Pickles can hold one thing in many places, and in itself.
            continue
        seen.add(id(here))
        items = {name: value for name, value in dict.items(here) if isinstance(name, str)}
        tensors = module_tensors(here) or {name: value for name, value in items.items() if isinstance(value, Tensor)}
        if tensors:
            yield place, tensors
        if len(place) < _MAX_DEPTH:
            waiting += [((*place, name), value) for name, value in items.items()]


def _what_else(content: Any) -> str:
    """Says what a file without a network that this project knows is."""
    for place, tensors in _dictionaries(content):
        if place[:1] != ("optimizer",):
            where = f" in {'.'.join(place)}" if place else ""
            names = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:3])
            return f"not a network that this project knows: there are {names}{where}"
    if objects := ", ".join(classes_in(content)[:3]):
        return f"not the weights of a network: it holds an object of {objects}, which is no dictionary"
    if not isinstance(content, dict):
        return f"not a dictionary of tensors but a {type(content).__name__}"
    if {"state", "param_groups"} <= set(content):
        return "not a network: this is the state of an optimiser, whose weights are saved elsewhere"
    keys = ", ".join(map(str, list(content)[:5]))
    return f"not a network: {f'it holds {keys} and no tensors by name' if keys else 'it is empty'}"
