"""Files of weights as other code bases write them, made from random numbers, and the networks that they are of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_video.models.weights.published import Published
from tests.models import caffe2_oracle, mmaction2_oracle

MMACTION2_PIXELS = [x / 255 for x in (123.675, 116.28, 103.53)], [x / 255 for x in (58.395, 57.12, 57.375)]
"""Mean and standard deviation (fact: its configurations)."""


def random_clips(length: int = 16, height: int = 64, width: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, length, height, width), dtype=torch.uint8, generator=generator)


def normalised(clips: Tensor, mean: Any = 0.45, std: Any = 0.225) -> Tensor:
    mean, std = (torch.as_tensor(x, dtype=torch.float32).reshape(-1, 1, 1, 1) for x in (mean, std))
    return (clips / 255 - mean) / std


def randomise(model: nn.Module) -> None:
    """Random statistics and gammas, so that no branch is zero."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.3, 0.9)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.1)


# PySlowFast and pytorchvideo


def hub_network(
    kind: str, *, num_classes: int, places: dict[int, tuple[int, ...]], instantiation: str = "softmax", width: int = 64
) -> nn.Module:
    """pytorchvideo's network for 8x8 clips of 64x64, with its non-local layer after the residual blocks of `places`.

    Its first layer, and its first stage inside, have `width` channels, all others in proportion.
    """
    from pytorchvideo.layers.nonlocal_net import create_nonlocal
    from pytorchvideo.models import hub

    model = getattr(hub, f"{kind}_r50")(
        model_num_class=num_classes, head_pool_kernel_size=(4, 2, 2), stem_dim_out=width
    )
    for stage, indices in places.items():
        blocks = model.blocks[stage].res_blocks
        for i in indices:
            channels = blocks[i].branch2.conv_c.out_channels
            layer = create_nonlocal(
                dim_in=channels, dim_inner=channels // 2, pool_size=(1, 2, 2), instantiation=instantiation
            )
            blocks[i] = nn.Sequential(blocks[i], layer)
    randomise(model)
    return model.eval()


def pyslowfast_name(name: str) -> str:
    """The name of one of pytorchvideo's tensors in PySlowFast (fact: its converter's table)."""
    parts = name.split(".")
    if parts[1] == "0":
        return f"s1.pathway0_stem.{'bn' if parts[2] == 'norm' else 'conv'}.{parts[3]}"
    if parts[1] == "6":
        return f"head.projection.{parts[3]}"
    stage = {"1": "s2", "3": "s3", "4": "s4", "5": "s5"}[parts[1]]
    rest = parts[4:]
    if rest[0] == "1":  # The non-local layer behind a residual block.
        return f"{stage}.pathway0_nonlocal{parts[3]}.{'.'.join(rest[1:]).replace('norm', 'bn')}"
    rest = rest[1:] if rest[0] == "0" else rest
    if rest[0] == "branch2":
        layer, letter = rest[1].split("_")
        inner = f"branch2.{letter}" + ("_bn" if layer == "norm" else "")
        return f"{stage}.pathway0_res{parts[3]}.{inner}.{rest[2]}"
    return f"{stage}.pathway0_res{parts[3]}.{'branch1_bn' if rest[0].endswith('norm') else 'branch1'}.{rest[1]}"


SLOWFAST_PLACES = {3: (1, 3), 4: (1, 3, 5)}


def slowfast_settings(instantiation: str, arch: str = "i3d") -> str:
    """The part of PySlowFast's dumped settings that is read."""
    return yaml.safe_dump(
        {
            "DATA": {"MEAN": [0.45] * 3, "STD": [0.225] * 3},
            "MODEL": {"ARCH": arch, "MODEL_NAME": "ResNet"},
            "NONLOCAL": {"INSTANTIATION": instantiation, "POOL": [[[1, 2, 2], [1, 2, 2]]] * 4},
        }
    )


def zoo_blobs(network: nn.Module) -> dict[str, np.ndarray]:
    """The tensors of one of pytorchvideo's networks by the names of a Caffe2 pickle in PySlowFast's model zoo."""
    norm = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    blobs = {}
    for name, tensor in network.state_dict().items():
        parts = pyslowfast_name(name).split(".")
        if parts[-1] == "num_batches_tracked":
            continue
        stage = f"res{parts[0][1]}"
        if parts[0] == "head":
            blob = f"pred_{parts[-1][0]}"
        elif parts[0] == "s1":
            blob = f"res_conv1_bn_{norm[parts[-1]]}" if parts[2] == "bn" else "conv1_w"
        elif "nonlocal" in parts[1]:
            head = f"nonlocal_{stage.replace('res', 'conv')}_{parts[1][17:]}"
            layer = parts[2].removeprefix("conv_")
            blob = f"{head}_bn_{norm[parts[3]]}" if layer == "bn" else f"{head}_{layer}_{parts[3][0]}"
        else:
            head, layer = f"{stage}_{parts[1][12:]}_branch", "".join(parts[2:-1]).removeprefix("branch")
            is_norm, layer = layer.endswith("_bn"), layer.removesuffix("_bn")
            blob = f"{head}{layer}_" + (f"bn_{norm[parts[-1]]}" if is_norm else "w")
        blobs[blob] = tensor.numpy()
    return blobs


# mmaction2


class FrameByFrame(nn.Module):
    """mmaction2's C2D networks: torchvision's image network on the frames (fact: c2d.py and recognizer2d.py).

    With `pools` pool1 has no padding, and after layer1 frames are pooled in pairs; features of all frames are averaged.
    """

    def __init__(self, *, pools: bool, num_classes: int) -> None:
        super().__init__()
        self.pools, self.image = pools, torchvision.models.resnet50(num_classes=num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """X (B, 3, T, H, W), normalised -> logits (B, K)."""
        batch, net = len(x), self.image
        x = F.relu(net.bn1(net.conv1(x.transpose(1, 2).flatten(0, 1))))  # (B T, C, H, W)
        x = net.layer1(F.max_pool2d(x, 3, 2, padding=0 if self.pools else 1))
        if self.pools:
            x = torch.maximum(x[0::2], x[1::2])
        x = net.layer4(net.layer3(net.layer2(x)))
        return net.fc(x.mean(dim=(2, 3)).unflatten(0, (batch, -1)).mean(dim=1))


def frame_by_frame(*, pools: bool, num_classes: int) -> FrameByFrame:
    network = FrameByFrame(pools=pools, num_classes=num_classes)
    randomise(network)
    return network.eval()


def mmaction2_name(name: str) -> str:
    """The name of one of torchvision's tensors in mmaction2 (fact: a layer there is a convolution with its norm)."""
    parts = name.split(".")
    if parts[0] == "fc":
        return f"cls_head.fc_cls.{parts[1]}"
    if "downsample" in parts:
        return f"backbone.{'.'.join(parts[:-2])}.{'conv' if parts[-2] == '0' else 'bn'}.{parts[-1]}"
    kind, number = parts[-2][:-1], parts[-2][-1]
    return ".".join(["backbone", *parts[:-2], f"conv{number}", kind, parts[-1]])


def save_frame_by_frame(network: FrameByFrame, path: Path, *, settings: str) -> None:
    state = {mmaction2_name(name): tensor for name, tensor in network.image.state_dict().items()}
    torch.save({"meta": {"cfg": settings, "epoch": 100}, "state_dict": state}, path)


# Published models


def stand_in(model: Published, path: Path) -> Callable[[Tensor], Tensor]:
    """Writes such a file as the published one, with random weights and 400 classes.

    Returns:
        The logits (B, 400) of the network that it is of, for clips (B, 3, T, H, W) uint8 up to the training crop.
    """
    kind = model.network.split("_r")[0]
    if model.format == "caffe2":
        return _caffe2(kind, path, stem="org" if model.network.endswith(("32x2", "128x1")) else "new")
    if model.format == "mmaction2":
        return _mmaction2(model, path)
    network = hub_network(kind[-3:], num_classes=400, places=SLOWFAST_PLACES if kind.startswith("nl") else {})
    if model.format == "pyslowfast":
        caffe2_oracle.dump_python2(zoo_blobs(network), path, nested=True, protocol=2)
    else:
        torch.save({"model_state": network.state_dict()}, path)
    return lambda clips: network(normalised(clips))


def _caffe2(kind: str, path: Path, *, stem: str) -> Callable[[Tensor], Tensor]:
    blobs = caffe2_oracle.random_blobs(kind, num_classes=400)
    content = caffe2_oracle.with_training_state(blobs)
    caffe2_oracle.dump_python2(content, path, nested=True, protocol=2, unicode_keys=True)
    return lambda clips: caffe2_oracle.forward(blobs, normalised(clips), kind=kind, stem=stem)


def _mmaction2(model: Published, path: Path) -> Callable[[Tensor], Tensor]:
    if model.network.startswith("c2d"):
        network = frame_by_frame(pools=model.options["pool2"], num_classes=400)
        save_frame_by_frame(network, path, settings="")
        return lambda clips: network(normalised(clips, *MMACTION2_PIXELS))
    mode = model.options["pairwise"].removesuffix("_unscaled") if model.options else None
    state = mmaction2_oracle.random_state(mode, num_classes=400)
    mmaction2_oracle.save(state, path)
    return lambda clips: mmaction2_oracle.forward(state, normalised(clips, *MMACTION2_PIXELS), mode=mode)
