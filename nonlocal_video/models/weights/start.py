"""Files of weights to start from, of every kind, told apart by their content."""

import math
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import name_of
from nonlocal_video.models.weights import TRANSLATORS
from nonlocal_video.models.weights.caffe2 import read_caffe2
from nonlocal_video.models.weights.file import (
    FORMAT,
    check_whole,
    is_safetensors,
    read_model_file,
    read_tensors,
)
from nonlocal_video.models.weights.initialise import initialise
from nonlocal_video.models.weights.state import OURS, check_tensors, state_of
from nonlocal_video.models.weights.torch_file import read_torch_file
from nonlocal_video.settings.network import LATER
from nonlocal_video.system.plain import one_line

KINDS = (
    "a checkpoint of a run, a .safetensors file that training or tools/import_weights.py wrote, a ResNet-50 or -101 of "
    "images by torchvision's names, a checkpoint of PySlowFast, pytorchvideo or mmaction2, or a released Caffe2 .pkl; "
    "tools/import_weights.py makes networks for testing of these"
)
KIND_OF = {
    OURS: "a state dict of this project",
    "torchvision": "a network of images by torchvision's names",
    "pyslowfast": "a network of PySlowFast",
    "pytorchvideo": "a network of pytorchvideo",
    "mmaction2": "a network of mmaction2",
}
_TORCH = (b"PK\x03\x04", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
"""How `torch.save` begins a file: a zip archive, or before PyTorch 1.6 its magic number."""

SHAPING = ("stem", "stride_in", "pool1_padding", "pool1_rounds_up", "pool2", "inflation", "bn_eps")
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
    copies: tuple[str, ...] = ()
    """As in `State.copies`."""
    left_out: Sequence[str] = ()
    """What of the file was not read."""
    untold: tuple[str, ...] = ()
    """Options that the file would have to tell and does not."""


def start_from(model: Classifier, path: str, *, part: str | None = None) -> list[str]:
    """Loads all but the classifier of a file of any kind that `read_start` knows, and tells what was done, in lines.

    Args:
        part: as in `read_start`.

    Raises:
        ValueError: not such a file, or one of a network that does not fit.
    """
    start, mean, std = read_start(path, part), model.mean.tolist(), model.std.tolist()
    loaded = initialise(model, start.weights, where=path)
    inflated = f", {loaded.num_inflated} inflated over time" if loaded.num_inflated else ""
    folded = f", {loaded.num_folded} batch normalisations became frozen affines" if loaded.num_folded else ""
    lines = [
        f"started from {path}, {start.kind}: {loaded.num_loaded} tensors{inflated}{folded}",
        *_told_of_copies(start.copies, start.left_out),
        f"fresh classifier: {model.options.num_classes} classes",
        *_fresh_blocks(loaded.fresh),
        *_listed("unused", [name for name in loaded.unused if not name.startswith("fc.")]),
        *([f"left out of the file: {_examples(start.left_out)}"] if start.left_out else []),
    ]
    if (mean, std) != (model.mean.tolist(), model.std.tolist()):
        values = ", ".join(f"{x:.3f}" for x in torch.cat([model.mean, model.std]).flatten().tolist())
        lines.append(f"mean and standard deviation of pixels are the file's: {values}")
    lines += [*(f"note: {one} in {path}" for one in _differences(model, start)), *_told_of_untold(model, start)]
    return [one_line(line) for line in lines]


def _told_of_copies(copies: Sequence[str], left_out: Sequence[str]) -> list[str]:
    """Which of several networks in a file was taken, and how to take another."""
    if len(copies) < 2:
        return []
    swapped = "ema_state_dict" in copies and "message_hub" in left_out
    average = "; mmengine writes the moving average to state_dict, and the weights without it to ema_state_dict"
    taken, *others = (name or "the file itself" for name in copies)
    return [f"of the networks in the file {taken} is taken, not {', '.join(others)}: init.part=NAME takes another"
            f"{average if swapped else ''}"]  # fmt: skip


def _told_of_untold(model: Classifier, start: Start) -> list[str]:
    """What the file would have to tell of its network and does not: the user's word is taken for it."""
    told = [f"model.{name}={_plain(getattr(model.options, name))}" for name in start.untold]
    caffe = "; Caffe's ResNets have stride_in=1x1 and pool1_rounds_up=true" if "stride_in" in start.untold else ""
    return (
        [f"note: the file cannot tell how its network was built: it is taken for {' '.join(told)}{caffe}"]
        if told
        else []
    )


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else name_of(value) if callable(value) else str(value)


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
    return [f"{what}: {len(names)} tensors ({_examples(names)})"] if names else []


def _examples(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


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


def read_start(path: str, part: str | None = None) -> Start:
    """The weights of a file, whatever its name; no code in the file is run.

    A checkpoint with precise statistics of batch normalisation gives these instead of its running averages.

    Args:
        part: which network of a file that holds several: see `State.copies`.

    Raises:
        ValueError: no such file, a damaged one, or one of another kind; says which kinds there are.
    """
    if not os.path.isfile(path):
        raise ValueError(f"{path}: no such file of weights")
    try:
        return _read(path, part)
    except ValueError as error:
        if "expected" in str(error):
            raise
        raise ValueError(f"{error}; expected {KINDS}") from error


def _read(path: str, part: str | None) -> Start:
    if is_safetensors(path):
        tensors, metadata = read_tensors(path)
        if metadata.get("format") == FORMAT:
            check_whole(path, part)
            check_tensors(tensors, where=path)
            content = read_model_file(path, with_weights=False)
            kind = f"a network of this project ({content.origin})"
            return Start(tensors, {**LATER, **content.options}, kind)
        return _of_anybody(tensors, path, part)
    with open(path, "rb") as file:
        if file.read(16).startswith(_TORCH):
            return _read_torch(path, part)
    weights = read_caffe2(path, part).weights
    of_images = weights["backbone.conv1.weight"].ndim == 4
    return Start(weights, {}, f"a Caffe2 network of {'images' if of_images else 'videos'}")


def _read_torch(path: str, part: str | None) -> Start:
    content = read_torch_file(path, with_objects=True)
    if not isinstance(content, dict) or not {"format", "step", "model"} <= set(content):
        return _of_anybody(content, path, part)
    check_whole(path, part)
    precise, facts = content.get("precise_bn") or {}, content.get("facts", {})  # Format 1 has none.
    options: Any = facts.get("options", {}) if isinstance(facts, dict) else None
    if not all(isinstance(one, dict) for one in (content["model"], precise, options)):
        raise ValueError(f"{path}: damaged: a checkpoint whose model, precise_bn or options are no dictionary")
    weights = {**content["model"], **precise}
    check_tensors(weights, where=path)
    kind = f"a checkpoint after {content['step']} steps" + (", with its precise batch normalisation" if precise else "")
    return Start(weights, {**LATER, **options}, kind)


def _of_anybody(content: Any, path: str, part: str | None) -> Start:
    """The network of another code base, or a state dict of this project's."""
    code_base, state = state_of(content, where=path, part=part, expected=KINDS)
    if code_base == OURS:
        return Start(state.tensors, {}, KIND_OF[code_base], state.copies, state.left_out)
    foreign = TRANSLATORS[code_base](state, where=path)
    told = {} if code_base == "torchvision" else {k: v for k, v in foreign.options.items() if k not in foreign.unknown}
    untold = (*foreign.untold, *foreign.unknown)
    return Start(foreign.weights, told, KIND_OF[code_base], foreign.copies, foreign.ignored, untold)
