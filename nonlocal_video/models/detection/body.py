"""The body of a detector: our residual network on images as clips of one frame, and a feature pyramid on it."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from nonlocal_video.models.layers import set_kernel_layout
from nonlocal_video.models.nonlocal_block import pairwise_name
from nonlocal_video.models.placement import places_for, verify_places
from nonlocal_video.models.resnet3d import STAGES, ResNet3d
from nonlocal_video.settings.network import DEPTHS, NetworkOptions


class Body(nn.Module):
    """The residual network, and the mean and standard deviation of the pixels that its weights were trained with.

    Its tensors have the names of a network of clips, so that the same files of weights start both.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, options: NetworkOptions, *, levels: Sequence[str], frozen_stages: int) -> None:
        super().__init__()
        # Of values from 0 to 1, those of ImageNet's pictures.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None, None])
        self.options, self.levels = options, tuple(levels)
        places = places_for(DEPTHS[options.depth].blocks, options.nonlocal_blocks)
        self.backbone = ResNet3d(options, places=places)
        verify_places(
            self.backbone, places, added=options.added, pairwise=pairwise_name(options.pairwise), axes=options.axes
        )
        # The first stage is conv1 and its normalisation.
        self.frozen = ("conv1", "bn1", *STAGES)[: frozen_stages + 1 if frozen_stages else 0]
        for name in self.frozen:
            self.backbone.get_submodule(name).requires_grad_(False)
        self.lay_out(channels_last=True)

    def lay_out(self, *, channels_last: bool) -> None:
        """Sets the memory format of feature maps and kernels, before the network is wrapped and its optimiser made."""
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        set_kernel_layout(self, self.memory_format)

    def train(self, mode: bool = True) -> "Body":
        """Training mode but for what is frozen, whose batch normalisation keeps its statistics."""
        super().train(mode)
        for name in self.frozen:
            self.backbone.get_submodule(name).eval()
        return self

    def normalise(self, image: Tensor) -> Tensor:
        """An image (3, H, W) uint8 -> float32, less the mean and over the standard deviation."""
        mean, std = self.mean[..., 0], self.std[..., 0]
        return (image.to(mean.dtype) / 255 - mean) / std

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        """Normalised images (B, 3, H, W) -> the map (B, C, H / s, W / s) of each level by the name of its stage."""
        x = self.backbone.enter(images[:, :, None].contiguous(memory_format=self.memory_format))
        maps = OrderedDict[str, Tensor]()
        for stage in STAGES:
            x = self.backbone.stage(stage, x)
            if stage in self.levels:
                maps[stage] = x[:, :, 0]
        return maps


class Pyramid(nn.Module):
    """A body with a feature pyramid: images (B, 3, H, W) -> maps of `out_channels` channels by the names of levels."""

    def __init__(self, body: Body, *, out_channels: int) -> None:
        super().__init__()
        self.body, self.out_channels = body, out_channels
        width = DEPTHS[body.options.depth].width
        channels = [4 * width * 2 ** STAGES.index(level) for level in body.levels]
        self.fpn = FeaturePyramidNetwork(channels, out_channels, LastLevelMaxPool())

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        return self.fpn(self.body(images))
