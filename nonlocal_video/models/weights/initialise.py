"""From the tensors of a file to a network: all of them (an import), or all that fit (the start of a training)."""

import re
from collections.abc import Container, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.weights.file import load_weights
from nonlocal_video.models.weights.state import StoredNetwork
from nonlocal_video.models.zoo import build_model
from nonlocal_video.settings.network import DEPTHS, NetworkOptions


class Imported(NamedTuple):
    """A network with the weights of a checkpoint, and what became of its tensors."""

    model: Classifier
    num_matched: int
    num_inflated: int


class Initialised(NamedTuple):
    """The fate of the tensors of a file and of a network that starts from them."""

    num_loaded: int
    num_inflated: int
    num_folded: int
    """Batch normalisations of the file that became affine maps."""
    fresh: list[str]
    """Parameters of the network that the file does not have."""
    unused: list[str]
    """Tensors of the file that the network does not have."""


def build_imported(name: str, stored: StoredNetwork, *, changes: dict[str, Any], where: str) -> Imported:
    """Builds the network of a name with the weights of a checkpoint, every tensor in its place.

    Args:
        changes: options of the user's, over those of the file.

    Raises:
        ValueError: the file lacks what has to be known, or tensors are missing, left over or of another shape.
    """
    if "fc.weight" not in stored.weights:
        raise ValueError(f"{where}: has no classifier, so it is no trained network; start training from it instead")
    if not changes.keys().isdisjoint(("name", "num_classes")):
        raise ValueError("name and num_classes are no options here: the one is MODEL, the other is read from the file")
    for option, error in stored.unknown.items():
        if option not in changes:
            raise ValueError(f"{where}: {error}")
    model = build_model(name, num_classes=len(stored.weights["fc.weight"]), **{**stored.options, **changes})
    _check_shape(stored.weights, model.options, for_import=True, where=where)
    own = model.state_dict()
    weights, num_inflated = inflate_like(stored.weights, own)
    weights["fc.weight"] = weights["fc.weight"].reshape(weights["fc.weight"].shape[:2])
    # What no format but PyTorch's has, and what has one value for all networks but of some formats.
    given = {key: own[key] for key in own if key.endswith("num_batches_tracked") or key in ("mean", "std")}
    load_weights(model, {**given, **weights}, where=where)
    return Imported(model.eval(), len(weights), num_inflated)


def initialise(model: Classifier, weights: dict[str, Tensor], *, where: str) -> Initialised:
    """Copies the tensors of the same name; 2-D kernels are inflated; the classifier stays fresh.

    Where the network has no batch normalisation, the file's becomes the affine map that it is in testing.

    Raises:
        ValueError: a network of another shape, a tensor of another one, tensors in residual blocks that these do not
            have, or a file that lacks more than non-local blocks or those in their place.
    """
    _check_shape(weights, model.options, for_import=False, where=where)
    own = model.state_dict()
    layers = [name.removesuffix(".running_var") for name in weights if name.endswith(".running_var")]
    num_folded = sum(f"{layer}.weight" in own and f"{layer}.running_var" not in own for layer in layers)
    weights, num_inflated = inflate_like(fold_batch_norm(weights, kept=own, eps=model.options.bn_eps), own)
    copied = {name: tensor for name, tensor in weights.items() if name in own and not name.startswith("fc.")}
    _check_kernels(copied, own, where=where)
    unused = [name for name in weights if name not in copied]
    added = (".nonlocal", ".residual", "num_batches_tracked")
    own_parts = [name for name in unused if name.startswith(("backbone.conv1.", "backbone.bn1.", "backbone.res"))]
    homeless = [name for name in own_parts if not any(part in name for part in added)]
    if homeless:
        raise ValueError(
            f"{where}: {len(homeless)} tensors of its residual network have no place in this one, such as "
            f"{', '.join(homeless[:3])}; it would be another network without them"
        )
    fresh = [name for name in own if name not in copied and name not in ("mean", "std")]
    # What is added to a network is not in the file of one without; old files have no num_batches_tracked, unused.
    lacking = [name for name in fresh if not any(part in name for part in (*added, "fc."))]
    if lacking:
        raise ValueError(f"{where}: {len(lacking)} tensors are missing, such as {', '.join(lacking[:3])}")
    model.load_state_dict(copied, strict=False)
    return Initialised(len(copied), num_inflated, num_folded, fresh, unused)


def _check_kernels(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], *, where: str) -> None:
    """Raises ValueError for a tensor of another shape than the network's; hints where kernels differ over time."""
    hint = "; their kernels differ over time only: the one is of a C2D, the other of an I3D (model=c2d_... or i3d_...)"
    for name, tensor in weights.items():
        there, here = tuple(tensor.shape), tuple(own[name].shape)
        if there != here:
            over_time = len(there) == len(here) == 5 and there[:2] + there[3:] == here[:2] + here[3:]
            raise ValueError(f"{where}: {name} has shape {there}, expected {here}{hint if over_time else ''}")


def inflate(kernel: Tensor, num_frames: int) -> Tensor:
    """A 2-D kernel (O, I, h, w) -> (O, I, t, h, w): t equal planes, each rescaled by 1/t (Sec. 4).

    On a clip of t equal frames the inflated kernel answers as the 2-D kernel does on one.
    """
    return kernel[:, :, None].repeat(1, 1, num_frames, 1, 1) / num_frames


def inflate_like(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """The weights with their 2-D kernels inflated where the network's are 3-D, and how many became longer than 1."""
    frames = {k: own[k].shape[2] for k, v in weights.items() if v.ndim == 4 and k in own and own[k].ndim == 5}
    inflated = {name: inflate(weights[name], length) for name, length in frames.items()}
    return {**weights, **inflated}, sum(length > 1 for length in frames.values())


def fold_batch_norm(weights: Mapping[str, Tensor], *, kept: Container[str], eps: float) -> dict[str, Tensor]:
    """Replaces each batch normalisation by its affine map in testing mode, but for those whose names are to be kept.

    weight = gamma / sqrt(var + eps), bias = beta - mean weight: the released code's conversion of a 32x2 or 8x8 model
    into the start of a long-clip one, whose non-local blocks have none: the map after W_z goes into W_z.
    """
    folded = dict(weights)
    for name in weights:
        layer = name.removesuffix(".running_var")
        parts = [f"{layer}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        if layer == name or name in kept or not folded.keys() >= set(parts):
            continue
        gamma, beta, mean, variance = (folded.pop(part) for part in parts)
        folded.pop(f"{layer}.num_batches_tracked", None)
        scale = gamma / (variance + eps).sqrt()
        bias, w_z = beta - mean * scale, f"{layer.removesuffix('.bn')}.w_z"
        if f"{w_z}.weight" in folded:
            folded[f"{w_z}.weight"] = folded[f"{w_z}.weight"] * scale[:, None, None, None, None]
            folded[f"{w_z}.bias"] = folded.get(f"{w_z}.bias", torch.zeros_like(bias)) * scale + bias
        else:
            folded[f"{layer}.weight"], folded[f"{layer}.bias"] = scale, bias
    return folded


def _check_shape(weights: Mapping[str, Tensor], options: NetworkOptions, *, for_import: bool, where: str) -> None:
    """Raises ValueError where depth or widths are others in a file than in the network to be filled.

    It says what to ask for instead, in the words of tools/import_weights.py (`for_import`), or of training.
    """
    found = [re.fullmatch(r"backbone\.res([2345])\.block\d+\.conv1\.weight", name) for name in weights]
    stages = [match[1] for match in found if match]
    conv1, first = weights.get("backbone.conv1.weight"), weights.get("backbone.res2.block0.conv1.weight")
    if conv1 is None or first is None or not conv1.ndim or not first.ndim:  # Not of such a network.
        return
    blocks, width, stem = tuple(stages.count(stage) for stage in "2345"), first.shape[0], conv1.shape[0]
    depth = DEPTHS[options.depth]
    own_blocks, own_width, own_stem = depth.blocks, depth.inner(depth.width), options.stem_width or depth.width
    if (blocks, width, stem) == (own_blocks, own_width, own_stem):
        return
    got, expected = (
        f"{', '.join(map(str, blocks))} residual blocks, {stem} channels in conv1 and {width} in res2"
        for blocks, width, stem in ((blocks, width, stem), (own_blocks, own_width, own_stem))
    )
    told = f"{where}: a network of another shape: got {got}, expected {expected}"
    depths = [depth for depth, shape in DEPTHS.items() if shape == (blocks, width, 1, 64)]
    if not depths:
        raise ValueError(f"{told}; such a depth is one line of DEPTHS in nonlocal_video/settings/network.py")
    named = re.match(r"((?:nl_)?(?:c2d|i3d)|\w+_rcnn)_.*?_?(\d+x\d+)?$", options.name)
    kind, clip = (named[1], named[2]) if named else ("c2d", None)
    network = f"{kind}_{depths[0]}_{clip or '8x8'}" if for_import else f"model={kind}_{depths[0]}"
    if stem == width:
        raise ValueError(f"{told}; ask for {network}")
    set_, before = (" --set", "") if for_import else ("", "model.")
    raise ValueError(
        f"{told}; ask for {network}{set_} {before}stem_width={stem}. No tensor shows which convolution has the strides "
        "of res3 to res5 and whether pool1 rounds up; who knows the code base names them: "
        f"{before}stride_in=3x3 or 1x1, {before}pool1_rounds_up=false or true (Caffe's ResNets: 1x1 and true)"
    )
