"""A network to test, with its weights and what their file says of them."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_video.engine.checkpoint import read_checkpoint
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import Pairwise, name_of
from nonlocal_video.models.weights.file import load_model, load_weights, network_options, read_model_file
from nonlocal_video.runs.network import network_of
from nonlocal_video.runs.weights import published_of
from nonlocal_video.settings import TrainConfig
from nonlocal_video.settings.network import LATER
from nonlocal_video.system.distributed import local_device
from nonlocal_video.tasks import task_of


class TrainedNetwork(NamedTuple):
    """A network with its weights, and what their file says of them."""

    model: Classifier
    weights_hash: str
    classes: list[str] | None
    """The names of the classes, where they are known."""
    batch_norm: str
    """What it normalises with: the running averages of training, precise statistics, or those of a file."""
    step: int | None = None
    """The steps that it was trained for, where they are known."""
    census: dict[str, object] | None = None
    """The census of the videos that it was trained on, where it is known."""
    commit: str | None = None
    """The commit of the code that trained it, where it is known."""
    published: dict[str, Any] | None = None


def load(
    path: Path, run: TrainConfig, *, classes: list[str] | None, pairwise: Pairwise | None, channels_last: bool
) -> TrainedNetwork:
    """The network of a run with the weights of a file, on the device.

    Args:
        path: a checkpoint, or a .safetensors file, which says its network itself.
        run: a run's settings, or what such a file says.
        classes: their names, where the data tell them.
        pairwise: the pairwise function of the network, where the user has named it: files do not name code.

    Raises:
        ValueError: not such a file, one of another network, or for other classes than those of the videos.
    """
    alone = path.suffix == ".safetensors"
    read = _read_file(path, run, pairwise) if alone else _read_run(path, run, pairwise)
    options, expected = read.model.options, task_of(run.data).activation
    if options.activation != expected:
        wanted = f"expected a {expected} with data.labels={run.data.labels}"
        raise ValueError(f"{path}: its scores are of a {options.activation}, {wanted}")
    if options.num_classes != run.data.num_classes:
        raise ValueError(
            f"{path}: got weights for {options.num_classes} classes, "
            f"expected {run.data.num_classes}, those of {run.data.name}"
        )
    read.model.lay_out(channels_last=channels_last)
    read.model.to(local_device())
    return read._replace(classes=classes or read.classes)


def _read_file(path: Path, run: TrainConfig, pairwise: Pairwise | None) -> TrainedNetwork:
    """A .safetensors file, which says its network; that of a run that was named with it has to be the same."""
    head = read_model_file(path, with_weights=False)
    stored = head.options.get("pairwise")
    if pairwise is not None and name_of(pairwise) != stored:
        raise ValueError(f"{path}: has the pairwise function {stored}, got model.pairwise={name_of(pairwise)}")
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


def hash_weights(model: Classifier) -> str:
    """Names the weights of a network, its normalisation and its options in 12 characters."""
    options = {key: value for key, value in model.plain_options().items() if (key, value) not in LATER.items()}
    sums = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            sums.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            sums.update(tensor.cpu().contiguous().numpy().tobytes())
    return sums.hexdigest()[:12]
