"""torchvision's ImageNet ResNet-50 and -101: a state dict as `torch.save` writes it."""

import re

from torch import Tensor

from nonlocal_video.models.weights.file import read_torch_file

_LAYER = re.compile(r"layer(\d)\.(\d+)\.(.*)")


def read_torchvision(path: str) -> dict[str, Tensor]:
    """The tensors of a torchvision ResNet in this project's names; kernels stay 2-D.

    Raises:
        ValueError: not a state dict, or not one of a torchvision ResNet with bottlenecks.
    """
    state = read_torch_file(path)
    if not isinstance(state, dict) or not {"conv1.weight", "layer1.0.conv3.weight"} <= state.keys():
        raise ValueError(f"{path}: not the state dict of a torchvision ResNet-50 or ResNet-101")
    return {_rename(name): tensor for name, tensor in state.items()}


def _rename(name: str) -> str:
    match = _LAYER.fullmatch(name)
    if not match:
        return name if name.startswith("fc.") else f"backbone.{name}"
    layer, block, rest = match.groups()
    return f"backbone.res{int(layer) + 1}.block{block}.{rest.replace('downsample', 'shortcut')}"
