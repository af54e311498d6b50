"""What settings may be: each is checked once, before the work, with what was got and what is expected."""

import re
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import torch

from nonlocal_video.settings import ClipConfig, DataConfig, OptimConfig, ProtocolConfig, RuntimeConfig, TrainConfig
from nonlocal_video.settings.vocabulary import Combine, Crops, Labels, Placement, Sampling

SCHEDULES = {"full": 1, "half": 2, "quarter": 4}
"""By what the steps of a schedule are divided."""


def check_name(name: str, *, setting: str = "name") -> str:
    """A name that pastes unquoted.

    Args:
        setting: what gives another one.

    Raises:
        ValueError: other characters than letters, digits, `_`, `.` and `-`.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name) or len(name) > 200:
        raise ValueError(
            f"name: got {name!r}, expected up to 200 letters, digits, '_', '.' and '-': give one with {setting}=NAME"
        )
    return name


def check_known(settings: Any, prefix: str = "") -> None:
    """Makes sure that nothing was added to a tool's settings: `+` on the command line adds what nobody reads.

    Raises:
        ValueError: a setting that no tool reads.
    """
    known = {item.name for item in fields(settings)}
    for name, value in vars(settings).items():
        if name not in known:
            raise ValueError(f"{prefix}{name}: there is no such setting, expected one of {', '.join(sorted(known))}")
        if is_dataclass(value):
            check_known(value, f"{prefix}{name}.")


def check_training(config: TrainConfig) -> None:
    """The settings of a training run.

    Raises:
        ValueError: an impossible value.
    """
    _expect(len(config.clip.jitter) == 2, "clip.jitter", config.clip.jitter, "two short sides: [low, high]")
    low, high = config.clip.jitter
    _expect(config.seed >= 0, "seed", config.seed, "0 or more")
    _expect(
        config.clip.crop <= low <= high, "clip.jitter", config.clip.jitter, f"crop {config.clip.crop} <= low <= high"
    )
    for name in ("log_every", "checkpoint_every", "keep_checkpoints"):
        _expect(getattr(config.runtime, name) > 0, f"runtime.{name}", getattr(config.runtime, name), "1 or more")
    validate_every = config.runtime.validate_every
    _expect(validate_every >= 0, "runtime.validate_every", validate_every, "0 for none, or more")
    _check_optim(config.optim)
    _expect(config.schedule in SCHEDULES, "schedule", config.schedule, " or ".join(SCHEDULES))
    no_scaler = config.runtime.precision == "fp16" and not torch.cuda.is_available()
    _expect(not no_scaler, "runtime.precision", "fp16", "fp32 or bf16 to train without a GPU")
    check_shared(config.data, config.clip, config.runtime, elsewhere=config.dry_run)
    _check_scores(config)


def _check_scores(config: TrainConfig) -> None:
    """Raises: ValueError: the network's scores are not for such labels."""
    expected, labels = scores_for(config.data.labels), config.data.labels
    got = config.model.get("activation", expected)
    _expect(got == expected, "model.activation", got, f"{expected} with data.labels={labels}")


def scores_for(labels: str) -> str:
    """What makes scores of logits: a softmax where a video has one class, a sigmoid for each of several."""
    return "softmax" if labels == "one" else "sigmoid"


def _check_optim(optim: OptimConfig) -> None:
    """Raises: ValueError: an impossible value."""
    for name in ("steps", "clips_per_device", "reference_batch"):
        _expect(getattr(optim, name) > 0, f"optim.{name}", getattr(optim, name), "1 or more")
    for name in ("lr", "momentum", "weight_decay", "warmup_steps", "precise_bn", "backbone_lr"):
        _expect(getattr(optim, name) >= 0, f"optim.{name}", getattr(optim, name), "0 or more")
    rises = all(a < b for a, b in zip(optim.milestones, optim.milestones[1:], strict=False))
    _expect(rises, "optim.milestones", optim.milestones, "steps that rise")
    _expect(optim.schedule in ("steps", "cosine"), "optim.schedule", optim.schedule, "steps or cosine")
    _expect(optim.nonfinite in ("stop", "skip"), "optim.nonfinite", optim.nonfinite, "stop or skip")
    _expect(optim.clip_norm is None or optim.clip_norm > 0, "optim.clip_norm", optim.clip_norm, "more than 0, or null")
    nesterov = not optim.nesterov or optim.momentum > 0
    _expect(nesterov, "optim.momentum", optim.momentum, "more than 0 with optim.nesterov")
    _expect(not optim.sync_bn or torch.cuda.is_available(), "optim.sync_bn", True, "false: it needs GPUs, none is here")


def check_shared(data: DataConfig, clip: ClipConfig, runtime: RuntimeConfig, *, elsewhere: bool = False) -> None:
    """What training and testing have in common.

    Args:
        elsewhere: the GPUs are those of another machine, as in a dry run.

    Raises:
        ValueError: an impossible value.
    """
    _expect(data.labels in get_args(Labels), "data.labels", data.labels, " or ".join(get_args(Labels)))
    rate, limit_s = data.frame_rate, data.decode_limit_s
    _expect(rate is None or rate > 0, "data.frame_rate", rate, "more than 0, or null")
    _expect(limit_s is None or limit_s > 0, "data.decode_limit_s", limit_s, "more than 0, or null")
    for name in ("max_missing", "max_failed"):
        _expect(0 <= getattr(data, name) <= 1, f"data.{name}", getattr(data, name), "a share from 0 to 1")
    _expect(clip.length > 0 and clip.stride > 0, "clip.length, clip.stride", (clip.length, clip.stride), "1 or more")
    _expect(clip.fps is None or clip.fps > 0, "clip.fps", clip.fps, "more than 0, or null")
    _expect(clip.sampling in get_args(Sampling), "clip.sampling", clip.sampling, " or ".join(get_args(Sampling)))
    _expect(runtime.devices > 0, "runtime.devices", runtime.devices, "1 or more")
    _expect(runtime.accumulate > 0, "runtime.accumulate", runtime.accumulate, "1 or more")
    _expect(runtime.workers >= 0, "runtime.workers", runtime.workers, "0 or more")
    _expect(runtime.threads is None or runtime.threads > 0, "runtime.threads", runtime.threads, "1 or more, or null")
    _expect(runtime.timeout_s > 0, "runtime.timeout_s", runtime.timeout_s, "more than 0 seconds")
    _expect(runtime.chunk is None or runtime.chunk > 0, "runtime.chunk", runtime.chunk, "1 or more, or null")
    _expect(runtime.precision in ("fp32", "bf16", "fp16"), "runtime.precision", runtime.precision, "fp32, bf16 or fp16")
    gpus = 0 if elsewhere else torch.cuda.device_count()
    _expect(not gpus or runtime.devices <= gpus, "runtime.devices", runtime.devices, f"at most {gpus}, the GPUs here")


def check_protocol(protocol: ProtocolConfig) -> None:
    """How videos are tested.

    Raises:
        ValueError: an impossible value.
    """
    _expect(protocol.num_clips > 0, "protocol.num_clips", protocol.num_clips, "1 or more")
    for key, known in (("placement", Placement), ("crops", Crops), ("combine", Combine)):
        got, words = getattr(protocol, key), get_args(known)
        _expect(got in words, f"protocol.{key}", got, " or ".join(words))
    side, fps = protocol.short_side, protocol.fps
    _expect(side is None or side > 0, "protocol.short_side", side, "1 pixel or more, or null")
    _expect(fps is None or fps > 0, "protocol.fps", fps, "more than 0, or null")


def _expect(holds: bool, what: str, got: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"{what}: got {got}, expected {expected}")
