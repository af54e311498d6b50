"""What can be set: the schema of the configs, one dataclass a group.

Settings are dataclasses, so that a typo fails while composing. A component (the model) is YAML with a
`_target_`, and its schema is the signature of what it names.
"""

from nonlocal_video.settings.parts import (
    MISSING,
    NOT_GIVEN,
    ClipConfig,
    DataConfig,
    InitConfig,
    OptimConfig,
    ProtocolConfig,
    RuntimeConfig,
)
from nonlocal_video.settings.table import RowConfig, TableConfig
from nonlocal_video.settings.tools import PredictConfig, PredictDataConfig, TestConfig, TestDataConfig, TrainConfig

__all__ = [
    "MISSING",
    "NOT_GIVEN",
    "ClipConfig",
    "DataConfig",
    "InitConfig",
    "OptimConfig",
    "PredictConfig",
    "PredictDataConfig",
    "ProtocolConfig",
    "RowConfig",
    "RuntimeConfig",
    "TableConfig",
    "TestConfig",
    "TestDataConfig",
    "TrainConfig",
]
