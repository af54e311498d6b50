"""Files of detectors: ours, which say what they are, torchvision's, and networks of images to start from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor

from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.models.nonlocal_block import Pairwise
from nonlocal_video.models.weights.file import (
    StrPath,
    examples,
    is_safetensors,
    load_weights,
    read_tensors,
    write_network,
)
from nonlocal_video.models.weights.initialise import fold_batch_norm, inflate_like
from nonlocal_video.models.weights.start import start_from
from nonlocal_video.models.weights.state import LAYERS, check_tensors, renamed
from nonlocal_video.models.weights.torch_file import read_torch_file
from nonlocal_video.settings.detector import DetectorOptions
from nonlocal_video.settings.values import expect

FORMAT = "nonlocal_video detector 1"
_BODY = "rcnn.backbone.body.backbone"
TORCHVISION = {
    r"backbone\.body\.(conv1|bn1)\.(\w+)": _BODY + ".{}.{}",
    r"backbone\.body\.(layer\d)\.(\d+)\.downsample(.*)": _BODY + ".{}.block{}.shortcut{}",
    r"backbone\.body\.(layer\d)\.(\d+)\.(.*)": _BODY + ".{}.block{}.{}",
    r"(backbone\.fpn|rpn|roi_heads)\.(.*)": "rcnn.{}.{}",
}
"""Our names of the tensors of torchvision's detectors."""
_ADDED = (".nonlocal", ".residual")
_PREDICTORS = (".box_predictor.", ".mask_predictor.mask_fcn_logits.", ".keypoint_predictor.")
"""Parts of the names of tensors whose shapes depend on the number of classes or keypoints."""


class DetectorFile(NamedTuple):
    """A detector's options and weights, read from a file."""

    options: dict[str, Any]
    """Fields of `DetectorOptions`."""
    categories: list[tuple[int, str]]
    """Id and name in the order of the labels."""
    keypoints: list[str]
    weights: dict[str, Tensor]


def save_detector(
    path: StrPath, model: Detector, *, origin: str, categories: Sequence[tuple[int, str]], keypoints: Sequence[str] = ()
) -> None:
    """Writes the weights of a detector and all that it takes to build it again, whole or not at all."""
    told = {"categories": list(categories), "keypoints": list(keypoints)}
    write_network(path, model, form=FORMAT, origin=origin, told=told)


def read_detector_file(path: StrPath) -> DetectorFile:
    """The content of a file that `save_detector` wrote. Raises ValueError: it is another, or damaged."""
    weights, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: not a detector of images that this project wrote")
    try:
        plain = {key: json.loads(metadata[key]) for key in ("options", "categories", "keypoints")}
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: what it says of itself cannot be read: {str(error)[:200]}") from error
    return detector_file(plain, weights, where=path)


def detector_file(plain: Mapping[str, Any], weights: dict[str, Tensor], *, where: StrPath) -> DetectorFile:
    """Reads a detector's options from plain values beside its weights. Raises ValueError: they say none."""
    try:
        categories = [(int(number), str(name)) for number, name in plain["categories"]]
        keypoints = [str(name) for name in plain["keypoints"]]
        classes = DetectorOptions(**plain["options"]).num_classes
        expect(len(categories) == classes, "categories", len(categories), str(classes))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: damaged: what it says of itself cannot be read: {str(error)[:200]}") from error
    return DetectorFile(plain["options"], categories, keypoints, weights)


def build_detector(content: DetectorFile, *, where: StrPath, pairwise: Pairwise | None = None) -> Detector:
    """The detector of a file's content, in testing mode.

    Args:
        where: the file, for errors.
        pairwise: the pairwise function, where it is not one of this project's.

    Raises:
        ValueError: options or weights that give no detector.
    """
    try:
        options = DetectorOptions(**content.options)
        model = Detector(options if pairwise is None else replace(options, pairwise=pairwise))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    load_weights(model, content.weights, where=where)
    return model.eval()


def start_detector(model: Detector, path: str, *, part: str | None = None) -> list[str]:
    """Loads the weights that a training begins with, and says in lines what it did.

    A detector's file (ours, or torchvision's) gives all but the predictors of classes, boxes and masks where these are
    for other classes, and but what was added; a network of images gives the residual network.

    Raises:
        ValueError: not such a file, or one of a network that does not fit.
    """
    if is_safetensors(path) and read_tensors(path, with_weights=False)[1].get("format") == FORMAT:
        return _start_from_detector(model, read_detector_file(path).weights, path, "a detector of this project")
    if not is_safetensors(path) and not path.endswith(".pkl"):
        content = read_torch_file(path, with_objects=True)
        if isinstance(content, dict) and any(str(name).startswith("roi_heads.") for name in content):
            check_tensors(content, where=path)
            weights = renamed(content, TORCHVISION, LAYERS)
            return _start_from_detector(model, weights, path, "a detector of torchvision")
    lines = start_from(model.body, path, part=part)  # type: ignore[arg-type]  # It has the parts that are needed.
    return [*(line for line in lines if not line.startswith("fresh classifier")), "fresh: feature pyramid and heads"]


def _start_from_detector(model: Detector, weights: dict[str, Tensor], path: str, kind: str) -> list[str]:
    """Copies the tensors of a detector; those that depend on the classes stay fresh where these are others."""
    own = model.state_dict()
    # torchvision's published detectors have an epsilon of 0 in their frozen batch normalisation, which counts nothing.
    frozen = not any(name.endswith("num_batches_tracked") for name in weights)
    folded = fold_batch_norm(weights, kept=own, eps=0.0 if frozen else model.options.bn_eps)
    num_folded = len(weights) - len(folded)
    weights, _ = inflate_like(folded, own)
    fitting = {name: tensor for name, tensor in weights.items() if name in own and tensor.shape == own[name].shape}
    wrong = [name for name in weights if name not in fitting and not _has(name, (*_ADDED, *_PREDICTORS))]
    fresh = [name for name in own if name not in fitting and not name.endswith((".mean", ".std"))]
    lacking = [name for name in fresh if not _has(name, (*_ADDED, *_PREDICTORS))]
    parts = ((wrong, "have no place or another shape"), (lacking, "missing"))
    if told := [f"{len(names)} {what} ({examples(names)})" for names, what in parts if names]:
        raise ValueError(f"{path}: {kind}, of another network: {'; '.join(told)}")
    model.load_state_dict(fitting, strict=False)
    lines = [f"started from {path}, {kind}: {len(fitting)} tensors"]
    if frozen and num_folded:
        lines.append(
            "note: frozen batch normalisation is taken with an epsilon of 0, as torchvision's COCO weights have"
        )
    return [*lines, f"fresh: {len(fresh)} tensors ({examples(fresh)})"] if fresh else lines


def _has(name: str, parts: Sequence[str]) -> bool:
    return any(part in name for part in parts)
