"""What can be set: the schema of the configs, one dataclass a group.

Settings are dataclasses, so that a typo fails while composing. A component (the model) is YAML with a
`_target_`, and its schema is the signature of what it names.

`MISSING` values come from the YAML files in `configs/`, or must be given on the command line.
"""

from dataclasses import dataclass, field
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
    num_classes: int | None = MISSING
    """As many as there are names in `classes` if null."""
    classes: str | None = None
    """File of class names, in any of the forms of data/README.md."""
    subset: str | None = None
    """File of class names, one a line: only videos of these are used; the network keeps an output for every class."""
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
    """Training: what follows the last frame: released (the first) or clamped (the last again)."""
    jitter: list[int] = MISSING
    """Training: smallest and largest short side in pixels."""
    crop: int = MISSING
    """Training: side of the square crop in pixels."""
    flip: bool = True
    """Training: mirror left and right every second time."""


@dataclass
class ProtocolConfig:
    """How a video is tested; as in configs/protocol/full_10.yaml unless said otherwise."""

    name: str = "full_10"
    """Its file in configs/protocol/; filled in by the tool."""
    num_clips: int = 10
    placement: str = "released"
    """Where clips start, and what follows the last frame: a key of PLACEMENTS in data/clips.py."""
    crops: str = "full"
    """full, the whole frame; or squares: 1 in the centre, 3 along the longer side."""
    short_side: int | None = None
    """In pixels; 256/224 of the training crop if null."""
    flips: bool = False
    """Whether each crop is seen mirrored left and right, too."""
    combine: str = "mean"
    """Of the views' scores: mean, or max."""
    fps: float | None = None
    """As in ClipConfig; as the network was trained if null."""


@dataclass
class OptimConfig:
    """How to train."""

    lr: float = MISSING
    """Learning rate at a global batch of `reference_batch` clips; scales with the global batch."""
    reference_batch: int = MISSING
    clips_per_device: int = MISSING
    """Clips that pass through the network together, in each process."""
    steps: int = MISSING
    schedule: str = "steps"
    """steps: divided by ten at each milestone; cosine: to 0 at the last step."""
    milestones: list[int] = MISSING
    """Steps at which the learning rate is divided by ten."""
    warmup_steps: int = 0
    """Steps in which the learning rate first grows from 0, linearly."""
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    """Not of batch normalisation."""
    clip_norm: float | None = None
    """Gradients of a larger norm are scaled down to it; null for no limit."""
    backbone_lr: float = 1.0
    """Fine-tuning: factor of the learning rate of all but the classifier; 0 trains the classifier only."""
    sync_bn: bool = False
    """Batch normalisation over the clips of all GPUs, not of each."""
    precise_bn: int = 0
    """Batches of each process whose statistics replace the running averages for evaluation; 0 keeps these."""
    nonfinite: str = "stop"
    """A loss or gradient that is not finite: stop, or skip and count the step."""


@dataclass
class InitConfig:
    """Weights to start from, besides random ones."""

    weights: str | None = None
    """All but the classifier: ImageNet weights (torchvision's state dict, or the released Caffe2 .pkl), inflated over
    time; a checkpoint of a run; or a .safetensors file that training or tools/import_weights.py wrote."""


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
    channels_last: bool = True
    """Memory format of the feature maps: channels last, or first."""
    compile: bool = False
    """torch.compile."""
    recompute: bool = False
    """Activation checkpointing: residual blocks keep their inputs only, and compute the rest again for the gradient."""
    fused: bool = True
    """PyTorch's fused optimiser step."""
    timeout_s: float = 1800.0
    """How long a process waits for the others before it gives up."""
    log_every: int = 20
    checkpoint_every: int = 200
    keep_checkpoints: int = 2
    """The newest ones; the best is kept besides."""
    validate_every: int = 0
    """Steps between validations by single clips; 0 for none."""
    chunk: int | None = None
    """Testing: views of a video that run through the network together; what suits the device and their size if null."""


@dataclass
class RowConfig:
    """A row of a table."""

    run: str | None = None
    """Its experiment, below configs/experiment; null for a number of other people."""
    change: list[str] = field(default_factory=list)
    """What the row changes of it, as on the command line."""
    start: str | None = None
    """The one of `parents` whose weights it begins with."""
    paper: list[float] | None = None
    """Top-1 and top-5 that it should reach."""
    label: str | None = None
    """What readers call it; its name if null."""
    baseline: str | None = None
    """The row that it is compared with; the table's if null."""
    ceiling: float | None = None
    """The accuracy in percent that its network can reach at all; the table's if null."""


@dataclass
class TableConfig:
    """A table of the paper: a sweep over its rows."""

    title: str = MISSING
    baseline: str | None = None
    """The row that the others are compared with."""
    ceiling: float = 100.0
    parents: dict[str, RowConfig] = field(default_factory=dict)
    """Runs that rows begin with: trained first, and not shown."""
    rows: dict[str, RowConfig] = field(default_factory=dict)


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
    """Trains nothing: says what would run, and how long it would take by 20 measured steps."""
    table: TableConfig | None = None
    """In the tables of configs/experiment only."""
    row: str | None = None
    """The row of the table that a job is for."""
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
    subset: str | None = None
    format: str | None = None
    decoder: str | None = None
    decode_limit_s: float | None = None
    max_missing: float | None = None


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
    """A video, a folder (of videos, or of JPEG frames), a list, or several of these: [a.mp4,b.mp4]."""
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
    data: PredictDataConfig = field(default_factory=PredictDataConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
