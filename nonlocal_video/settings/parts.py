"""The groups of settings that tools share.

`MISSING` values come from the YAML files in `configs/`, or must be given on the command line.
"""

from dataclasses import dataclass
from typing import Any

MISSING: Any = "???"  # What OmegaConf takes for a value that was not given.
NOT_GIVEN = "(not given)"  # What a dry run takes for the path of videos or weights that nobody gave.


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
    labels: str = "one"
    """one: each video has one class, a softmax over all; or several, with a sigmoid each, of which a training clip is
    taught those that it shows itself (clip) or all that its video shows at any time (video)."""
    format: str = "auto"
    """Of the lists, where their content leaves it open: one of FORMATS in data/lists/manifest.py."""
    frame_rate: float | None = None
    """Of folders of frames, a second; null if nobody knows, and then they cannot be sampled by time."""
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
    """A file of all but the classifier: ImageNet weights (names as in torchvision, timm and mmpretrain, or the released
    Caffe2 .pkl), inflated over time; a checkpoint of a run; a .safetensors file that training or
    tools/import_weights.py wrote; a checkpoint of PySlowFast, pytorchvideo or mmaction2."""
    part: str | None = None
    """Which network of a file that holds several, by the name that start-up prints, such as model_ema."""


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
