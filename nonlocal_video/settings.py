"""What can be set: the schema of the configs, one dataclass a group.

Settings are dataclasses, so that a typo fails while composing. A component (the model) is YAML with a
`_target_`, and its schema is the signature of what it names.

`MISSING` values come from the YAML files in `configs/`, or must be given on the command line.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

MISSING: Any = "???"  # What OmegaConf takes for a value that was not given.


@dataclass
class DataConfig:
    """Which videos."""

    name: str = MISSING
    """What reports call the data set."""
    root: str | None = MISSING
    """The folder that relative paths of the lists start from; the working directory if null."""
    train: str = MISSING
    """List of training videos, in any of the forms of data/README.md."""
    val: str = MISSING
    """List of testing videos."""
    train_census: str | None = None
    """Folder of a census of `train` (tools/check_data.py); the videos that it found broken are taken out."""
    val_census: str | None = None
    """The same for `val`."""
    num_classes: int = MISSING
    classes: str | None = None
    """File of class names, in any of the forms of data/README.md."""
    format: str = "auto"
    """Of the lists, where their content leaves it open: one of FORMATS in data/manifest.py."""
    decoder: str = "pyav"
    """pyav, decord or torchcodec."""
    decode_limit_s: float | None = 60.0
    """Seconds for one video, after which it counts as failed; null for no limit."""
    max_missing: float = 0.05
    """The share of listed videos that may be missing before a run refuses to start."""
    max_failed: float = 0.01
    """Training: the share of drawn videos that may fail to decode before the run stops."""


@dataclass
class ClipConfig:
    """Which frames and pixels of a video."""

    length: int = MISSING
    """Frames of a clip."""
    stride: int = MISSING
    """From one frame of a clip to the next, in frames of the video."""
    fps: float | None = None
    """Frames a second to which videos are resampled by time before they are counted; as they are if null."""
    sampling: str = "released"
    """Where clips start and what follows the last frame: released (the first) or clamped (the last again)."""
    jitter: list[int] = MISSING
    """Training: smallest and largest short side in pixels."""
    crop: int = MISSING
    """Training: side of the square crop in pixels."""
    flip: bool = True
    """Training: mirror left and right every second time."""
    short_side: int = MISSING
    """Testing: short side in pixels, and side of the square crops."""
    num_clips: int = 10
    """Testing: clips a video."""
    num_crops: int = 3
    """Testing: 3 crops along the longer side, or 1, the centre."""


@dataclass
class OptimConfig:
    """How to train."""

    lr: float = MISSING
    """Learning rate at a global batch of `reference_batch` clips; scales with the global batch."""
    reference_batch: int = MISSING
    clips_per_device: int = MISSING
    """Clips that pass through the network together, in each process."""
    steps: int = MISSING
    milestones: list[int] = MISSING
    """Steps at which the learning rate is divided by ten."""
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4


@dataclass
class InitConfig:
    """Weights to start from, besides random ones."""

    imagenet: str | None = None
    """A torchvision ResNet state dict, or the released Caffe2 .pkl, inflated over time."""
    weights: str | None = None
    """A checkpoint of another run or a .safetensors file, for fine-tuning: everything but the classifier."""


@dataclass
class RuntimeConfig:
    """Where and how fast. With other devices, batch normalisation sees other clips together and dropout is another."""

    runs: str = "runs"
    """The folder of all runs."""
    devices: int = 1
    """Processes: one for each GPU, or on the CPU where there is none."""
    accumulate: int = 1
    """Passes of a step, whose gradients add up: 4 GPUs with 2 passes train as 8 GPUs do, on the same clips."""
    workers: int = 2
    """Loader processes for each of them."""
    threads: int | None = None
    """Threads of each process on the CPU; the cores divided by the processes if null."""
    precision: str = "fp32"
    """fp32, bf16 or fp16."""
    log_every: int = 20
    checkpoint_every: int = 200
    keep_checkpoints: int = 2
    chunk: int = 10
    """Testing: views of a video that run through the network together."""


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
    model: dict[str, Any] = MISSING
    data: DataConfig = field(default_factory=DataConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    init: InitConfig = field(default_factory=InitConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    choices: dict[str, str] = field(default_factory=dict)
    """Which file of each config group was taken; filled in by the tool."""


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
    format: str | None = None
    decoder: str | None = None
    decode_limit_s: float | None = None
    max_missing: float | None = None


@dataclass
class TestClipConfig:
    """Other views than those of the run; null is as in the run."""

    fps: float | None = None
    sampling: str | None = None
    short_side: int | None = None
    num_clips: int | None = None
    num_crops: int | None = None


@dataclass
class TestConfig:
    """The settings of tools/test.py."""

    run: str | None = None
    """The folder of a training run."""
    weights: str | None = None
    """Which of its checkpoints; the newest if null. A .safetensors file needs no run: it says its network and clips."""
    name: str | None = None
    """The report's folder in the run's `test` folder; made from clips x crops and the command line if null."""
    roots: dict[str, str] = field(default_factory=dict)
    """The folders of data sets on this machine, by their names in configs/data."""
    lists: dict[str, dict[str, str]] = field(default_factory=dict)
    """Their lists `train` and `val`, where they are not below the root."""
    data: TestDataConfig = field(default_factory=TestDataConfig)
    clip: TestClipConfig = field(default_factory=TestClipConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


OPERATIONAL = (
    "name",
    "runtime",
    "choices",
    "roots",
    "lists",
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
    "clip.short_side",
    "clip.num_clips",
    "clip.num_crops",
    "optim.clips_per_device",
    "optim.steps",
)
"""Settings that may change when a run is resumed; the global batch and the listed videos are compared themselves."""


def science(config: TrainConfig) -> dict[str, Any]:
    """The settings that make a run what it is, by their dotted names."""
    return {key: value for key, value in flat(asdict(config)).items() if not within(key, OPERATIONAL)}


def config_hash(config: TrainConfig) -> str:
    """Names the scientific settings in 12 characters."""
    return _hash(science(config))


def recipe_hash(config: TrainConfig) -> str:
    """Names the scientific settings but for seed and data: what the runs of one row of a table share."""
    recipe = {k: v for k, v in science(config).items() if not within(k, ("seed", "data", "model.num_classes"))}
    return _hash({**recipe, "optim.steps": config.optim.steps})


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
