"""mmaction2's I3D, NL-I3D (ResNet3d) and C2D (C2D, or ResNet frame by frame): {"state_dict": ..., "meta": ...}."""

import re
from typing import Any

from nonlocal_video.models.weights.foreign import Foreign, Rule, pixel_statistics, rename
from nonlocal_video.models.weights.state import State, read_state


def _stage(match: re.Match[str]) -> str:
    return f"backbone.res{int(match[1]) + 1}"


RULES: list[Rule] = [
    (r"backbone\.conv1\.conv\.weight", "backbone.conv1.weight"),
    (r"backbone\.conv1\.bn\.(\w+)", r"backbone.bn1.\1"),
    (r"backbone\.layer(\d)\.(\d+)\.conv([123])\.conv\.(\w+)", lambda m: f"{_stage(m)}.block{m[2]}.conv{m[3]}.{m[4]}"),
    (r"backbone\.layer(\d)\.(\d+)\.conv([123])\.bn\.(\w+)", lambda m: f"{_stage(m)}.block{m[2]}.bn{m[3]}.{m[4]}"),
    (
        r"backbone\.layer(\d)\.(\d+)\.downsample\.(conv|bn)\.(\w+)",
        lambda m: f"{_stage(m)}.block{m[2]}.shortcut.{'0' if m[3] == 'conv' else '1'}.{m[4]}",
    ),
    (
        r"backbone\.layer(\d)\.(\d+)\.non_local_block\.(theta|phi|g)(?:\.0)?\.conv\.(\w+)",
        lambda m: f"{_stage(m)}.nonlocal{m[2]}.{m[3]}.{m[4]}",
    ),
    (
        r"backbone\.layer(\d)\.(\d+)\.non_local_block\.conv_out\.conv\.(\w+)",
        lambda m: f"{_stage(m)}.nonlocal{m[2]}.w_z.{m[3]}",
    ),
    (
        r"backbone\.layer(\d)\.(\d+)\.non_local_block\.conv_out\.bn\.(\w+)",
        lambda m: f"{_stage(m)}.nonlocal{m[2]}.bn.{m[3]}",
    ),
    (r"cls_head\.fc_cls\.(weight|bias)", r"fc.\1"),
]
OPTIONS = {
    "stem": "skipping",
    "pool1_padding": 1,
    "norm": "batch",
    "nonlocal_norm": "batch",
    "res3_group_frames": 0,
    "w_z_bias": False,
    "global_pool": True,
}
STATISTICS = pixel_statistics([x / 255 for x in (123.675, 116.28, 103.53)], [x / 255 for x in (58.395, 57.12, 57.375)])


def read_mmaction2(path: str, part: str | None = None) -> Foreign:
    """A network of mmaction2, of old and new versions; `part` as in `read_state`.

    Raises:
        ValueError: not such a file.
    """
    return from_mmaction2(read_state(path, "mmaction2", part), where=path)


def from_mmaction2(state: State, *, where: str) -> Foreign:
    """The network in this project's names.

    Embedded Gaussian and dot product have the same tensors, and so have the two kinds of C2D: the settings in the file
    tell which it is.

    Raises:
        ValueError: kernels of other dimensions than those of images or videos.
    """
    meta = state.content.get("meta")
    settings = str(meta.get("cfg") or meta.get("config") or "") if isinstance(meta, dict) else ""
    tensors = {name: one for name, one in state.tensors.items() if not name.startswith("ema_")}  # mmcv 1's averages.
    dimensions = tensors["backbone.conv1.conv.weight"].ndim
    if dimensions not in (4, 5):
        raise ValueError(f"{where}: not a network of mmaction2: a kernel of its conv1 has {dimensions} dimensions")
    of_images = dimensions == 4
    options, unknown = _image_options(settings) if of_images else _nonlocal_options(tensors, settings)
    if re.search(r"style\s*=\s*['\"]caffe['\"]", settings):
        options["stride_in"] = "1x1"
    weights = {rename(name, RULES): tensor for name, tensor in tensors.items()}
    ignored = state.left_out + [name for name in state.tensors if name not in tensors]
    return Foreign({**weights, **STATISTICS}, {**OPTIONS, **options}, ignored, unknown, copies=state.copies)


def _image_options(settings: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What 2-D kernels are of: its C2D pools frames in pairs, its ResNet looks at every frame by itself."""
    backbone = re.search(r"type\s*=\s*['\"](C2D|ResNet)['\"]", settings)
    if not backbone:
        error = (
            "the file does not tell its backbone; give --set pool2=true pool1_padding=0 for C2D, or "
            "pool2=false pool1_padding=1 for ResNet (nopool)"
        )
        return {"stem": "dense"}, {"pool2": error, "pool1_padding": error}
    pools = backbone[1] == "C2D"
    return {"stem": "dense", "pool2": pools, "pool1_padding": 0 if pools else 1}, {}


def _nonlocal_options(state: dict[str, Any], settings: str) -> tuple[dict[str, Any], dict[str, str]]:
    blocks = [name for name in state if ".non_local_block." in name]
    if not blocks:
        return {}, {}
    pooled = any(".non_local_block.g.0." in name for name in blocks)
    options: dict[str, Any] = {"subsample": "after" if pooled else "none"}
    if not any(".theta." in name for name in blocks):
        return {**options, "pairwise": "gaussian"}, {}
    mode = re.search(r"mode\s*=\s*['\"](dot_product|embedded_gaussian)['\"]", settings)
    if not mode:
        error = (
            "the file does not tell its pairwise function; give --set pairwise=dot_product, or "
            "pairwise=embedded_gaussian_unscaled for embedded_gaussian with use_scale=False"
        )
        return options, {"pairwise": error}
    scaled = mode[1] == "dot_product" or not re.search(r"use_scale\s*=\s*False", settings)
    return {**options, "pairwise": mode[1] if scaled else f"{mode[1]}_unscaled"}, {}
