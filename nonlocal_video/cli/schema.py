"""The dataclasses of settings as Hydra needs them: which settings there are, and their defaults."""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from nonlocal_video.settings import DataConfig, NetworkOptions, PredictConfig, TestConfig, TrainConfig

MISSING = "???"
"""What OmegaConf takes for a value that nobody gave."""


def schema(kind: type, **parts: Any) -> DictConfig:
    """All settings of a tool by their names.

    What is checked of their values is checked by the dataclasses: OmegaConf's own schemas know neither words nor
    several kinds of values.

    Args:
        parts: what stands for some of them, instead.
    """
    config = OmegaConf.create({**_defaults(kind), **parts})
    config.pop("task", None)  # It follows from the data.
    for names in config.machine.values():  # Whatever data sets there are.
        OmegaConf.set_struct(names, False)
    return config


def _defaults(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {item.name: _default(item, hints[item.name]) for item in fields(kind)}


def _default(item: Any, kind: Any) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        return _defaults(kind)
    if item.default is not NO_DEFAULT:
        return item.default
    return MISSING if item.default_factory is NO_DEFAULT else item.default_factory()


ConfigStore.instance().store(
    "train_schema", schema(TrainConfig, model={item.name: None for item in fields(NetworkOptions)})
)
ConfigStore.instance().store("test_schema", schema(TestConfig, data={item.name: None for item in fields(DataConfig)}))
ConfigStore.instance().store("predict_schema", schema(PredictConfig))
