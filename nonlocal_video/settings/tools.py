"""What each tool can be told."""

from dataclasses import dataclass, field
from typing import Any

from nonlocal_video.settings.parts import (
    MISSING,
    ClipConfig,
    DataConfig,
    InitConfig,
    OptimConfig,
    ProtocolConfig,
    RuntimeConfig,
)
from nonlocal_video.settings.table import TableConfig


@dataclass
class TrainConfig:
    """The settings of tools/train.py."""

    name: str | None = None
    """The run's folder in runtime.runs; made from the command line if null."""
    seed: int = 0
    roots: dict[str, str] = field(default_factory=dict)
    """The folders of data sets on this machine, by their names in configs/data."""
    lists: dict[str, dict[str, str]] = field(default_factory=dict)
    """Their lists `train` and `val`, where they are not below the root."""
    starts: dict[str, str] = field(default_factory=dict)
    """Files of weights on this machine that experiments start from, such as imagenet_r50."""
    model: dict[str, Any] = MISSING
    data: DataConfig = field(default_factory=DataConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    init: InitConfig = field(default_factory=InitConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    schedule: str = "full"
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


@dataclass
class TestDataConfig:
    """Other videos than those of the run; null is as in the run."""

    name: str | None = None
    root: str | None = None
    train: str | None = None
    val: str | None = None
    train_census: str | None = None
    val_census: str | None = None
    num_classes: int | None = None
    classes: str | None = None
    subset: str | None = None
    labels: str | None = None
    format: str | None = None
    frame_rate: float | None = None
    decoder: str | None = None
    decode_limit_s: float | None = None
    max_missing: float | None = None


@dataclass
class FunctionConfig:
    """What has to be told of a trained network that its file cannot: code that the project does not have."""

    pairwise: Any = None
    """The pairwise function, my_package.MyFunction, where the project does not have it; as in training."""


@dataclass
class TestConfig:
    """The settings of tools/test.py."""

    run: str | None = None
    """The folder of a training run."""
    weights: str | None = None
    """A checkpoint, or best: that of the best single-clip validation; the newest if null. A .safetensors file needs no
    run: it says its network and clips."""
    name: str | None = None
    """The report's folder in the run's `test` folder; made from the protocol and the command line if null."""
    roots: dict[str, str] = field(default_factory=dict)
    """The folders of data sets on this machine, by their names in configs/data."""
    lists: dict[str, dict[str, str]] = field(default_factory=dict)
    """Their lists `train` and `val`, where they are not below the root."""
    starts: dict[str, str] = field(default_factory=dict)
    """Files of weights on this machine that experiments start from, such as imagenet_r50."""
    model: FunctionConfig = field(default_factory=FunctionConfig)
    data: TestDataConfig = field(default_factory=TestDataConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    save_views: bool = False
    """Whether the predictions hold the scores of every view, too."""
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


@dataclass
class PredictDataConfig:
    """How the videos of tools/predict.py are read."""

    root: str | None = None
    """The folder that relative paths of a list start from; the working directory if null."""
    format: str = "auto"
    """Of a list, where its content leaves it open: one of FORMATS in data/lists/manifest.py."""
    frame_rate: float | None = None
    """As in DataConfig."""
    classes: str | None = None
    """File of class names, in any of the forms of data/README.md; those that the weights' file tells if null."""
    decoder: str = "pyav"
    """pyav, decord or torchcodec."""
    decode_limit_s: float | None = 60.0
    """Seconds for one video, or for one piece of a long one, after which it counts as failed; null for no limit."""


@dataclass
class PredictConfig:
    """The settings of tools/predict.py."""

    weights: str = MISSING
    """A .safetensors file, which says its network, clips and classes."""
    video: Any = MISSING
    """A video, a folder (of videos, or of frames), a list, or several of these: [a.mp4,b.mp4]."""
    format: str = "text"
    """text, jsonl (a JSON object a line) or csv."""
    out: str | None = None
    """The file that predictions go to; the screen if null."""
    top: int = 5
    """How many classes are shown."""
    every_s: float | None = None
    """A clip every so many seconds, from the first frame to the last, instead of the protocol's clips."""
    over_time: str | None = None
    """Folder for the scores along each video: a CSV and a picture; a clip a second if every_s is null."""
    features: str | None = None
    """The .npz file that pooled features of each clip go to, instead of predictions."""
    roots: dict[str, str] = field(default_factory=dict)
    """This and the next two: what configs/local.yaml holds for the other tools."""
    lists: dict[str, dict[str, str]] = field(default_factory=dict)
    starts: dict[str, str] = field(default_factory=dict)
    model: FunctionConfig = field(default_factory=FunctionConfig)
    data: PredictDataConfig = field(default_factory=PredictDataConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
