"""The identity of a run: which settings make it what it is, which may change, and which its name tells."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from nonlocal_video.settings.network import LATER as LATER_OPTIONS
from nonlocal_video.settings.tools import RunConfig

OPERATIONAL = (
    "name", "task", "runtime", "choices", "machine", "data.root", "data.train", "data.val", "data.train_census",
    "data.val_census", "data.train_images", "data.val_images", "data.classes", "data.format", "data.decode_limit_s",
    "data.max_missing", "data.max_failed", "optim.clips_per_device", "optim.steps", "schedule", "test", "dry_run",
    "table", "row", "by_default",
)  # fmt: skip
"""Settings that may change when a run is resumed; the global batch and the listed videos are compared themselves."""
LATER = {
    **{f"model.{name}": value for name, value in LATER_OPTIONS.items()},
    "init.part": None,
    "optim.warmup_from": 0.0,
    "optim.kind": "sgd",
    "optim.bias_lr": 1.0,
}
"""Settings that came later, with their defaults; where nobody set them a run is the one that it was without them."""
UNNAMED = (
    "name", "run", "runtime", "machine", "data.root", "data.classes", "data.max_missing", "data.train_images",
    "data.val_images", "detections",
    "data.train_census", "data.val_census", "save_views", "test", "dry_run", "row",
)  # fmt: skip
"""Settings that do not go into the name of a run or of a report."""
FILES = ("init.weights", "weights", "data.train", "data.val", "data.subset")
"""Settings that name files; a name has those of the files, without their folders and extensions."""
LONGEST = 120
"""Letters of a name that is made of settings."""


def identity(config: RunConfig) -> dict[str, Any]:
    """The settings that make a run what it is, by their dotted names."""
    settings = {k: v for k, v in flat(asdict(config)).items() if k not in LATER or v not in (None, LATER[k])}
    kept = {key: value for key, value in settings.items() if not within(key, OPERATIONAL)}
    # A cosine is another one with another length; steps only go on.
    return kept if config.optim.schedule == "steps" else {**kept, "optim.steps": config.optim.steps}


def changes(old: RunConfig, new: RunConfig) -> list[tuple[str, Any, Any]]:
    """The settings that make two runs different, each with its old and its new value."""
    before, after = identity(old), identity(new)
    keys = sorted(before | after)
    return [(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def config_hash(config: RunConfig) -> str:
    """Names the settings that make a run what it is in 12 characters."""
    return _hash(identity(config))


def recipe_hash(config: RunConfig) -> str:
    """Names what the runs of one row of a table share, all but seed and data, in 12 characters."""
    recipe = {k: v for k, v in identity(config).items() if not within(k, ("seed", "data", "model.num_classes"))}
    return _hash({**recipe, "optim.steps": config.optim.steps})


def row_key(config: RunConfig) -> str:
    """Names what makes a row of a table, whatever the seed, the data and the length of the schedule.

    The runs of a row may differ in these, and are then marked. Whether they begin with weights matters, but not with
    which file, since that is elsewhere on every machine.
    """
    without = ("seed", "data", "model.num_classes", "optim.milestones", "optim.steps", "optim.warmup_steps", "init")
    kept = {k: v for k, v in identity(config).items() if not within(k, without)}
    return _hash({**kept, "init": config.init.weights is not None})


def _hash(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def within(key: str, names: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of these or lies below one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries by their dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, inner in value.items() for k, v in flat(inner, f"{prefix}.{key}" if prefix else key).items()}


def key_of(override: str) -> str:
    """The setting that a word of the command line is about."""
    return override.lstrip("+~").partition("=")[0]


def run_name(words: Sequence[str]) -> str:
    """The words of a name, joined so that it pastes unquoted; of a long one the end becomes a hash."""
    pasted = [re.sub(r"[^A-Za-z0-9.-]+", "_", word).strip("_") for word in words]
    name = "-".join(word for word in pasted if word)
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    kept = name[: LONGEST - 1 - len(digest)]
    return f"{kept.rpartition('-')[0] or kept}-{digest}"


def words_of(overrides: Sequence[str], *, unnamed: tuple[str, ...] = UNNAMED, by_folder: bool = False) -> list[str]:
    """The words of a name, from the command line of a run.

    experiment=miniature/nl_c2d seed=1 -> miniature_nl_c2d, seed_1. The name of one's own data comes first, then
    the network; it stands for their lists.

    Args:
        by_folder: files of one name in two folders give different words, by a hash of the whole path.
    """
    given = [(key_of(word), _plain(word.partition("=")[2])) for word in overrides]
    own = {"data": "custom", "data.name": None} if any(key == "data.name" for key, _ in given) else {}
    unnamed = (*unnamed, "data.train", "data.val") if own and not by_folder else unnamed
    first = ["experiment", "data.name", *(["model"] if own else [])]
    words = []
    for key, value in sorted(given, key=lambda pair: (first.index(pair[0]) if pair[0] in first else 3, "=".join(pair))):
        if within(key, unnamed) or (key in own and own[key] == value):
            continue
        setting = key.rpartition(".")[2]
        if key in FILES and value not in ("null", "best"):
            words += _file_words(setting, value, by_folder=by_folder)
        else:
            words.append(value if key in ("experiment", "data.name") else f"{setting}_{value}")
    return words


def _plain(value: str) -> str:
    """A value of the command line without Hydra's quotes; a sweep passes on `True` for `true`."""
    if value in ("True", "False"):
        return value.lower()
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if re.fullmatch(r"'.*'|\".*\"", value, re.DOTALL) else value


def _file_words(setting: str, value: str, *, by_folder: bool) -> list[str]:
    """`weights_nl_i3d`; the run of `model.safetensors`; nothing of a file that only says what its setting does."""
    path = PurePath(value)
    file = path.parent.name if path.stem == "model" and path.parent.name else path.stem
    parts = [setting, file] if file != setting else [setting]
    if by_folder:
        return ["_".join([*parts, _hash({"path": value})[:4]] if len(path.parts) > 1 else parts)]
    return ["_".join(parts)] if len(parts) > 1 else []
