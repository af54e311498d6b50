"""ResNet-50 and -101, and ResNeXt 32x8d, of images by torchvision's names, which most others use, too."""

from collections.abc import Iterator

from nonlocal_video.models.weights.state import LAYERS, State, StoredNetwork, pixel_statistics, renamed

RULES = {
    r"(conv1|bn1)\.(\w+)": "backbone.{}.{}",
    r"(layer\d)\.(\d+)\.downsample(.*)": "backbone.{}.block{}.shortcut{}",
    r"(layer\d)\.(\d+)\.(.*)": "backbone.{}.block{}.{}",
}
IMAGENET = pixel_statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
RESNEXT_32X8D = (256, 8)
"""Channels, and those of a group, of the second convolution of res2 in ResNeXt 32x8d, which X152 is."""
BOTTLENECK = {"conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample"}


def from_torchvision(state: State, *, where: str) -> StoredNetwork:
    """A network of images with ImageNet's pixel statistics and 2-D kernels; ValueError for another kind of ResNet."""
    other = next(_other_kinds(state), None)
    if other is not None:
        raise ValueError(
            f"{where}: not a plain ResNet with bottlenecks: {other}; expected the state dict of a ResNet-50 or -101, "
            "such as torchvision's resnet50.pth or timm's resnet50"
        )
    weights = {**renamed(state.tensors, RULES, LAYERS), **IMAGENET}
    untold = ("stride_in", "pool1_rounds_up")
    return StoredNetwork(weights, {"pool1_padding": 1}, state.left_out, untold=untold, copies=state.copies)


def _other_kinds(state: State) -> Iterator[str]:
    """Yields what speaks against plain bottlenecks, the first of which is to be told."""
    tensors, block = state.tensors, "layer1.0."
    if f"{block}conv3.weight" not in tensors:
        yield "it has basic blocks, as ResNet-18 and -34 have"
    if "conv1.weight" not in tensors:
        yield "its stem is no single convolution (conv1.weight), as that of ResNet-D is not"
    more = sorted({name.split(".")[2] for name in tensors if name.startswith(block)} - BOTTLENECK)
    if more:
        yield f"its residual blocks also have {', '.join(more)}"
    second, third = tensors.get(f"{block}conv2.weight", tensors["conv1.weight"]), tensors[f"{block}conv3.weight"]
    if (second.ndim, third.ndim) != (4, 4):
        yield f"its kernels have {third.ndim} dimensions, not the 4 of networks of images"
    if second.shape[:2] == RESNEXT_32X8D:
        return
    if second.shape[1] != second.shape[0]:
        yield f"its convolutions are in {second.shape[0] // max(1, second.shape[1])} groups, as in ResNeXt"
    if third.shape[0] != 4 * third.shape[1]:
        yield f"its bottlenecks go from {third.shape[1]} to {third.shape[0]} channels, not to four times as many"
