"""The groups of settings that tools share.

What has no default here is said by the YAML files in `configs/`, or has to be given on the command line.
"""

import re
from dataclasses import field
from typing import Annotated, Literal

from pydantic import BeforeValidator
from pydantic.dataclasses import dataclass

from nonlocal_video.settings.values import CHECKED, Count, File, Natural, NotNegative, Positive, Share, Steps, expect


@dataclass(config=CHECKED)
class MachineConfig:
    """Paths of this machine; meant for configs/local.yaml."""

    roots: dict[str, File] = field(default_factory=dict)
    """The folders of data sets, by their names in configs/data: {kinetics400: FOLDER}."""
    lists: dict[str, dict[str, File]] = field(default_factory=dict)
    """Their lists, where they are not below the root: {kinetics400: {train: FILE, val: FILE}}."""
    starts: dict[str, File] = field(default_factory=dict)
    """Files of weights that experiments start from: {imagenet_r50: FILE}."""


@dataclass(config=CHECKED, kw_only=True)
class ReadConfig:
    """How videos are read."""

    root: File | None = None
    """The folder that relative paths of the lists start from; the working directory if null."""
    classes: File | None = None
    """File of class names, in any of the forms of data/README.md."""
    format: str = "auto"
    """The form of the lists, where their content leaves it open: one of FORMATS in data/lists/manifest.py."""
    frame_rate: Positive | None = None
    """Frames a second of folders of frames; null if nobody knows, and then they cannot be sampled by time."""
    decoder: Literal["pyav", "decord", "torchcodec"] = "pyav"
    decode_limit_s: Positive | None = 60.0
    """Seconds for one video, or for one piece of a long one, after which it counts as failed; null for no limit."""


@dataclass(config=CHECKED, kw_only=True)
class DataConfig(ReadConfig):
    """Which videos."""

    name: str
    """The name of the data set in reports."""
    train: File
    """List of training videos, in any of the forms of data/README.md."""
    val: File
    """List of testing videos."""
    train_census: File | None = None
    """Folder of a census of `train` (tools/check_data.py); the videos that it found broken are taken out."""
    val_census: File | None = None
    """Folder of a census of `val`."""
    num_classes: Count | None
    """The number of names in `classes` if null."""
    subset: File | None = None
    """File of class names, one a line: only videos of these are used; the network keeps an output for every class."""
    labels: Literal["one", "clip", "video"] = "one"
    """one: each video has one class, a softmax over all; or several, with a sigmoid each, of which a training clip is
    taught those that it shows itself (clip) or all that its video shows at any time (video)."""
    max_missing: Share = 0.05
    """The share of listed videos that may be missing before a run refuses to start."""
    max_failed: Share = 0.01
    """Training: the share of drawn videos that may fail to decode before the run stops."""


@dataclass(config=CHECKED, kw_only=True)
class ClipConfig:
    """Which frames and pixels of a video."""

    length: Count
    """Frames of a clip."""
    stride: Count
    """From one frame of a clip to the next, in frames of the video."""
    fps: Positive | None = None
    """Frames a second to which videos are resampled by time before they are counted; as they are if null."""
    sampling: Literal["released", "clamped"] = "released"
    """Training: what follows the last frame: released (the first) or clamped (the last again)."""
    jitter: list[Count]
    """Training: smallest and largest short side in pixels."""
    crop: Count
    """Training: side of the square crop in pixels."""
    flip: bool = True
    """Training: mirror left and right every second time."""

    def __post_init__(self) -> None:
        """Raises ValueError: a clip cannot be cut out of the frames."""
        low, high = self.jitter if len(self.jitter) == 2 else (0, 0)
        expected = f"two short sides [low, high] with crop {self.crop} <= low <= high"
        expect(self.crop <= low <= high, "jitter", self.jitter, expected)


@dataclass(config=CHECKED)
class ProtocolConfig:
    """How a video is tested; as in configs/protocol/full_10.yaml unless said otherwise."""

    name: str = "full_10"
    """The protocol's file in configs/protocol/; filled in by the tool."""
    num_clips: Count = 10
    placement: Literal["released", "even", "pyslowfast", "mmaction2", "centred"] = "released"
    """The frames at which clips start, and what follows the last frame: a key of PLACEMENTS in data/clips.py."""
    crops: Annotated[Literal["full", "1", "3"], BeforeValidator(str)] = "full"
    """full, the whole frame; or squares: 1 in the centre, 3 along the longer side."""
    short_side: Count | None = None
    """In pixels; 256/224 of the training crop if null."""
    flips: bool = False
    """Whether each crop is seen mirrored left and right, too."""
    combine: Literal["mean", "max"] = "mean"
    """The mean, or the max, of the scores of the views."""
    fps: Positive | None = None
    """Frames a second, as in ClipConfig; those of training if null."""


@dataclass(config=CHECKED, kw_only=True)
class OptimConfig:
    """How to train."""

    lr: NotNegative
    """Learning rate at a global batch of `reference_batch` clips; scales with the global batch."""
    reference_batch: Count
    clips_per_device: Count
    """Clips that pass through the network together, in each process."""
    steps: Steps
    schedule: Literal["steps", "cosine"] = "steps"
    """steps: divided by ten at each milestone; cosine: to 0 at the last step."""
    milestones: list[Natural] = field(default_factory=list)
    """Steps at which the learning rate is divided by ten."""
    warmup_steps: Natural = 0
    """Steps in which the learning rate first grows to its value, linearly."""
    warmup_from: Share = 0.0
    """The share of the learning rate that the warm-up begins with."""
    kind: Literal["sgd", "adamw"] = "sgd"
    """sgd as in the paper, or adamw, with decoupled weight decay and PyTorch's betas."""
    bias_lr: NotNegative = 1.0
    """Detectors: factor of the learning rate of biases, which do not decay unless it is 1; Detectron has 2."""
    momentum: NotNegative = 0.9
    """Momentum of gradients without the learning rate, as PyTorch's; released MOMENTUM with SCALE_MOMENTUM True."""
    nesterov: bool = True
    """Released NESTEROV True; not in the paper."""
    weight_decay: NotNegative = 1e-4
    """Released WEIGHT_DECAY; not of batch normalisation, as released WEIGHT_DECAY_BN 0."""
    clip_norm: Positive | None = None
    """Gradients of a larger norm are scaled down to it; null for no limit."""
    backbone_lr: NotNegative = 1.0
    """Fine-tuning: factor of the learning rate of all but the classifier; 0 trains the classifier only."""
    sync_bn: bool = False
    """Batch normalisation over the clips of all GPUs, not of each."""
    precise_bn: Natural = 0
    """Batches of each process whose statistics replace the running averages for evaluation; 0 keeps these."""
    nonfinite: Literal["stop", "skip"] = "stop"
    """A loss or gradient that is not finite: stop, or skip and count the step."""

    def __post_init__(self) -> None:
        """Raises ValueError: settings that do not fit one another."""
        rises = all(a < b for a, b in zip(self.milestones, self.milestones[1:], strict=False))
        expect(rises, "milestones", self.milestones, "steps that rise")
        expect(not self.nesterov or self.momentum > 0, "momentum", self.momentum, "more than 0 with optim.nesterov")


@dataclass(config=CHECKED)
class InitConfig:
    """Weights to start from, besides random ones."""

    weights: File | None = None
    """A file of all but the classifier: ImageNet weights (names as in torchvision, timm and mmpretrain, or the released
    Caffe2 .pkl), inflated over time; a checkpoint of a run; a .safetensors file that training or
    tools/import_weights.py wrote; a checkpoint of PySlowFast, pytorchvideo or mmaction2."""
    part: str | None = None
    """Which network of a file that holds several, by the name that start-up prints, such as model_ema."""


@dataclass(config=CHECKED)
class RuntimeConfig:
    """Devices and speed. With other devices, batch normalisation sees other clips together and dropout is another."""

    runs: File = "runs"
    """The folder of all runs."""
    devices: Count | None = None
    """Processes: one for each GPU, or on the CPU where there is none. If null, all GPUs, or one process on the CPU."""
    accumulate: Count | None = None
    """Passes of a step, whose gradients add up: 4 GPUs with 2 passes train as 8 GPUs do, on the same clips. If null, as
    many as keep the global batch of a run that goes on, and 1 in a new one."""
    workers: Natural = 2
    """Loader processes for each of them."""
    threads: Count | None = None
    """Threads of each process on the CPU; the cores divided by the processes if null."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = True
    """Memory format of the feature maps: channels last, or first."""
    compile: bool = False
    """torch.compile."""
    recompute: bool = False
    """Activation checkpointing: residual blocks keep their inputs only, and compute the rest again for the gradient."""
    fused: bool = True
    """PyTorch's fused optimiser step."""
    timeout_s: Positive = 1800.0
    """How long a process waits for the others before it gives up."""
    log_every: Count = 20
    checkpoint_every: Count = 200
    keep_checkpoints: Count = 2
    """The newest ones; the best is kept besides."""
    validate_every: Natural = 0
    """Steps between validations by single clips; 0 for none."""
    chunk: Count | None = None
    """Testing: views of a video that run through the network together; what suits the device and their size if null."""


def check_name(name: str, *, setting: str = "name") -> str:
    """The name, if it pastes unquoted. Raises ValueError: it does not; says which setting gives another."""
    fits = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name) and len(name) <= 200
    expected = f"up to 200 letters, digits, '_', '.' and '-': give one with {setting}=NAME"
    expect(bool(fits), "name", repr(name), expected)
    return name
