"""Networks of settings. Settings are plain data, whoever wrote them: what names code is the user's word alone.

Only the pairwise function of a network may be one that the project does not have, and only `own_function` imports it:
its caller has it from the command line or from a YAML below configs/, never from a file of a run, of weights or of a
report.
"""

import pkgutil
import re
import reprlib
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import Pairwise, pairwise_name
from nonlocal_video.models.pairwise import PAIRWISE
from nonlocal_video.models.zoo import build_network
from nonlocal_video.settings import NetworkOptions
from nonlocal_video.settings.values import expect

PLAIN = bool | int | float | str | None
LISTS = ("nonlocal_blocks", "head_blocks", "levels", "anchor_sizes")
"""Options that may be lists of words or numbers."""


def network_of(options: NetworkOptions, *, where: str, pairwise: Pairwise | None = None) -> Classifier:
    """The network of plain options, which name no code; `where` says in errors what has them.

    Args:
        pairwise: the function that its user has named, if it is not one of the project's.

    Raises:
        ValueError: an option that cannot be, or a pairwise function that nobody has named.
    """
    if pairwise is not None:
        options = replace(options, pairwise=pairwise)
    elif is_foreign(options.pairwise):
        raise ValueError(f"{where}.pairwise: {_refusal(options.pairwise)}")
    try:
        return build_network(options)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def composed_network(options: NetworkOptions) -> Classifier:
    """The network of options that the user has composed, with a function of his own if he names one."""
    return network_of(options, where="model", pairwise=own_function(options.pairwise))


def plain_model(model: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """The options of a network. Raises ValueError: a value that is not plain, such as one that names code."""
    if not isinstance(model, Mapping):
        raise ValueError(f"{where}: got {reprlib.repr(model)}, expected the options of a network")
    if "_target_" in model:
        got = reprlib.repr(model["_target_"])
        raise ValueError(f"{where}._target_: got {got}, which names code; expected options of a network only")
    for key, value in model.items():
        listed = key in LISTS and isinstance(value, list) and all(isinstance(item, str | int) for item in value)
        if not (listed or isinstance(value, PLAIN)):
            raise ValueError(f"{where}.{key}: got {reprlib.repr(value)}, expected a plain value")
    return dict(model)


def is_foreign(word: Any) -> bool:
    """Whether a word names a pairwise function that the project does not have."""
    return word is not None and not (isinstance(word, str) and word in PAIRWISE)


def own_function(word: Any) -> Pairwise | None:
    """Imports the pairwise function that the user has named; None where it is one of the project's.

    The word says where Python finds a module, or what makes one from a number of channels: my_package.MyFunction.

    Raises:
        ValueError: Python does not find it, or it is no function.
    """
    if not is_foreign(word):
        return None
    expected = f"one of {', '.join(PAIRWISE)}, or the name of a class of your own, such as my_package.MyFunction"
    expect(isinstance(word, str) and "." in word, "model.pairwise", repr(word), expected)
    try:
        found = pkgutil.resolve_name(word)
    except (ImportError, AttributeError, ValueError) as error:
        hint = "PYTHONPATH=FOLDER tells where your package is"
        raise ValueError(f"model.pairwise: {word} cannot be imported: {error}; {hint}") from error
    if not callable(found):
        raise ValueError(f"model.pairwise: {word} is {reprlib.repr(found)}, expected a class or function of channels")
    return found


def function_for(stored: Any, word: Any, *, where: str, command: str) -> Pairwise | None:
    """The function of a trained network, if the project does not have it: what its user says is what its file names.

    Args:
        stored, word: what the file names, and what the user says; None if nothing.
        where, command: the file, and what the user has typed, for errors.

    Raises:
        ValueError: the user has not named it, or has named another one.
    """
    if word is None:
        if is_foreign(stored):
            raise ValueError(f"{where}: its pairwise function: {_refusal(stored, command)}")
        return None
    function = own_function(word)
    if word != stored and not (function is not None and pairwise_name(function) == stored):
        raise ValueError(f"model.pairwise: got {word}, expected {stored}, that of {where}")
    return function


def _refusal(stored: Any, command: str | None = None) -> str:
    """Says why a name in a file is not enough, and which line is."""
    if not isinstance(stored, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", stored, re.ASCII):
        return f"got {reprlib.repr(stored)}, expected {', '.join(PAIRWISE)}"
    line = f"\n  {command} {as_setting(stored)}" if command else f" {as_setting(stored)}"
    return f"got {stored}, code that the project does not have. If you know and trust it, name it yourself:{line}"


def as_setting(word: Any) -> str:
    """The setting that names a pairwise function, as it is typed in a shell."""
    return shlex.quote(f"model.pairwise={word}")
