"""What to say of a command line that Hydra refuses, in the words of this project."""

import re
import shlex
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from nonlocal_video.runs.recipe import CONFIGS


def explain(error: Exception, words: Sequence[str], settings: Mapping[str, Any], *, tool: str) -> str:
    """What is wrong with the words of a command line, and what to write instead.

    Args:
        error: of Hydra or OmegaConf.
        words: as they were typed.
        settings: all that there are by their dotted names, with their values if nobody says another.
        tool: the file of the tool, for its help.
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
    """A `${...}` stands for the value of a setting; in the name of a file it needs a sign before it.

    Args:
        where: the setting that asked for the value, if it is known: perhaps by way of the one that was typed.
    """
    sign, typed = f"${{{name}}}", next((word for word in words if f"${{{name}}}" in word), None)
    key = where if typed is None else typed.lstrip("+").partition("=")[0]
    said = f"got {sign}, which stands for the value of the setting {name}, and there is no such setting"
    said = said if key is None else f"{key}: {said}"
    if typed is None:
        return f"{said}; a name that holds the sign $ itself is written \\{sign}"
    return f"{said}; if it is in the name of a file or folder: {shlex.quote(typed.replace(sign, chr(92) + sign))}"
