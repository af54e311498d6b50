"""Networks of settings. Settings are plain data, whoever wrote them: what names code is the user's word alone.

The networks are those of `models.zoo`. Only their pairwise function may be one that the project does not have, and only
`own_function` imports it: its caller has it from the command line or from a YAML below configs/, never from a file of
a run, of weights or of a report.
"""

import pkgutil
import re
import reprlib
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import Pairwise, name_of
from nonlocal_video.models.pairwise import PAIRWISE
from nonlocal_video.models.zoo import build_model

TARGET = "nonlocal_video.models.build_model"
"""What earlier versions wrote as `model._target_` of every run."""
PLAIN = bool | int | float | str | None


def network_of(model: Mapping[str, Any], *, where: str, pairwise: Pairwise | None = None) -> Classifier:
    """The network of plain options, which name no code.

    Args:
        model: `name`, `num_classes` and other options of `build_model`.
        where: what has these options, for errors.
        pairwise: the function that its user has named, if it is not one of the project's.

    Raises:
        ValueError: an option that cannot be, or a pairwise function that nobody has named.
    """
    options = plain_model(model, where=where)
    for key, kind in (("name", str), ("num_classes", int)):
        if not isinstance(options.get(key), kind):
            raise ValueError(f"{where}.{key}: got {reprlib.repr(options.get(key))}, expected {kind.__name__}")
    if pairwise is not None:
        options["pairwise"] = pairwise
    elif is_foreign(options.get("pairwise")):
        raise ValueError(f"{where}.pairwise: {_refusal(options['pairwise'])}")
    try:
        return build_model(**options)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error


def composed_network(model: Mapping[str, Any]) -> Classifier:
    """The network of options that the user has composed, with a function of his own if he names one.

    Raises:
        ValueError: the network cannot be built with these options.
    """
    return network_of(model, where="model", pairwise=own_function(model.get("pairwise")))


def plain_model(model: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """The options of a network in the one form that is kept and compared.

    Raises:
        ValueError: a value that is not plain, such as one that names code.
    """
    options = dict(model)
    target = options.pop("_target_", TARGET)
    if target != TARGET:
        got = reprlib.repr(target)
        raise ValueError(f"{where}._target_: got {got}, which names code; expected options of a network only")
    for key, value in options.items():
        places = key == "nonlocal_blocks" and isinstance(value, list) and all(isinstance(one, str) for one in value)
        if not (key == "pairwise" or places or isinstance(value, PLAIN)):
            raise ValueError(f"{where}.{key}: got {reprlib.repr(value)}, expected a plain value")
    if "pairwise" in options:
        options["pairwise"] = plain_word(options["pairwise"], where=f"{where}.pairwise")
    return options


def plain_word(word: Any, *, where: str = "model.pairwise") -> Any:
    """What names a pairwise function, in the one form that is kept and compared; nothing is imported.

    Args:
        word: a key of `PAIRWISE`; the dotted name of what makes one from a number of channels, my_package.MyFunction;
            or {_target_: my_package.MyFunction, _partial_: true, ...} with its other arguments, or without _partial_
            for a module that each block copies.

    Raises:
        ValueError: something else.
    """
    if word is None or isinstance(word, str):
        return word
    if not isinstance(word, dict) or not isinstance(word.get("_target_"), str):
        raise ValueError(f"{where}: got {reprlib.repr(word)}, expected {_expected()}")
    target, makes = word["_target_"], word.get("_partial_", False)
    arguments = {key: value for key, value in word.items() if key not in ("_target_", "_partial_")}
    for key, value in arguments.items():
        if not isinstance(value, PLAIN) or not re.fullmatch(r"[A-Za-z]\w*", str(key)):
            raise ValueError(f"{where}.{key}: got {reprlib.repr(value)}, expected a plain argument of {target}")
    if not isinstance(makes, bool):
        raise ValueError(f"{where}._partial_: got {reprlib.repr(makes)}, expected true or false")
    if makes and not arguments:
        return target
    return {"_target_": target, **({"_partial_": True} if makes else {}), **arguments}


def is_foreign(word: Any) -> bool:
    """Whether a plain word names a pairwise function that the project does not have."""
    return word is not None and not (isinstance(word, str) and word in PAIRWISE)


def own_function(word: Any) -> Pairwise | None:
    """Imports the pairwise function that the user has named; None where it is one of the project's.

    Raises:
        ValueError: Python does not find it, or it is no function.
    """
    word = plain_word(word)
    if not is_foreign(word):
        return None
    target, made, arguments = _parts(word)
    if "." not in target:
        raise ValueError(f"model.pairwise: got {target!r}, expected {_expected()}")
    try:
        found = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"model.pairwise: {target} cannot be imported: {error}; PYTHONPATH=FOLDER tells where your package is"
        ) from error
    if made:
        return _checked(found if not arguments else partial(found, **arguments), target)
    try:
        return _checked(_checked(found, target)(**arguments), target)
    except TypeError as error:
        raise ValueError(f"model.pairwise: {target}: {error}") from error


def function_for(stored: Any, word: Any, *, where: str, command: str) -> Pairwise | None:
    """The function of a trained network, if the project does not have it: what its user says is what its file names.

    Args:
        stored: what the file names, in plain values.
        word: what the user says; None if nothing.
        where: the file, for errors.
        command: what the user has typed, for errors.

    Raises:
        ValueError: the user has not named it, or has named another one.
    """
    stored, word = plain_word(stored, where=f"{where}: model.pairwise"), plain_word(word)
    if word is None:
        if is_foreign(stored):
            raise ValueError(f"{where}: its pairwise function: {_refusal(stored, command)}")
        return None
    function = own_function(word)
    if word != stored and not (function is not None and name_of(function) == stored):
        raise ValueError(f"model.pairwise: got {_text(word)}, expected {_text(stored)}, that of {where}")
    return function


def _parts(word: Any) -> tuple[str, bool, dict[str, Any]]:
    """The dotted name; whether it makes a function from a number of channels; the other arguments."""
    if isinstance(word, str):
        return word, True, {}
    arguments = {key: value for key, value in word.items() if key not in ("_target_", "_partial_")}
    return word["_target_"], "_partial_" in word, arguments


def _checked(found: Any, target: str) -> Any:
    if not callable(found):
        raise ValueError(f"model.pairwise: {target} is {reprlib.repr(found)}, expected a class or function of channels")
    return found


def _refusal(stored: Any, command: str | None = None) -> str:
    """Why a name in a file is not enough, and the line that is."""
    target = _parts(stored)[0]
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target, re.ASCII):
        return f"got {reprlib.repr(target)}, expected {', '.join(PAIRWISE)}"
    line = f"\n  {command} {as_setting(stored)}" if command else f" {as_setting(stored)}"
    return f"got {target}, code that the project does not have. If you know and trust it, name it yourself:{line}"


def as_setting(word: Any) -> str:
    """What names a pairwise function, as it is typed in a shell."""
    return shlex.quote(f"model.pairwise={_text(word)}")


def _text(word: Any) -> str:
    """A plain word as on the command line."""
    if not isinstance(word, dict):
        return "null" if word is None else str(word)
    return "{" + ", ".join(f"{key}: {_value(value)}" for key, value in word.items()) + "}"


def _value(value: PLAIN) -> str:
    """A plain value in Hydra's words."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z_][\w.]*", value, re.ASCII):
        return str(value)
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{quoted}'"


def _expected() -> str:
    return f"one of {', '.join(PAIRWISE)}, or the name of a class of your own, such as my_package.MyFunction"
