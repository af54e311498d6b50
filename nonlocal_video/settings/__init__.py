"""The settings: dataclasses that check themselves, one default in one place."""

from nonlocal_video.settings.network import NetworkOptions
from nonlocal_video.settings.parts import (
    ClipConfig,
    DataConfig,
    InitConfig,
    MachineConfig,
    OptimConfig,
    ProtocolConfig,
    ReadConfig,
    RuntimeConfig,
)
from nonlocal_video.settings.tools import RUNS, PredictConfig, RowConfig, TableConfig, TestConfig, TrainConfig
from nonlocal_video.settings.values import NOT_GIVEN, settings_of
