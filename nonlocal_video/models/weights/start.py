"""Files of weights to start from, of every kind, told apart by their content."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.initialise import initialise
from nonlocal_video.models.nonlocal_block import name_of
from nonlocal_video.models.weights.caffe2 import read_caffe2
from nonlocal_video.models.weights.file import read_model_file, read_torch_file
from nonlocal_video.models.weights.given import how_to_bring_in
from nonlocal_video.models.weights.torchvision import read_torchvision

KINDS = (
    "a checkpoint of a run, a .safetensors file that training or tools/import_weights.py wrote, the state dict of "
    "torchvision's ResNet-50 or -101, or a released Caffe2 .pkl"
)
_TORCH = (b"PK\x03\x04", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
"""How `torch.save` begins a file: a zip archive, or before PyTorch 1.6 its magic number."""

SHAPING = ("stem", "pool1_padding", "pool2", "inflation", "bn_eps")
"""Options that no tensor shows, in which a network usually agrees with the one that its weights were trained in."""
BLOCK_SHAPING = ("pairwise", "axes", "subsample", "w_z_bias")
"""Such options of non-local blocks."""


class Start(NamedTuple):
    """Weights to start from, in this project's names."""

    weights: dict[str, Tensor]
    """With the classifier of their network. Kernels of image networks are 2-D."""
    options: dict[str, Any]
    """Fields of `NetworkOptions` of their network, as far as the file tells."""
    kind: str
    """What the file is, in words."""


def start_from(model: Classifier, path: str) -> list[str]:
    """Loads all but the classifier of a file of any kind that `read_start` knows, and tells what was done, in lines.

    Raises:
        ValueError: not such a file, or one of a network that does not fit.
    """
    start, mean, std = read_start(path), model.mean.tolist(), model.std.tolist()
    loaded = initialise(model, start.weights, where=path)
    inflated = f", {loaded.num_inflated} inflated over time" if loaded.num_inflated else ""
    folded = f", {loaded.num_folded} batch normalisations became frozen affines" if loaded.num_folded else ""
    lines = [
        f"started from {path}, {start.kind}: {loaded.num_loaded} tensors{inflated}{folded}",
        f"fresh classifier: {model.options.num_classes} classes",
        *_fresh_blocks(loaded.fresh),
        *_listed("unused", [name for name in loaded.unused if not name.startswith("fc.")]),
    ]
    if (mean, std) != (model.mean.tolist(), model.std.tolist()):
        values = ", ".join(f"{x:.3f}" for x in torch.cat([model.mean, model.std]).flatten().tolist())
        lines.append(f"mean and standard deviation of pixels are the file's: {values}")
    return lines + [f"note: {difference} in {path}" for difference in _differences(model, start)]


def _fresh_blocks(fresh: Sequence[str]) -> list[str]:
    """The added blocks that the file does not have, and what it lacks of the other non-local ones."""
    blocks = [name.removesuffix("w_z.weight") for name in fresh if name.endswith(".w_z.weight")]
    residual = [name.removesuffix("conv1.weight") for name in fresh if name.endswith(".conv1.weight")]
    lacking = [name for name in fresh if ".nonlocal" in name and not name.startswith(tuple(blocks))]
    return [
        *([f"fresh non-local blocks: {_places(blocks)}"] if blocks else []),
        *([f"fresh residual blocks in place of non-local ones: {_places(residual)}"] if residual else []),
        *_listed("fresh in other non-local blocks", [name for name in lacking if "num_batches_tracked" not in name]),
    ]


def _places(blocks: Sequence[str]) -> str:
    """backbone.res3.nonlocal1. -> res3.1."""
    return ", ".join(re.sub(r"backbone\.(res\d\.)[a-z]+(\d+)\.", r"\1\2", block) for block in blocks)


def _listed(what: str, names: Sequence[str]) -> list[str]:
    examples = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return [f"{what}: {len(names)} tensors ({examples})"] if names else []


def _differences(model: Classifier, start: Start) -> list[str]:
    """The options of the network that are others in the file's."""
    blocks = any(".nonlocal" in name for name in start.weights)
    here = {name: getattr(model.options, name) for name in SHAPING + (BLOCK_SHAPING if blocks else ())}
    here = {name: name_of(value) if name == "pairwise" else value for name, value in here.items()}
    return [
        f"model.{name} is {value}, but {start.options[name]}"
        for name, value in here.items()
        if not _same(value, start.options.get(name, value))
    ]


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal; the released bn_eps is 1.0000001e-5."""
    floats = isinstance(one, float) and isinstance(other, float)
    return math.isclose(one, other, rel_tol=1e-3) if floats else bool(one == other)


def read_start(path: str) -> Start:
    """The weights of a file, whatever its name; no code in the file is run.

    A checkpoint with precise statistics of batch normalisation gives these instead of its running averages.

    Raises:
        ValueError: no such file, a damaged one, or one of another kind; says which kinds there are.
    """
    if not os.path.isfile(path):
        raise ValueError(f"{path}: no such file of weights")
    try:
        return _read(path)
    except ValueError as error:
        raise ValueError(f"{error}; expected {KINDS}: {how_to_bring_in(Path(path))}") from error


def _read(path: str) -> Start:
    with open(path, "rb") as file:
        head = file.read(16)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < os.path.getsize(path):  # The size of a JSON header.
        content = read_model_file(path)
        return Start(content.weights, content.options, f"a network of this project ({content.origin})")
    if head.startswith(_TORCH):
        return _read_torch(path)
    weights = read_caffe2(path).weights
    of_images = weights["backbone.conv1.weight"].ndim == 4
    return Start(weights, {}, f"a Caffe2 network of {'images' if of_images else 'videos'}")


def _read_torch(path: str) -> Start:
    content = read_torch_file(path)
    if not isinstance(content, dict) or not {"format", "step", "model"} <= content.keys():
        return Start(read_torchvision(path).weights, {}, "torchvision's network of images")
    precise = content.get("precise_bn") or {}  # Format 1 has none.
    kind = f"a checkpoint after {content['step']} steps" + (", with its precise batch normalisation" if precise else "")
    options = content.get("facts", {}).get("options", {})  # Nor these.
    return Start({**content["model"], **precise}, options, kind)
