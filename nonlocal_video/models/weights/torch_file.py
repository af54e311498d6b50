"""Files that `torch.save` wrote, read without running the code in them.

People's checkpoints hold settings, histories and schedulers as objects of code that is not here. PyTorch's safe reader
refuses all of these. Here the tensors are read, and each class is a stand-in made for the file, so that nothing that
the file names is imported or called: of an object its class's name is left, and nothing else.
"""

import os
import pickle
import pickletools
import re
import struct
import zipfile
import zlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, BinaryIO

import torch
from torch import Tensor

BROKEN = (
    OSError, pickle.UnpicklingError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError,
    OverflowError, RuntimeError, TypeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""The errors of damaged archives and pickles: their own, and whatever their bytes happen to ask for."""
MAX_CLASSES = 1000
_CLASS = "class of the pickled object"


def read_torch_file(path: str | os.PathLike[str], *, with_objects: bool = False, mapped: bool = False) -> Any:
    """The content of a file that `torch.save` wrote, on the CPU; no code in the file is run.

    Args:
        with_objects: whether it may hold more than tensors and plain values, for which there are stand-ins.
        mapped: whether tensors stay on the disk until they are used, without a look at their checksums.

    Raises:
        ValueError: no such file, a damaged one, or one that holds more than it may; says what.
    """
    try:
        if mapped:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        with open(path, "rb") as file:  # By its name PyTorch would take a .safetensors file for one.
            _check_sums(file)
            try:
                return torch.load(file, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError:
                if not with_objects:
                    raise
                return _load_with_stand_ins(file)
    except BROKEN as error:
        raise ValueError(f"{path}: cannot be read as a file of weights: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """PyTorch's complaint about a file, without its advice to read it unsafely."""
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

    Raises ValueError for a damaged file or a program. One from before PyTorch 1.6 is no zip archive and has no sums.
    """
    if file.read(4) == b"PK\x03\x04":
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


class _Object:
    """Stands for an object with a state of its own, whatever it was made of."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _load_with_stand_ins(file: BinaryIO) -> Any:
    """The content of a file with stand-ins for the objects in it, which take items as dictionaries do, or else none.

    Raises ValueError for objects that cannot be left out, and what `torch.load` raises of damage and of programs.
    """
    names = _classes(file)
    if len(names) > MAX_CLASSES:
        raise ValueError(f"it names {len(names)} classes, expected up to {MAX_CLASSES}")
    failure: Exception
    for as_items in (True, False):
        stand_ins: list[Any] = [_stand_in(name, as_items and not name.startswith("numpy")) for name in names]
        file.seek(0)
        try:
            with torch.serialization.safe_globals(stand_ins):
                return torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, TypeError, ValueError) as error:
            failure = error
    objects = [name for name in names if not name.startswith(("torch.", "collections.OrderedDict", "_codecs"))]
    if not objects or "whose module" in str(failure):  # Damaged, or it wants to start programs.
        raise failure
    raise ValueError(
        f"it holds objects ({', '.join(objects[:3])}) that cannot be left out, expected its tensors alone. Where "
        'their code is installed, and if you trust the file, since this runs code in it: python -c "import torch; '
        f"torch.save(torch.load('{file.name}', weights_only=False)['state_dict'], 'state.pth')\""
    ) from failure


def _stand_in(full_name: str, as_items: bool) -> type:
    """A class of this name and nothing behind it; with `as_items` its objects are dictionaries; numpy's never are."""

    def new(_: type, *__: object) -> OrderedDict[str, object]:
        made: OrderedDict[str, object] = OrderedDict()
        vars(made)[_CLASS] = full_name
        return made

    module, _, name = full_name.rpartition(".")
    return type(name, (_Object,), {"__module__": module, **({"__new__": new} if as_items else {})})


def _classes(file: BinaryIO) -> list[str]:
    """All that the pickles of a file name: their words are looked at, none is acted on."""
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


def _class_of(value: object) -> str | None:
    """The class of an object that has a stand-in."""
    if isinstance(value, _Object):
        return f"{type(value).__module__}.{type(value).__name__}"
    name = vars(value).get(_CLASS) if type(value) is OrderedDict else None
    return None if name is None else str(name)  # The file may have put anything there.


def classes_in(content: object) -> list[str]:
    """The classes of all objects that have stand-ins in the content of a file, in alphabetical order."""
    found, waiting, seen = set[str](), [content], set[int]()
    while waiting:
        here = waiting.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        if name := _class_of(here):
            found.add(name)
        waiting += dict.values(here) if isinstance(here, dict) else here if isinstance(here, list | tuple) else ()
    return sorted(found)


def module_tensors(content: object) -> dict[str, Tensor]:
    """Parameters and buffers of a module that was saved as an object, as its `state_dict` names them."""
    found, waiting, seen = {}, [("", content)], set[int]()
    while waiting:
        prefix, module = waiting.pop(0)
        if _class_of(module) is None or id(module) in seen:
            continue
        seen.add(id(module))
        parts = [vars(module).get(kind) for kind in ("_parameters", "_buffers", "_modules")]
        parameters, buffers, modules = (part if isinstance(part, dict) else {} for part in parts)
        tensors = {name: tensor for name, tensor in {**parameters, **buffers}.items() if isinstance(tensor, Tensor)}
        found.update({f"{prefix}{name}": tensor for name, tensor in tensors.items()})
        waiting += [(f"{prefix}{name}.", module) for name, module in modules.items()]
    return found
