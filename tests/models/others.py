"""A small network of this project by the names that other code bases give its tensors."""

import re

from torch import Tensor

from nonlocal_video.models.classifier import Classifier

_STEM_AND_HEAD = {
    "torchvision": ("conv1", "bn1", "fc"),
    "mmaction2": ("backbone.conv1.conv", "backbone.conv1.bn", "cls_head.fc_cls"),
    "pyslowfast": ("s1.pathway0_stem.conv", "s1.pathway0_stem.bn", "head.projection"),
}


def named_by(code_base: str, model: Classifier) -> dict[str, Tensor]:
    """Its tensors; kernels without an extent over time are 2-D by torchvision's names."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name not in ("mean", "std"):
            flat = code_base == "torchvision" and tensor.ndim == 5
            state[_name(code_base, name.removeprefix("backbone."))] = tensor.squeeze(2) if flat else tensor
    return state


def _name(code_base: str, name: str) -> str:
    layer, _, kind = name.rpartition(".")
    for own, theirs in zip(("conv1", "bn1", "fc"), _STEM_AND_HEAD[code_base], strict=True):
        if layer == own:
            return f"{theirs}.{kind}"
    stage, block, inner = re.fullmatch(r"res(\d)\.[a-z]+(\d+)\.(.*)", layer).groups()
    added = ".nonlocal" in name
    if code_base == "torchvision":
        return f"layer{int(stage) - 1}.{block}.{inner.replace('shortcut', 'downsample')}.{kind}"
    if code_base == "mmaction2":
        return f"backbone.layer{int(stage) - 1}.{block}.{_mmaction2(inner, added=added)}.{kind}"
    return f"s{stage}.pathway0_{'nonlocal' if added else 'res'}{block}.{_pyslowfast(inner, added=added)}.{kind}"


def _mmaction2(inner: str, *, added: bool) -> str:
    if added:
        names = {
            "theta": "theta.conv",
            "phi": "phi.0.conv",
            "g": "g.0.conv",
            "w_z": "conv_out.conv",
            "bn": "conv_out.bn",
        }
        return f"non_local_block.{names[inner]}"
    if inner.startswith("shortcut"):
        return f"downsample.{'conv' if inner.endswith('0') else 'bn'}"
    return f"conv{inner[-1]}.{inner[:-1]}"


def _pyslowfast(inner: str, *, added: bool) -> str:
    if added:
        return {"w_z": "conv_out", "bn": "bn"}.get(inner, f"conv_{inner}")
    if inner.startswith("shortcut"):
        return "branch1" if inner.endswith("0") else "branch1_bn"
    letter = "abc"[int(inner[-1]) - 1]
    return f"branch2.{letter}" + ("_bn" if inner.startswith("bn") else "")
