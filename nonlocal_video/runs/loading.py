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


class Loaded(NamedTuple):
    """A network with its weights, and what their file says of them."""

    model: Classifier
    weights_hash: str
    step: int | None
    """The steps that it was trained for."""
    census: dict[str, object] | None
    """Of the videos that it was trained on."""
    commit: str | None
    """Of the code that trained it, where it is known."""
    batch_norm: str
    """What it normalises with: the running averages of training, precise statistics, or those of a file."""
    classes: list[str] | None
    """Their names, where they are known."""
    published: dict[str, Any] | None


def load(
    path: Path, run: TrainConfig, *, classes: list[str] | None, pairwise: Pairwise | None, channels_last: bool
) -> Loaded:
    """The network of a run with the weights of a file, on the device.

    Args:
        path: a checkpoint, or a .safetensors file, which says its network itself.
        run: a run's settings, or what such a file says.
        classes: their names, where the data tell them.
        pairwise: the pairwise function of the network, where the user has named it: files do not name code.

    Raises:
        ValueError: not such a file, one of another network, or for other classes than those of the videos.
    """
    step, census, commit, batch_norm, published = None, None, None, "as in the file", None
    if path.suffix == ".safetensors":
        head = read_model_file(path, with_weights=False)
        model = load_model(path, pairwise=_checked(pairwise, head.options.get("pairwise"), path))
        if network_options(head, where=path) != run.model:  # The run that was named with it.
            _check_network(model, network_of(run.model, where="model of the run", pairwise=pairwise), path)
        classes, published = classes or head.classes, published_of(str(path))
    else:
        content = read_checkpoint(path)
        model = network_of(run.model, where="model of the run", pairwise=pairwise)
        precise = content["precise_bn"]
        load_weights(model, {**content["model"], **(precise or {})}, where=path)
        step, census, commit = content["step"], content["facts"].get("census"), content["facts"].get("commit")
        batch_norm = "precise" if precise else "running averages"
    expected = task_of(run.data).activation
    if model.options.activation != expected:
        raise ValueError(
            f"{path}: its scores are of a {model.options.activation}, expected a {expected} with "
            f"data.labels={run.data.labels}"
        )
    if model.options.num_classes != run.data.num_classes:
        raise ValueError(
            f"{path}: got weights for {model.options.num_classes} classes, "
            f"expected {run.data.num_classes}, those of {run.data.name}"
        )
    weights_hash = hash_weights(model)
    model.lay_out(channels_last=channels_last)
    return Loaded(model.to(local_device()), weights_hash, step, census, commit, batch_norm, classes, published)


def _checked(pairwise: Pairwise | None, stored: Any, path: Path) -> Pairwise | None:
    """Raises ValueError where a file of weights names another pairwise function than its user."""
    if pairwise is not None and name_of(pairwise) != stored:
        raise ValueError(f"{path}: has the pairwise function {stored}, got model.pairwise={name_of(pairwise)}")
    return pairwise


def _check_network(model: Classifier, of_run: Classifier, path: Path) -> None:
    """A file of weights says its network; that of a run that was named with it has to be the same.

    Raises:
        ValueError: it is another one; says how.
    """
    own, expected = (one.plain_options() for one in (model, of_run))
    differ = [key for key in own if key not in ("name", "dropout", "num_classes") and own[key] != expected[key]]
    if differ:
        told = "; ".join(f"{key}: got {own[key]}, expected {expected[key]}" for key in differ)
        raise ValueError(f"{path}: weights of another network than that of the run: {told}")


def hash_weights(model: Classifier) -> str:
    """Names the weights of a network, its normalisation and its options in 12 characters."""
    options = {key: value for key, value in model.plain_options().items() if (key, value) not in LATER.items()}
    sums = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            sums.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            sums.update(tensor.cpu().contiguous().numpy().tobytes())
    return sums.hexdigest()[:12]
