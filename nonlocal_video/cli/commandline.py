"""The command line as people write it: a path needs none of the quotes that Hydra's grammar asks for."""

import re
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import get_args, get_origin, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString, Sweep
from hydra.errors import HydraException

from nonlocal_video.settings import MachineConfig, PredictConfig, TestConfig, TrainConfig
from nonlocal_video.settings.values import File, Files


def _paths(settings: type, prefix: str = "") -> set[str]:
    """The settings below a dataclass that name files and folders."""
    found = set[str]()
    for name, kind in get_type_hints(settings, include_extras=True).items():
        if isinstance(kind, type) and is_dataclass(kind):
            found |= _paths(kind, f"{prefix}{name}.")
        elif get_origin(kind) is not dict and {File, Files} & {kind, *get_args(kind)}:
            found.add(prefix + name)
    return found


PATHS = frozenset().union(*map(_paths, (TrainConfig, TestConfig, PredictConfig)))
PATHS_BY_NAME = tuple(f"machine.{name}." for name in get_type_hints(MachineConfig))
"""How the settings begin that name files and folders, one for each data set."""


def with_quotes(arguments: Sequence[str]) -> list[str]:
    """The words of a command line, with Hydra's quotes around the values that it would not take as they stand."""
    sweeps = not {"-m", "--multirun", "hydra.mode=MULTIRUN"}.isdisjoint(arguments)
    return [_with_quotes(word, sweeps=sweeps) for word in arguments]


def expected_instead(word: str) -> str:
    """What to write instead of a word that cannot be read."""
    key, equals, value = word.partition("=")
    if equals and _is_key(key):
        return f"expected a value in quotes: {key}={_quoted(value)}"
    return "expected SETTING=VALUE, such as seed=1 or video=a.mp4"


def _with_quotes(word: str, *, sweeps: bool) -> str:
    """`video=a (1).mp4` -> `video='a (1).mp4'`; the same word if Hydra reads it as it is meant.

    Args:
        sweeps: whether `a,b` are several values, for several jobs.
    """
    key, equals, value = word.partition("=")
    if not equals or key.startswith(("-", "~")) or not _is_key(key):
        return word
    override = _read(word, "override")
    if not isinstance(override, Override):
        return f"{key}={_several(value, sweeps=sweeps)}"
    name = key.lstrip("+")
    is_path = name in PATHS or name.startswith(PATHS_BY_NAME)
    return f"{key}={_quoted(value)}" if is_path and _is_mistaken(override.value(), value, sweeps=sweeps) else word


def _several(text: str, *, sweeps: bool) -> str:
    """Quotes around a value that Hydra cannot read: around each of its parts if it is a list, or one for a sweep."""
    if re.fullmatch(r"\[[^\[\]]*\]", text):
        return f"[{','.join(map(_part, text[1:-1].split(',')))}]"
    return ",".join(map(_part, text.split(","))) if sweeps else _quoted(text)


def _part(text: str) -> str:
    override = _read(f"x={text}", "override")
    if isinstance(override, Override) and not _is_mistaken(override.value(), text.strip(), sweeps=True):
        return text
    return _quoted(text.strip())


def _is_mistaken(value: object, text: str, *, sweeps: bool) -> bool:
    """Whether Hydra reads the text of a path as something else: 1_0 as 10, a,b as two values."""
    if isinstance(value, ChoiceSweep) and value.simple_form:
        return not sweeps
    if value is None or isinstance(value, Sweep | list | dict):
        return False
    told = text.startswith(("'", '"')) or "\\" in text or _read(text, "function") is not None  # In Hydra's own words.
    return not told and str(value) != text


def _is_key(text: str) -> bool:
    return _read(f"{text}=0", "override") is not None


def _read(text: str, rule: str) -> object:
    """What Hydra reads; None if it cannot."""
    try:
        return OverridesParser.create().parse_rule(text, rule)
    except HydraException:
        return None


def _quoted(text: str) -> str:
    """In quotes; a `${` without its end begins no interpolation."""
    return QuotedString(re.sub(r"\$\{(?![^}]*\})", r"\\${", text), Quote.single).with_quotes()
