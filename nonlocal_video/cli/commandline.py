"""The command line as people write it: paths need none of Hydra's quotes, and what it refuses is answered in words."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_origin, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString, Sweep
from hydra.errors import HydraException

from nonlocal_video.runs.recipe import CONFIGS
from nonlocal_video.settings import DetectionConfig, MachineConfig, PredictConfig, TestConfig, TrainConfig
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


PATHS = frozenset().union(*map(_paths, (TrainConfig, DetectionConfig, TestConfig, PredictConfig)))
PATHS_BY_NAME = tuple(f"machine.{name}." for name in get_type_hints(MachineConfig))
"""How the settings begin that name files and folders, one for each data set."""


def with_quotes(arguments: Sequence[str]) -> list[str]:
    """The words of a command line, with Hydra's quotes around the values that it would not take as they stand."""
    sweeps = not {"-m", "--multirun", "hydra.mode=MULTIRUN"}.isdisjoint(arguments)
    return [_with_quotes(word, sweeps=sweeps) for word in arguments]


def expected_instead(word: str) -> str:
    """Says what to write instead of a word that cannot be read."""
    key, equals, value = word.partition("=")
    if equals and _is_key(key):
        return f"expected a value in quotes: {key}={_quoted(value)}"
    return "expected SETTING=VALUE, such as seed=1 or video=a.mp4"


def _with_quotes(word: str, *, sweeps: bool) -> str:
    """`video=a (1).mp4` -> `video='a (1).mp4'`; the same word if Hydra reads it as it is meant.

    `sweeps` says whether `a,b` are several values, for several jobs.
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
    """The value that Hydra reads; None if it cannot."""
    try:
        return OverridesParser.create().parse_rule(text, rule)
    except HydraException:
        return None


def _quoted(text: str) -> str:
    """In quotes; a `${` without its end begins no interpolation."""
    return QuotedString(re.sub(r"\$\{(?![^}]*\})", r"\\${", text), Quote.single).with_quotes()


# What Hydra refuses


def explain(error: Exception, words: Sequence[str], settings: Mapping[str, Any], *, tool: str) -> str:
    """Says what an error of Hydra means for the words that were typed, and what to write instead.

    `settings` has all that there are by their dotted names, with their values if nobody says another.
    """
    text, cause = str(error), "" if error.__cause__ is None else str(error.__cause__)
    both = f"{cause}\n{text}"
    where = re.search(r"full_key: (\S+)", both)
    unknown = re.match(r"Could not override '([^']+)'|Could not delete from config\. '([^']+)'", text)
    if unknown or (where and re.match(r"Key '.*' (?:is )?not in", text)):
        key = (unknown[1] or unknown[2]) if unknown else str(where and where[1])
        return f"{key}: there is no such setting{_nearest(key, settings)}; python tools/{tool} --help lists all"
    if absent := re.search(r"Could not find '([^'/]+)/([^']+)'\s+Available options", text):
        return _no_option(absent[1], absent[2])
    if name := re.search(r"Interpolation key '([^']*)' not found", both):
        return _not_interpolated(name[1], words, where=where and where[1])
    if where is None:
        return f"{text} ({cause.splitlines()[0]})" if cause else text
    return f"{where[1]}: {(cause or text).splitlines()[0]}"


def _no_option(group: str, name: str) -> str:
    """The files of a group of configs that may have been meant."""
    folder = CONFIGS / group
    known = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))
    near = get_close_matches(name, known, n=4, cutoff=0.5)
    return f"{group}: there is no {group}={name}, " + (
        f"the nearest: {', '.join(near)}; all are in configs/{group}" if near else f"expected one of {', '.join(known)}"
    )


def _nearest(key: str, settings: Mapping[str, Any]) -> str:
    """The settings that may have been meant: those of the same last word elsewhere, and those that are spelt alike."""
    last = key.rpartition(".")[2]
    elsewhere = [name for name in settings if name.rpartition(".")[2] == last]
    alike = get_close_matches(key, settings, n=1, cutoff=0.7)
    endings = {name.rpartition(".")[2]: name for name in reversed(list(settings))}
    spelt = [endings[word] for word in get_close_matches(last, endings, n=1, cutoff=0.7)]
    found = list(dict.fromkeys([*elsewhere, *alike, *spelt]))[:3]
    told = [f"{name} ({settings[name]})" if settings[name] is not None else name for name in found]
    return f", the nearest: {', '.join(told)}" if told else ""


def _not_interpolated(name: str, words: Sequence[str], *, where: str | None) -> str:
    """A `${...}` stands for the value of a setting, which `where` asked for; in names of files a sign goes first."""
    sign, typed = f"${{{name}}}", next((word for word in words if f"${{{name}}}" in word), None)
    key = where if typed is None else typed.lstrip("+").partition("=")[0]
    said = f"got {sign}, which stands for the value of the setting {name}, and there is no such setting"
    said = said if key is None else f"{key}: {said}"
    if typed is None:
        return f"{said}; a name that holds the sign $ itself is written \\{sign}"
    return f"{said}; if it is in the name of a file or folder: {shlex.quote(typed.replace(sign, chr(92) + sign))}"
