"""What each tool can be told."""

from dataclasses import field
from typing import Any

from pydantic.dataclasses import dataclass

from nonlocal_video.settings.network import Options
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
from nonlocal_video.settings.table import TableConfig
from nonlocal_video.settings.values import CHECKED, Count, File, Files, Natural, Positive
from nonlocal_video.settings.vocabulary import Length, Lines, TaskName


@dataclass(config=CHECKED, kw_only=True)
class TrainConfig:
    """The settings of tools/train.py."""

    name: str | None = None
    """The run's folder in runtime.runs; made from the command line if null."""
    task: TaskName = "single_label"
    """What is learned; filled in by the tool, from the labels of the data."""
    seed: Natural = 0
    machine: MachineConfig = field(default_factory=MachineConfig)
    model: Options
    data: DataConfig
    clip: ClipConfig
    optim: OptimConfig
    init: InitConfig = field(default_factory=InitConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    schedule: Length = "full"
    """full; or half or quarter: so many of the steps and milestones of `optim`."""
    test: str | None = None
    """The protocol, a file of configs/protocol, that the run is tested with as soon as it is trained."""
    dry_run: bool = False
    """Trains nothing: does all that a start does before its first step, and says how long it would take."""
    table: TableConfig | None = None
    """In the tables of configs/experiment only."""
    row: str | None = None
    """The row of the table that a job is for."""
    choices: dict[str, str] = field(default_factory=dict)
    """Which file of each config group was taken; filled in by the tool."""
    by_default: list[str] = field(default_factory=list)
    """The groups that nobody chose for these data; filled in by the tool."""


RUNS: dict[str, type[TrainConfig]] = {"single_label": TrainConfig, "multi_label": TrainConfig}
"""The settings of a run, with those of its network, data and clips, by its task."""


@dataclass(config=CHECKED)
class FunctionConfig:
    """What has to be told of a trained network that its file cannot: code that the project does not have."""

    pairwise: Any = None
    """The pairwise function, my_package.MyFunction, where the project does not have it; as in training."""


@dataclass(config=CHECKED, kw_only=True)
class TestConfig:
    """The settings of tools/test.py."""

    run: File | None = None
    """The folder of a training run."""
    weights: File | None = None
    """A checkpoint, or best: that of the best single-clip validation; the newest if null. A .safetensors file needs no
    run: it says its network and clips."""
    name: str | None = None
    """The report's folder in the run's `test` folder; made from the protocol and the command line if null."""
    machine: MachineConfig = field(default_factory=MachineConfig)
    model: FunctionConfig = field(default_factory=FunctionConfig)
    data: dict[str, Any] = field(default_factory=dict)
    """Settings of DataConfig for other videos than those of the run; null is as in the run."""
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    save_views: bool = False
    """Whether the predictions hold the scores of every view, too."""
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


@dataclass(config=CHECKED, kw_only=True)
class PredictConfig:
    """The settings of tools/predict.py."""

    weights: File
    """A .safetensors file, which says its network, clips and classes."""
    video: Files
    """A video, a folder (of videos, or of frames), a list, or several of these: [a.mp4,b.mp4]."""
    format: Lines = "text"
    """text, jsonl (a JSON object a line) or csv."""
    out: File | None = None
    """The file that predictions go to; the screen if null."""
    top: Count = 5
    """How many classes are shown."""
    every_s: Positive | None = None
    """A clip every so many seconds, from the first frame to the last, instead of the protocol's clips."""
    over_time: File | None = None
    """Folder for the scores along each video: a CSV and a picture; a clip a second if every_s is null."""
    features: File | None = None
    """The .npz file that pooled features of each clip go to, instead of predictions."""
    machine: MachineConfig = field(default_factory=MachineConfig)
    model: FunctionConfig = field(default_factory=FunctionConfig)
    data: ReadConfig = field(default_factory=ReadConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        """Raises: ValueError: features are wanted beside predictions."""
        if self.features and (self.over_time or self.out):
            raise ValueError("features=FILE is instead of predictions: give it without out and over_time")
