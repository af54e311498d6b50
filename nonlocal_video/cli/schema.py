"""The dataclasses of settings as Hydra needs them: which settings there are, and their defaults."""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from nonlocal_video.settings import (
    ClipConfig,
    CocoConfig,
    DataConfig,
    ImageConfig,
    NetworkOptions,
    PredictConfig,
    RunConfig,
    TestConfig,
    TrainConfig,
)
from nonlocal_video.settings.detector import DetectorOptions

MISSING = "???"
"""OmegaConf's word for a value that nobody gave."""


def schema(kind: type, **parts: Any) -> DictConfig:
    """All settings of a tool by their names.

    What is checked of their values is checked by the dataclasses: OmegaConf's own schemas know neither words nor
    several kinds of values.

    Args:
        parts: what stands for some of the settings, instead.
    """
    config = OmegaConf.create({**_defaults(kind), **parts})
    config.pop("task", None)  # It follows from the data.
    for names in config.machine.values():  # Whatever data sets there are.
        OmegaConf.set_struct(names, False)
    return config


def _defaults(kind: Any) -> dict[str, Any]:
    found, hints = dict[str, Any](), get_type_hints(kind)
    for item in fields(kind):
        part = hints[item.name]
        if isinstance(part, type) and is_dataclass(part):
            found[item.name] = _defaults(part)
        elif item.default_factory is not NO_DEFAULT:
            found[item.name] = item.default_factory()
        else:
            found[item.name] = MISSING if item.default is NO_DEFAULT else item.default
    return found


def _names(*kinds: Any) -> dict[str, None]:
    return {item.name: None for kind in kinds for item in fields(kind)}


PARTS = {
    "model": _names(NetworkOptions, DetectorOptions),
    "data": {**_defaults(CocoConfig), "train_images": None, "val_images": None, **_defaults(DataConfig)},
    "image": {**_defaults(ImageConfig), "short_sides": None},
}
"""Defaults of the parts of a config that differ between runs on clips and runs on images: the fields of both."""


def settings_for(kind: type[RunConfig], plain: dict[str, Any]) -> dict[str, Any]:
    """Keeps, of all composed values, the settings that a kind of run has.

    Raises:
        ValueError: a value was given to a setting of another kind of run.
    """
    hints, kept, whole = get_type_hints(kind), dict(plain), {**PARTS, "clip": _defaults(ClipConfig)}
    for part, defaults in whole.items():
        known = _names(hints[part]) if part in hints else {}
        for name, value in plain[part].items():
            if name not in known and value not in (None, MISSING, defaults.get(name)):
                raise ValueError(f"{part}.{name}: got {value}, but a {kind.__name__} has no such setting")
        kept[part] = {name: value for name, value in plain[part].items() if name in known}
        if part not in hints:
            del kept[part]
    return kept


STORE = ConfigStore.instance().store
STORE("train_schema", schema(TrainConfig, **PARTS))
STORE("test_schema", schema(TestConfig, data=_names(DataConfig, CocoConfig)))
STORE("predict_schema", schema(PredictConfig))
