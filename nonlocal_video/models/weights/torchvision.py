"""ResNet-50 and -101 of images by torchvision's names, which timm, mmpretrain, MoCo and most others use, too."""

from torch import Tensor

from nonlocal_video.models.weights.foreign import IMAGENET, Foreign, Rule, rename
from nonlocal_video.models.weights.state import State, read_state

RULES: list[Rule] = [
    (r"(conv1|bn1)\.(\w+)", r"backbone.\1.\2"),
    (
        r"layer(\d)\.(\d+)\.(.*)",
        lambda m: f"backbone.res{int(m[1]) + 1}.block{m[2]}.{m[3].replace('downsample', 'shortcut')}",
    ),
]


def read_torchvision(path: str, part: str | None = None) -> Foreign:
    """An image network; its kernels stay 2-D until they are inflated, and it has 1000 classes of images.

    Args:
        part: as in `read_state`.

    Raises:
        ValueError: not such a file, or one of another kind of ResNet.
    """
    return from_torchvision(read_state(path, "torchvision", part), where=path)


def from_torchvision(state: State, *, where: str) -> Foreign:
    """The network in this project's names, with ImageNet's pixel statistics.

    Raises:
        ValueError: another kind of ResNet; says which.
    """
    other = _other_kind(state)
    if other is not None:
        raise ValueError(
            f"{where}: not a plain ResNet with bottlenecks: {other}; expected the state dict of a ResNet-50 or -101, "
            "such as torchvision's resnet50.pth or timm's resnet50"
        )
    weights = {rename(name, RULES): tensor for name, tensor in state.tensors.items()}
    return Foreign(
        {**weights, **IMAGENET},
        {"pool1_padding": 1},
        state.left_out,
        untold=("stride_in", "pool1_rounds_up"),
        copies=state.copies,
    )


def _other_kind(state: State) -> str | None:
    """What kind of ResNet it is, if it is none with plain bottlenecks."""
    tensors, block = state.tensors, "layer1.0."
    if f"{block}conv3.weight" not in tensors:
        return "it has basic blocks, as ResNet-18 and -34 have"
    if "conv1.weight" not in tensors:
        return "its stem is no single convolution (conv1.weight), as that of ResNet-D is not"
    layers = {name.split(".")[2] for name in tensors if name.startswith(block)}
    more = sorted(layers - {"conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample"})
    if more:
        return f"its residual blocks also have {', '.join(more)}"
    return _other_kernels(tensors.get(f"{block}conv2.weight", tensors["conv1.weight"]), tensors[f"{block}conv3.weight"])


def _other_kernels(second: Tensor, third: Tensor) -> str | None:
    """What the kernels of a bottleneck, (O, I, h, w), are of, if not of a plain one."""
    if (second.ndim, third.ndim) != (4, 4):
        return f"its kernels have {third.ndim} dimensions, not the 4 of networks of images"
    if second.shape[1] != second.shape[0]:
        return f"its convolutions are in {second.shape[0] // max(1, second.shape[1])} groups, as in ResNeXt"
    if third.shape[0] != 4 * third.shape[1]:
        return f"its bottlenecks go from {third.shape[1]} to {third.shape[0]} channels, not to four times as many"
    return None
