"""PySlowFast's C2D and I3D: its own .pyth files, and the Caffe2 .pkl files of its model zoo."""

from typing import Any

import yaml

from nonlocal_video.models.weights.caffe2 import read_caffe2
from nonlocal_video.models.weights.foreign import Foreign, Rule, pixel_statistics, rename
from nonlocal_video.models.weights.state import State, read_state

_LAYER = {"a": "1", "b": "2", "c": "3"}

RULES: list[Rule] = [
    (r"s1\.pathway0_stem\.conv\.weight", "backbone.conv1.weight"),
    (r"s1\.pathway0_stem\.bn\.(\w+)", r"backbone.bn1.\1"),
    (r"s(\d)\.pathway0_res(\d+)\.branch1\.weight", r"backbone.res\1.block\2.shortcut.0.weight"),
    (r"s(\d)\.pathway0_res(\d+)\.branch1_bn\.(\w+)", r"backbone.res\1.block\2.shortcut.1.\3"),
    (
        r"s(\d)\.pathway0_res(\d+)\.branch2\.([abc])\.weight",
        lambda m: f"backbone.res{m[1]}.block{m[2]}.conv{_LAYER[m[3]]}.weight",
    ),
    (
        r"s(\d)\.pathway0_res(\d+)\.branch2\.([abc])_bn\.(\w+)",
        lambda m: f"backbone.res{m[1]}.block{m[2]}.bn{_LAYER[m[3]]}.{m[4]}",
    ),
    (r"s(\d)\.pathway0_nonlocal(\d+)\.conv_out\.(\w+)", r"backbone.res\1.nonlocal\2.w_z.\3"),
    (r"s(\d)\.pathway0_nonlocal(\d+)\.conv_(theta|phi|g)\.(\w+)", r"backbone.res\1.nonlocal\2.\3.\4"),
    (r"s(\d)\.pathway0_nonlocal(\d+)\.bn\.(\w+)", r"backbone.res\1.nonlocal\2.bn.\3"),
    (r"head\.projection\.(weight|bias)", r"fc.\1"),
]
OPTIONS = {"stem": "dense", "pool1_padding": 1, "norm": "batch", "nonlocal_norm": "batch", "res3_group_frames": 0}
_PAIRWISE = {"softmax": "embedded_gaussian", "dot_product": "dot_product"}
_UNKNOWN = (
    "the file does not tell its pairwise function; give --set pairwise=embedded_gaussian (INSTANTIATION softmax) "
    "or pairwise=dot_product (PySlowFast's default)"
)


def read_pyslowfast(path: str, part: str | None = None) -> Foreign:
    """A network of PySlowFast; `part` as in `read_state`.

    Raises:
        ValueError: not such a file.
    """
    if path.endswith(".pkl"):
        caffe2 = read_caffe2(path)
        return Foreign(caffe2.weights, {**caffe2.options, **OPTIONS}, caffe2.ignored, _unknown(caffe2.weights))
    return from_pyslowfast(read_state(path, "pyslowfast", part), where=path)


def from_pyslowfast(state: State, *, where: str) -> Foreign:
    """The network in this project's names; its pairwise function and pixel statistics are in the settings in the file.

    Raises:
        ValueError: settings that cannot be understood.
    """
    content, copies = state.content, state.copies
    weights = {rename(name, RULES): tensor for name, tensor in state.tensors.items()}
    if "cfg" not in content:
        return Foreign(weights, OPTIONS, state.left_out, _unknown(weights), copies=copies)
    try:
        settings: dict[str, Any] = yaml.safe_load(content["cfg"])
        pairwise = _PAIRWISE[settings["NONLOCAL"]["INSTANTIATION"]]
        pools = [tuple(pool) for stage in settings["NONLOCAL"]["POOL"] for pool in stage]
        model = settings["MODEL"]
        stride_in = "1x1" if settings.get("RESNET", {}).get("STRIDE_1X1") else "3x3"
        pool2 = model["ARCH"] in {"c2d", "i3d"} and not model["MODEL_NAME"].endswith("nopool")
        statistics = pixel_statistics(settings["DATA"]["MEAN"], settings["DATA"]["STD"])
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: its settings (cfg) cannot be understood: {error!r}") from error
    pooled = (1, 2, 2) in pools
    options = {
        "pairwise": pairwise,
        "pool2": pool2,
        "subsample": "before" if pooled else "none",
        "stride_in": stride_in,
    }
    return Foreign({**weights, **statistics}, {**OPTIONS, **options}, state.left_out, copies=copies)


def _unknown(weights: dict[str, Any]) -> dict[str, str]:
    return {"pairwise": _UNKNOWN} if any(".nonlocal" in name for name in weights) else {}
