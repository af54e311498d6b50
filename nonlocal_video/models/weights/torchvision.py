"""torchvision's ImageNet ResNet-50 and -101: a state dict as `torch.save` writes it."""

from nonlocal_video.models.weights.file import read_torch_file
from nonlocal_video.models.weights.foreign import IMAGENET, Foreign, Rule, rename

RULES: list[Rule] = [
    (r"(conv1|bn1)\.(\w+)", r"backbone.\1.\2"),
    (
        r"layer(\d)\.(\d+)\.(.*)",
        lambda m: f"backbone.res{int(m[1]) + 1}.block{m[2]}.{m[3].replace('downsample', 'shortcut')}",
    ),
]


def read_torchvision(path: str) -> Foreign:
    """An image network; its kernels stay 2-D until they are inflated, and it has 1000 classes of images.

    Raises:
        ValueError: not a state dict, or not one of a torchvision ResNet with bottlenecks.
    """
    state = read_torch_file(path)
    if not isinstance(state, dict) or not {"conv1.weight", "layer1.0.conv3.weight"} <= state.keys():
        raise ValueError(f"{path}: not the state dict of a torchvision ResNet-50 or ResNet-101")
    return Foreign(
        {**{rename(name, RULES): tensor for name, tensor in state.items()}, **IMAGENET}, {"pool1_padding": 1}, []
    )
