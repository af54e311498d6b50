"""mmaction2's I3D, NL-I3D (ResNet3d) and C2D (C2D, or ResNet frame by frame): {"state_dict": ..., "meta": ...}."""

import re
from typing import Any

from nonlocal_video.models.weights.state import LAYERS, State, StoredNetwork, pixel_statistics, renamed

RULES = {
    r"backbone\.conv1\.conv\.weight": "backbone.conv1.weight",
    r"backbone\.conv1\.bn\.(\w+)": "backbone.bn1.{}",
    r"backbone\.(layer\d)\.(\d+)\.conv([123])\.conv\.(\w+)": "backbone.{}.block{}.conv{}.{}",
    r"backbone\.(layer\d)\.(\d+)\.conv([123])\.bn\.(\w+)": "backbone.{}.block{}.bn{}.{}",
    r"backbone\.(layer\d)\.(\d+)\.downsample\.conv\.(\w+)": "backbone.{}.block{}.shortcut.0.{}",
    r"backbone\.(layer\d)\.(\d+)\.downsample\.bn\.(\w+)": "backbone.{}.block{}.shortcut.1.{}",
    r"backbone\.(layer\d)\.(\d+)\.non_local_block\.(theta|phi|g)(?:\.0)?\.conv\.(\w+)": "backbone.{}.nonlocal{}.{}.{}",
    r"backbone\.(layer\d)\.(\d+)\.non_local_block\.conv_out\.conv\.(\w+)": "backbone.{}.nonlocal{}.w_z.{}",
    r"backbone\.(layer\d)\.(\d+)\.non_local_block\.conv_out\.bn\.(\w+)": "backbone.{}.nonlocal{}.bn.{}",
    r"cls_head\.fc_cls\.(weight|bias)": "fc.{}",
}
OPTIONS = {
    "stem": "skipping", "pool1_padding": 1, "norm": "batch", "nonlocal_norm": "batch", "res3_group_frames": 0,
    "w_z_bias": False, "global_pool": True,
}  # fmt: skip
STATISTICS = pixel_statistics([x / 255 for x in (123.675, 116.28, 103.53)], [x / 255 for x in (58.395, 57.12, 57.375)])
_UNKNOWN_BACKBONE = (
    "the file does not tell its backbone; give --set pool2=true pool1_padding=0 for C2D, or "
    "pool2=false pool1_padding=1 for ResNet (nopool)"
)
_UNKNOWN_PAIRWISE = (
    "the file does not tell its pairwise function; give --set pairwise=dot_product, or "
    "pairwise=embedded_gaussian_unscaled for embedded_gaussian with use_scale=False"
)


def from_mmaction2(state: State, *, where: str) -> StoredNetwork:
    """A network of mmaction2, of old and new versions; ValueError for kernels of neither images nor videos.

    Embedded Gaussian and dot product have the same tensors, and so have the two kinds of C2D: the settings in the file
    tell which it is.
    """
    meta = state.content.get("meta")
    settings = str(meta.get("cfg") or meta.get("config") or "") if isinstance(meta, dict) else ""
    averages = [name for name in state.tensors if name.startswith("ema_")]  # Of mmcv 1.
    tensors = {name: tensor for name, tensor in state.tensors.items() if name not in averages}
    dimensions = tensors["backbone.conv1.conv.weight"].ndim
    if dimensions not in (4, 5):
        raise ValueError(f"{where}: not a network of mmaction2: a kernel of its conv1 has {dimensions} dimensions")
    options, unknown = _image_options(settings) if dimensions == 4 else _nonlocal_options(tensors, settings)
    if re.search(r"style\s*=\s*['\"]caffe['\"]", settings):
        options["stride_in"] = "1x1"
    weights = {**renamed(tensors, RULES, LAYERS), **STATISTICS}
    return StoredNetwork(weights, {**OPTIONS, **options}, state.left_out + averages, unknown, copies=state.copies)


def _image_options(settings: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Options of 2-D kernels, and errors for unknown ones: C2D pools frames in pairs, ResNet sees each by itself."""
    backbone = re.search(r"type\s*=\s*['\"](C2D|ResNet)['\"]", settings)
    if not backbone:
        return {"stem": "dense"}, {"pool2": _UNKNOWN_BACKBONE, "pool1_padding": _UNKNOWN_BACKBONE}
    pools = backbone[1] == "C2D"
    return {"stem": "dense", "pool2": pools, "pool1_padding": 0 if pools else 1}, {}


def _nonlocal_options(tensors: dict[str, Any], settings: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Options of non-local blocks, and errors for unknown ones."""
    blocks = [name for name in tensors if ".non_local_block." in name]
    if not blocks:
        return {}, {}
    pooled = any(".non_local_block.g.0." in name for name in blocks)
    options: dict[str, Any] = {"subsample": "after" if pooled else "none"}
    if not any(".theta." in name for name in blocks):
        return {**options, "pairwise": "gaussian"}, {}
    mode = re.search(r"mode\s*=\s*['\"](dot_product|embedded_gaussian)['\"]", settings)
    if not mode:
        return options, {"pairwise": _UNKNOWN_PAIRWISE}
    scaled = mode[1] == "dot_product" or not re.search(r"use_scale\s*=\s*False", settings)
    return {**options, "pairwise": mode[1] if scaled else f"{mode[1]}_unscaled"}, {}
