"""Which settings make a run what it is, and which may change."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from nonlocal_video.models.options import LATER as LATER_OPTIONS
from nonlocal_video.settings import TrainConfig

OPERATIONAL = (
    "name",
    "runtime",
    "choices",
    "roots",
    "lists",
    "starts",
    "data.root",
    "data.train",
    "data.val",
    "data.train_census",
    "data.val_census",
    "data.classes",
    "data.format",
    "data.decode_limit_s",
    "data.max_missing",
    "data.max_failed",
    "optim.clips_per_device",
    "optim.steps",
    "schedule",
    "test",
    "dry_run",
    "table",
    "row",
)
"""Settings that may change when a run is resumed; the global batch and the listed videos are compared themselves."""

LATER = {**{f"model.{name}": value for name, value in LATER_OPTIONS.items()}, "init.part": None}
"""Settings that came later, with their defaults; where nobody set them a run is the one that it was without them."""


def science(config: TrainConfig) -> dict[str, Any]:
    """The settings that make a run what it is, by their dotted names."""
    settings = {k: v for k, v in flat(asdict(config)).items() if k not in LATER or v not in (None, LATER[k])}
    kept = {key: value for key, value in settings.items() if not within(key, OPERATIONAL)}
    # A cosine is another one with another length; steps only go on.
    return kept if config.optim.schedule == "steps" else {**kept, "optim.steps": config.optim.steps}


def config_hash(config: TrainConfig) -> str:
    """Names the scientific settings in 12 characters."""
    return _hash(science(config))


def recipe_hash(config: TrainConfig) -> str:
    """Names the scientific settings but for seed and data: what the runs of one row of a table share."""
    recipe = {k: v for k, v in science(config).items() if not within(k, ("seed", "data", "model.num_classes"))}
    return _hash({**recipe, "optim.steps": config.optim.steps})


def row_key(config: TrainConfig) -> str:
    """Names what makes a row of a table, whatever the seed, the data and the length of the schedule.

    The runs of a row may differ in these, and are then marked; of the weights that they begin with only matters whether
    there are any, since their file is elsewhere on every machine.
    """
    without = ("seed", "data", "model.num_classes", "optim.milestones", "optim.steps", "optim.warmup_steps", "init")
    kept = {k: v for k, v in science(config).items() if not within(k, without)}
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
