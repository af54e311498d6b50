"""The settings: dataclasses that check themselves, one default in one place."""

from nonlocal_video.settings.images import CocoConfig, ImageConfig
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
from nonlocal_video.settings.tools import (
    RUNS,
    DetectionConfig,
    PredictConfig,
    RowConfig,
    RunConfig,
    TableConfig,
    TestConfig,
    TrainConfig,
)
from nonlocal_video.settings.values import NOT_GIVEN, settings_of
