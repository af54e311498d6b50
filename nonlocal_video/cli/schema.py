"""The dataclasses of settings as Hydra needs them: which settings there are, and their defaults."""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from nonlocal_video.settings import DataConfig, NetworkOptions, PredictConfig, TestConfig, TrainConfig

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


STORE = ConfigStore.instance().store
STORE("train_schema", schema(TrainConfig, model={item.name: None for item in fields(NetworkOptions)}))
STORE("test_schema", schema(TestConfig, data={item.name: None for item in fields(DataConfig)}))
STORE("predict_schema", schema(PredictConfig))
