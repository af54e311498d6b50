"""The weights of a test: their file, that file as if it were a run, and the network with them."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.engine.checkpoint import newest_checkpoint, read_checkpoint
from nonlocal_video.models.nonlocal_block import Pairwise, pairwise_name
from nonlocal_video.models.weights.file import load_model, load_weights, network_options, read_model_file
from nonlocal_video.models.weights.given import SOURCES, check_network, check_there
from nonlocal_video.models.weights.published import Published
from nonlocal_video.runs.network import network_of, plain_model
from nonlocal_video.settings import CocoConfig, DataConfig, ProtocolConfig, TestConfig, TrainConfig, settings_of
from nonlocal_video.settings.network import LATER
from nonlocal_video.settings.values import expect
from nonlocal_video.system.distributed import local_device
from nonlocal_video.tasks import task_of

MAX_TESTED_PIXELS = 2**34
"""Pixels of all clips of a video, as a file of weights may ask for: 52 GB."""
LONGEST = 999
"""Letters that a file of weights may say of one thing."""


def find_weights(run: Path, weights: str | None, *, steps: int) -> tuple[Path, list[str]]:
    """The file that `weights` stands for (None: a run's newest whole checkpoint, best: its best), and notes on it.

    Raises:
        ValueError: the run, of so many steps, has no such checkpoint.
    """
    if weights not in (None, "best"):
        return Path(str(weights)), []
    newest, content, problems = newest_checkpoint(run / "checkpoints", mapped=True)
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
    """Raises ValueError unless there is a run to test, or a file of weights that says its network."""
    if config.weights is None and config.run is None:
        raise ValueError(f"these settings need a value: run=runs/NAME, or weights=FILE.safetensors; {SOURCES}")
    if config.weights in (None, "best"):
        return
    path = Path(str(config.weights))
    if config.run is not None:
        check_there(path)
        return
    if path.parent.name == "checkpoints":
        needed = f"which needs its run, too: run={path.parent.parent}"
        raise ValueError(f"weights: got {path}, a checkpoint of a run, {needed}")
    check_network(path)


def published_of(weights: str | None) -> dict[str, Any] | None:
    """The fields of `Published` of the model in a file of weights, if the file has them.

    Raises ValueError: other fields, or a protocol by which a video would not fit into the memory.
    """
    if weights is None or not weights.endswith(".safetensors"):
        return None
    head = read_model_file(weights, with_weights=False)
    if head.published is not None:
        for key, value in head.published.items():
            letters = len(f"{key}{value}")
            expect(letters <= LONGEST, f"{weights}: published.{key[:40]}", f"{letters} letters", f"up to {LONGEST}")
        settings_of(Published, head.published, where=f"{weights}: published.")
        protocol = head.published["protocol"]
        settings_of(ProtocolConfig, protocol, where=f"{weights}: published.protocol.")
        options, side = network_options(head, where=weights), protocol.get("short_side")
        frames = protocol.get("num_clips", 1) * options.clip_length
        if not 0 < frames * (side or options.crop) ** 2 <= MAX_TESTED_PIXELS:
            raise ValueError(f"{weights}: damaged: its published protocol has {frames} frames of {side} pixels")
    return head.published


def run_of_file(config: TestConfig) -> TrainConfig:
    """The settings that a run with the network of a .safetensors file would have."""
    assert config.weights is not None, "it was checked"
    val, head = config.data["val"], read_model_file(config.weights, with_weights=False)
    plain_model(head.options, where=f"{config.weights}: model")
    options = network_options(head, where=config.weights)
    if val is None:
        videos = "data=kinetics400 data.root=FOLDER, or data.val=LIST"
        raise ValueError(f"weights without a run need to know the videos: {videos}")
    name, crop = str(config.data["name"] or Path(str(val)).stem), options.crop
    classes, labels = options.num_classes, "one" if options.activation == "softmax" else "video"
    plain = {
        "name": Path(config.weights).stem,
        "model": options,
        "data": {"name": name, "train": str(val), "val": str(val), "num_classes": classes, "labels": labels},
        "clip": {"length": options.clip_length, "stride": options.clip_stride, "jitter": [crop, crop], "crop": crop},
        "optim": {"lr": 0.0, "reference_batch": 1, "clips_per_device": 1, "steps": 1},
        "choices": {"model": options.name or options.depth, "data": name},
    }
    return settings_of(TrainConfig, plain, where=f"{config.weights}: ")


def moved(data: DataConfig | CocoConfig, root: str | None) -> dict[str, Any]:
    """The settings of data, at another root; files below the old one move along, unless only the old ones exist."""
    plain = asdict(data)
    if root is None:
        return plain
    for name in ("train", "train_images", "val", "val_images", "classes"):
        path = plain.get(name)
        if path is not None and data.root is not None and Path(path).is_relative_to(data.root):
            there = Path(root) / Path(path).relative_to(data.root)
            if there.exists() or not Path(path).exists():
                plain[name] = str(there)
    return {**plain, "root": root}


class TrainedNetwork(NamedTuple):
    """A network with its weights, and what their file says of them."""

    model: Any
    """A `Classifier`, or a `Detector`."""
    weights_hash: str
    classes: list[str] | None = None
    """The names of the classes, where they are known."""
    batch_norm: str = ""
    """The statistics that it normalises with: running averages of training, precise statistics, or those of a file."""
    step: int | None = None
    """The steps that it was trained for, where they are known."""
    census: dict[str, object] | None = None
    """The census of the videos or images that it was trained on, where it is known."""
    commit: str | None = None
    """The commit of the code that trained it, where it is known."""
    published: dict[str, Any] | None = None


def load(
    path: Path, run: TrainConfig, *, classes: list[str] | None, pairwise: Pairwise | None, channels_last: bool
) -> TrainedNetwork:
    """The network of a run with the weights of a checkpoint or of a .safetensors file, on the device.

    Args:
        classes: the names of the classes, where the data tell them.
        pairwise: the pairwise function of the network, where the user has named it: files do not name code.

    Raises:
        ValueError: not such a file, one of another network, or for other classes than those of the videos.
    """
    read = (_read_file if path.suffix == ".safetensors" else _read_run)(path, run, pairwise)
    options, expected = read.model.options, task_of(run.data).activation
    if options.activation != expected:
        wanted = f"expected a {expected} with data.labels={run.data.labels}"
        raise ValueError(f"{path}: its scores are of a {options.activation}, {wanted}")
    if options.num_classes != run.data.num_classes:
        wanted = f"expected {run.data.num_classes}, those of {run.data.name}"
        raise ValueError(f"{path}: got weights for {options.num_classes} classes, {wanted}")
    read.model.lay_out(channels_last=channels_last)
    read.model.to(local_device())
    return read._replace(classes=classes or read.classes)


def _read_file(path: Path, run: TrainConfig, pairwise: Pairwise | None) -> TrainedNetwork:
    """A .safetensors file, which says its network; that of a run that was named with it has to be the same."""
    head = read_model_file(path, with_weights=False)
    stored = head.options.get("pairwise")
    if pairwise is not None and pairwise_name(pairwise) != stored:
        raise ValueError(f"{path}: has the pairwise function {stored}, got model.pairwise={pairwise_name(pairwise)}")
    model = load_model(path, pairwise=pairwise)
    if network_options(head, where=path) != run.model:
        of_run = network_of(run.model, where="model of the run", pairwise=pairwise)
        own, expected = model.plain_options(), of_run.plain_options()
        differ = [key for key in own if key not in ("name", "dropout", "num_classes") and own[key] != expected[key]]
        if differ:
            told = "; ".join(f"{key}: got {own[key]}, expected {expected[key]}" for key in differ)
            raise ValueError(f"{path}: weights of another network than that of the run: {told}")
    weights_hash, published = hash_weights(model), published_of(str(path))
    return TrainedNetwork(model, weights_hash, head.classes, "as in the file", published=published)


def _read_run(path: Path, run: TrainConfig, pairwise: Pairwise | None) -> TrainedNetwork:
    """A checkpoint of a run."""
    content = read_checkpoint(path)
    model = network_of(run.model, where="model of the run", pairwise=pairwise)
    precise, facts = content["precise_bn"], content["facts"]
    load_weights(model, {**content["model"], **(precise or {})}, where=path)
    found = TrainedNetwork(model, hash_weights(model), None, "precise" if precise else "running averages")
    return found._replace(step=content["step"], census=facts.get("census"), commit=facts.get("commit"))


def hash_weights(model: Any) -> str:
    """Names the weights of a network, its normalisation and its options in 12 characters."""
    options = {key: value for key, value in model.plain_options().items() if (key, value) not in LATER.items()}
    sums = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            sums.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            sums.update(tensor.cpu().contiguous().numpy().tobytes())
    return sums.hexdigest()[:12]
