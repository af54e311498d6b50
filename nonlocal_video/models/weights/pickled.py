"""Checkpoints that hold objects beside tensors: the tensors are read, an object is its class's name and nothing else.

People's checkpoints hold settings, histories and schedulers as objects of code that is not here. PyTorch's safe reader
refuses all of these; here each class is a stand-in made for the file, so that nothing that the file names is imported
or called.
"""

import pickle
import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, BinaryIO

import torch
from torch import Tensor

_CLASS = "class of the pickled object"
MAX_CLASSES = 1000


class _Object:
    """Stands for an object with a state of its own, whatever it was made of."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def load_with_stand_ins(file: BinaryIO) -> Any:
    """The content of a file that `torch.save` wrote, on the CPU, with stand-ins for the objects that are in it.

    Raises:
        ValueError: classes without end.
        Exception: what `torch.load` raises of a damaged file, and of one that wants to start programs.
    """
    names = _classes(file)
    if len(names) > MAX_CLASSES:
        raise ValueError(f"it names {len(names)} classes, expected up to {MAX_CLASSES}")
    try:
        return _load(file, names, as_items=True)
    except (pickle.UnpicklingError, TypeError, ValueError):
        pass
    try:
        return _load(file, names, as_items=False)
    except (pickle.UnpicklingError, TypeError, ValueError) as error:
        objects = [name for name in names if not name.startswith(("torch.", "collections.OrderedDict", "_codecs"))]
        if not objects or "whose module" in str(error):  # Damaged, or it wants to start programs.
            raise
        raise ValueError(
            f"it holds objects ({', '.join(objects[:3])}) that cannot be left out, expected its tensors alone. Where "
            'their code is installed, and if you trust the file, since this runs code in it: python -c "import torch; '
            f"torch.save(torch.load('{file.name}', weights_only=False)['state_dict'], 'state.pth')\""
        ) from error


def _load(file: BinaryIO, names: list[str], *, as_items: bool) -> Any:
    """Args: as_items: whether objects may take items, as dictionaries do; numpy's never do."""
    stand_ins: list[Any] = [_stand_in(name, as_items=as_items and not name.startswith("numpy")) for name in names]
    file.seek(0)
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(file, map_location="cpu", weights_only=True)


def class_of(value: object) -> str | None:
    """The class of an object that has a stand-in."""
    if isinstance(value, _Object):
        return f"{type(value).__module__}.{type(value).__name__}"
    name = vars(value).get(_CLASS) if type(value) is OrderedDict else None
    return None if name is None else str(name)


def classes_in(content: object) -> Iterator[str]:
    """The classes of all objects that have stand-ins in the content of a file."""
    waiting, seen = [content], set[int]()
    while waiting:
        here = waiting.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        name = class_of(here)
        if name is not None:
            yield name
        waiting += dict.values(here) if isinstance(here, dict) else here if isinstance(here, list | tuple) else ()


def module_tensors(content: object) -> dict[str, Tensor]:
    """Parameters and buffers of a module that was saved as an object, as its `state_dict` names them."""
    found, waiting, seen = {}, [("", content)], set[int]()
    while waiting:
        prefix, module = waiting.pop(0)
        if class_of(module) is None or id(module) in seen:
            continue
        seen.add(id(module))
        parts = [vars(module).get(kind) for kind in ("_parameters", "_buffers", "_modules")]
        parameters, buffers, modules = (part if isinstance(part, dict) else {} for part in parts)
        named = {**parameters, **buffers}
        found.update({f"{prefix}{name}": one for name, one in named.items() if isinstance(one, Tensor)})
        waiting += [(f"{prefix}{name}.", one) for name, one in modules.items()]
    return found


def _classes(file: BinaryIO) -> list[str]:
    """All that the pickles of a file name: their words are looked at, none is acted on.

    Raises:
        ValueError, LookupError: a damaged file.
    """
    file.seek(0)
    if not zipfile.is_zipfile(file):
        file.seek(0)  # Before PyTorch 1.6: a magic number, a version, sizes, and the content.
        return sorted({name for _ in range(4) for name in _named(file)})
    with zipfile.ZipFile(file) as archive:
        entries = [entry for entry in archive.namelist() if entry.endswith("/data.pkl")]
        with archive.open(entries[0]) as content:
            return sorted(set(_named(content)))


def _named(content: Any) -> Iterator[str]:
    for operation, argument, _ in pickletools.genops(content):
        if operation.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            yield f"{module}.{name}"
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))  # Of Python 2.
            yield f"{module}.{name}"


def _stand_in(full_name: str, *, as_items: bool) -> type:
    """A class of this name and nothing behind it."""

    def new(_: type, *__: object) -> OrderedDict[str, object]:
        made: OrderedDict[str, object] = OrderedDict()
        vars(made)[_CLASS] = full_name
        return made

    module, _, name = full_name.rpartition(".")
    return type(name, (_Object,), {"__module__": module, **({"__new__": new} if as_items else {})})
