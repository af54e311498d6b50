"""mmaction2's I3D and NL-I3D (ResNet3d): {"state_dict": ..., "meta": ...}."""

import re
from typing import Any

from nonlocal_video.models.weights.file import read_torch_file
from nonlocal_video.models.weights.foreign import Foreign, Rule, pixel_statistics, rename


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


def read_mmaction2(path: str) -> Foreign:
    """A network of mmaction2. Embedded Gaussian and dot product have the same tensors: the settings in the file tell.

    Raises:
        ValueError: not such a file.
    """
    content = read_torch_file(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or "backbone.conv1.conv.weight" not in state:
        raise ValueError(f"{path}: not a ResNet3d of mmaction2: it has no state_dict with backbone.conv1.conv.weight")
    options, unknown = _nonlocal_options(state, str((content.get("meta") or {}).get("cfg", "")))
    weights = {rename(name, RULES): tensor for name, tensor in state.items()}
    ignored = [name for name in content if name != "state_dict"]
    return Foreign({**weights, **STATISTICS}, {**OPTIONS, **options}, ignored, unknown)


def _nonlocal_options(state: dict[str, Any], settings: str) -> tuple[dict[str, Any], str]:
    blocks = [name for name in state if ".non_local_block." in name]
    if not blocks:
        return {}, ""
    pooled = any(".non_local_block.g.0." in name for name in blocks)
    options: dict[str, Any] = {"subsample": "after" if pooled else "none"}
    if not any(".theta." in name for name in blocks):
        return {**options, "pairwise": "gaussian"}, ""
    mode = re.search(r"mode\s*=\s*['\"](dot_product|embedded_gaussian)['\"]", settings)
    if not mode:
        return options, (
            "the file does not tell its pairwise function; give --set pairwise=dot_product, or "
            "pairwise=embedded_gaussian_unscaled for embedded_gaussian with use_scale=False"
        )
    scaled = mode[1] == "dot_product" or not re.search(r"use_scale\s*=\s*False", settings)
    return {**options, "pairwise": mode[1] if scaled else f"{mode[1]}_unscaled"}, ""
