"""C2D and I3D of PySlowFast (.pyth files, and Caffe2 .pkl files of its model zoo) and of pytorchvideo's hub."""

from typing import Any

import yaml

from nonlocal_video.models.weights.caffe2 import read_caffe2
from nonlocal_video.models.weights.state import State, StoredNetwork, pixel_statistics, renamed

WORDS = {
    "a": "1", "b": "2", "c": "3", "norm": "bn",
    "blocks.1": "res2", "blocks.3": "res3", "blocks.4": "res4", "blocks.5": "res5",  # blocks.2 has no parameters.
}  # fmt: skip
PYSLOWFAST = {
    r"s1\.pathway0_stem\.conv\.weight": "backbone.conv1.weight",
    r"s1\.pathway0_stem\.bn\.(\w+)": "backbone.bn1.{}",
    r"s(\d)\.pathway0_res(\d+)\.branch1\.weight": "backbone.res{}.block{}.shortcut.0.weight",
    r"s(\d)\.pathway0_res(\d+)\.branch1_bn\.(\w+)": "backbone.res{}.block{}.shortcut.1.{}",
    r"s(\d)\.pathway0_res(\d+)\.branch2\.([abc])\.weight": "backbone.res{}.block{}.conv{}.weight",
    r"s(\d)\.pathway0_res(\d+)\.branch2\.([abc])_bn\.(\w+)": "backbone.res{}.block{}.bn{}.{}",
    r"s(\d)\.pathway0_nonlocal(\d+)\.conv_out\.(\w+)": "backbone.res{}.nonlocal{}.w_z.{}",
    r"s(\d)\.pathway0_nonlocal(\d+)\.conv_(theta|phi|g)\.(\w+)": "backbone.res{}.nonlocal{}.{}.{}",
    r"s(\d)\.pathway0_nonlocal(\d+)\.bn\.(\w+)": "backbone.res{}.nonlocal{}.bn.{}",
    r"head\.projection\.(weight|bias)": "fc.{}",
}
PYTORCHVIDEO = {
    r"blocks\.0\.conv\.weight": "backbone.conv1.weight",
    r"blocks\.0\.norm\.(\w+)": "backbone.bn1.{}",
    r"(blocks\.[1345])\.res_blocks\.(\d+)\.branch1_conv\.(\w+)": "backbone.{}.block{}.shortcut.0.{}",
    r"(blocks\.[1345])\.res_blocks\.(\d+)\.branch1_norm\.(\w+)": "backbone.{}.block{}.shortcut.1.{}",
    r"(blocks\.[1345])\.res_blocks\.(\d+)\.branch2\.(conv|norm)_([abc])\.(\w+)": "backbone.{}.block{}.{}{}.{}",
    r"blocks\.6\.proj\.(weight|bias)": "fc.{}",
}
OPTIONS = {"stem": "dense", "pool1_padding": 1, "norm": "batch"}
BLOCK_OPTIONS = {**OPTIONS, "nonlocal_norm": "batch", "res3_group_frames": 0}
_PAIRWISE = {"softmax": "embedded_gaussian", "dot_product": "dot_product"}
_UNKNOWN = (
    "the file does not tell its pairwise function; give --set pairwise=embedded_gaussian (INSTANTIATION softmax) "
    "or pairwise=dot_product (PySlowFast's default)"
)


def read_zoo_pickle(path: str) -> StoredNetwork:
    """A network of PySlowFast's model zoo, which has the names of the released pickles; ValueError if it is none."""
    caffe2 = read_caffe2(path)
    return caffe2._replace(options={**caffe2.options, **BLOCK_OPTIONS}, unknown=_unknown(caffe2.weights))


def from_pyslowfast(state: State, *, where: str) -> StoredNetwork:
    """A network of PySlowFast, as far as the settings in the file tell; ValueError if these cannot be understood."""
    weights = renamed(state.tensors, PYSLOWFAST, WORDS)
    if "cfg" not in state.content:
        return StoredNetwork(weights, BLOCK_OPTIONS, state.left_out, _unknown(weights), copies=state.copies)
    try:
        settings: dict[str, Any] = yaml.safe_load(state.content["cfg"])
        pairwise = _PAIRWISE[settings["NONLOCAL"]["INSTANTIATION"]]
        pools = [tuple(pool) for stage in settings["NONLOCAL"]["POOL"] for pool in stage]
        model = settings["MODEL"]
        stride_in = "1x1" if settings.get("RESNET", {}).get("STRIDE_1X1") else "3x3"
        pool2 = model["ARCH"] in {"c2d", "i3d"} and not model["MODEL_NAME"].endswith("nopool")
        statistics = pixel_statistics(settings["DATA"]["MEAN"], settings["DATA"]["STD"])
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: its settings (cfg) cannot be understood: {error!r}") from error
    subsample = "before" if (1, 2, 2) in pools else "none"
    options = {"pairwise": pairwise, "pool2": pool2, "subsample": subsample, "stride_in": stride_in}
    return StoredNetwork({**weights, **statistics}, {**BLOCK_OPTIONS, **options}, state.left_out, copies=state.copies)


def _unknown(weights: dict[str, Any]) -> dict[str, str]:
    return {"pairwise": _UNKNOWN} if any(".nonlocal" in name for name in weights) else {}


def from_pytorchvideo(state: State, *, where: str) -> StoredNetwork:
    """A network of pytorchvideo's hub; ValueError for one without the pooling after res2 (Slow, SlowFast, ...)."""
    if "blocks.6.proj.weight" not in state.tensors:
        raise ValueError(f"{where}: not a C2D or I3D of pytorchvideo: it has no blocks.6.proj")
    return StoredNetwork(renamed(state.tensors, PYTORCHVIDEO, WORDS), OPTIONS, state.left_out, copies=state.copies)
