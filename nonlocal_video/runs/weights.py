"""The weights of a test: a file, that file as if it were a run, and videos that have moved."""

import reprlib
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from nonlocal_video.engine.checkpoint import newest_checkpoint
from nonlocal_video.models.weights.file import network_options, read_model_file
from nonlocal_video.models.weights.given import SOURCES, check_network, check_there
from nonlocal_video.models.weights.published import Published
from nonlocal_video.runs.network import plain_model
from nonlocal_video.settings import (
    ClipConfig,
    DataConfig,
    OptimConfig,
    ProtocolConfig,
    TestConfig,
    TrainConfig,
    settings_of,
)

MAX_TESTED_PIXELS = 2**34
"""Pixels of all clips of a video, as a file of weights may ask for: 52 GB."""
LONGEST = 999
"""Letters of what such a file says of one thing."""


def find_weights(run: Path, weights: str | None, *, steps: int) -> tuple[Path, list[str]]:
    """The file that `weights` stands for, and what to know about the choice.

    Args:
        weights: a file; None for a run's newest whole checkpoint, "best" for its best one.
        steps: those of the finished run.

    Raises:
        ValueError: the run has no such checkpoint.
    """
    if weights not in (None, "best"):
        return Path(str(weights)), []
    newest, content, problems = newest_checkpoint(run / "checkpoints")
    if newest is None:
        raise ValueError(f"{run}: no checkpoint yet; train it first, or name a file with weights=...")
    notes = [f"passed over: {problem}" for problem in problems]
    if content["step"] < steps:
        notes.append(f"this run is not finished: its newest whole checkpoint is of step {content['step']} of {steps}")
    if weights is None:
        return newest, notes
    if content["best"] is None:
        raise ValueError(f"{run}: weights=best: it was not validated while it trained (runtime.validate_every)")
    return run / "checkpoints" / f"step_{int(content['best']['step']):08d}.pt", notes


def check_given(config: TestConfig) -> None:
    """Makes sure that there is a run to test, or a file of weights that says its network.

    Raises:
        ValueError: neither is given, the file is not there, or alone does not say its network.
    """
    if config.weights is None and config.run is None:
        raise ValueError(f"these settings need a value: run=runs/NAME, or weights=FILE.safetensors; {SOURCES}")
    if config.weights in (None, "best"):
        return
    path = Path(str(config.weights))
    if config.run is not None:
        check_there(path)
    elif path.parent.name == "checkpoints":
        raise ValueError(
            f"weights: got {path}, a checkpoint of a run, which needs its run, too: run={path.parent.parent}"
        )
    else:
        check_network(path)


def published_of(weights: str | None) -> dict[str, Any] | None:
    """What is published of the model in a file of weights, if it says so: fields of `Published`.

    Raises:
        ValueError: no such file, it says something else, or a protocol by which a video would not fit into the memory.
    """
    if weights is None or not weights.endswith(".safetensors"):
        return None
    head = read_model_file(weights, with_weights=False)
    if head.published is not None:
        _check_fields(head.published, Published, where=f"{weights}: published")
        protocol = head.published["protocol"]
        settings_of(ProtocolConfig, protocol, where=f"{weights}: published.protocol.")
        options, side = network_options(head, where=weights), protocol.get("short_side")
        frames = protocol.get("num_clips", 1) * options.clip_length
        if not 0 < frames * (side or options.crop) ** 2 <= MAX_TESTED_PIXELS:
            raise ValueError(f"{weights}: damaged: its published protocol has {frames} frames of {side} pixels")
    return head.published


def _check_fields(content: Any, kind: type, *, where: str) -> None:
    """Raises: ValueError: something else than a value of its type for each of the fields of a dataclass."""
    hints = get_type_hints(kind)
    if not isinstance(content, dict) or content.keys() != hints.keys():
        raise ValueError(f"{where}: got {reprlib.repr(content)}, expected values of {', '.join(hints)}")
    for name, value in content.items():
        hint = dict if get_origin(hints[name]) is dict else hints[name]
        fits = isinstance(value, hint) or (isinstance(value, int) and isinstance(0.0, hint))
        if not fits or len(str(value)) > LONGEST:
            expected = getattr(hint, "__name__", hint)
            raise ValueError(f"{where}.{name}: got {reprlib.repr(value)}, expected {expected}")


def run_of_file(config: TestConfig) -> TrainConfig:
    """What a run with the network of a .safetensors file would be."""
    assert config.weights is not None, "it was checked"
    val, head = config.data["val"], read_model_file(config.weights, with_weights=False)
    plain_model(head.options, where=f"{config.weights}: model")
    options = network_options(head, where=config.weights)
    if val is None:
        raise ValueError(
            "weights without a run need to know the videos: data=kinetics400 data.root=FOLDER, or data.val=LIST"
        )
    name, crop = str(config.data["name"] or Path(str(val)).stem), options.crop
    classes, labels = options.num_classes, "one" if options.activation == "softmax" else "video"
    data = {"name": name, "train": str(val), "val": str(val), "num_classes": classes, "labels": labels}
    return TrainConfig(
        name=Path(config.weights).stem,
        model=options,
        data=settings_of(DataConfig, data),
        clip=ClipConfig(length=options.clip_length, stride=options.clip_stride, jitter=[crop, crop], crop=crop),
        optim=OptimConfig(lr=0.0, reference_batch=1, clips_per_device=1, steps=1),
        choices={"model": options.name or options.depth, "data": name},
    )


def move(data: DataConfig, root: str | None) -> None:
    """Moves the data set to another root; files below the old one move along, unless only the old ones exist."""
    if root is None:
        return
    for name in ("train", "val", "classes"):
        path = getattr(data, name)
        if path is not None and data.root is not None and Path(path).is_relative_to(data.root):
            moved = Path(root) / Path(path).relative_to(data.root)
            if moved.exists() or not Path(path).exists():
                setattr(data, name, str(moved))
    data.root = root
