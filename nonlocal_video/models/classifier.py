"""A network from uint8 clips to logits and scores: normalisation, backbone, head."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from nonlocal_video.models.capture import is_captured
from nonlocal_video.models.layers import set_kernel_layout
from nonlocal_video.models.nonlocal_block import plain_options
from nonlocal_video.models.resnet3d import ResNet3d
from nonlocal_video.settings.network import NetworkOptions
from nonlocal_video.types import ParameterGroup


class Classifier(nn.Module):
    """normalise -> backbone -> average pool -> dropout -> fc.

    The pooling window is the whole final map of a training clip (or of any clip with `options.global_pool`). On a
    larger clip the network is fully convolutional: the window slides with stride 1 and the fc answers at every
    position, as in the released code's testing head.

    The mean and standard deviation of pixel values from 0 to 1 are stored with the weights (released code: 114.75 and
    57.375 of 255, for every channel).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: ResNet3d, options: NetworkOptions) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((3, 1, 1, 1), 0.45))
        self.register_buffer("std", torch.full((3, 1, 1, 1), 0.225))
        self.backbone, self.options = backbone, options
        t, h, w = backbone.final_map(options.clip_length, options.crop, options.crop)
        self.window = None if options.global_pool else (t, h, w)
        self.dropout = nn.Dropout(options.dropout)
        self.fc = nn.Linear(backbone.channels, options.num_classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)
        self.lay_out(channels_last=True)

    def lay_out(self, *, channels_last: bool) -> None:
        """Sets the memory format of feature maps and kernels. It is not saved with the weights.

        To be called before the model is wrapped and its optimiser made: kernels are replaced.
        """
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        set_kernel_layout(self, self.memory_format)

    def groups(self, *, backbone_lr: float = 1.0) -> list[ParameterGroup]:
        """The parameters by how they are trained; `backbone_lr` is the factor of the rate of all but the classifier."""
        return parameter_groups(self, backbone=self.backbone, backbone_lr=backbone_lr)

    def train_mode(self) -> None:
        """Training mode; a frozen backbone stays in evaluation mode, so that its batch normalisation is frozen, too."""
        self.train()
        if not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()

    def compiled(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call compiled as one graph."""
        return torch.compile(call)

    def plain_options(self) -> dict[str, Any]:
        """The fields of `NetworkOptions` in values that any file can hold."""
        return plain_options(self.options)

    def smallest_side(self) -> int:
        """The smallest square that leaves 2x2 positions at the end: keys can be pooled, and statistics be had."""
        for side in range(1, self.options.crop):
            with suppress(ValueError):  # Too small for the strides.
                if min(self.backbone.final_map(self.options.clip_length, side, side)[1:]) > 1:
                    return side
        return self.options.crop

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) uint8 -> logits (B, K), averaged over the positions of the final map.

        Raises:
            ValueError: another kind of tensor, or a clip too small for the strides.
        """
        return self._captured(clips) if is_captured(clips) else self._logits(clips).mean(dim=1)

    def scores(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) uint8 -> scores (B, K): softmax or sigmoid at each position of the map, their mean."""
        logits = self._logits(clips).float()  # (B, positions, K)
        scores = logits.sigmoid() if self.options.activation == "sigmoid" else logits.softmax(dim=2)
        return scores.mean(dim=1)

    def features(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) uint8 -> (B, C): the output of res5, averaged over all of its positions.

        On a clip whose map the window covers, such as a training clip, `fc(features(clips))` is `forward(clips)`
        without dropout.
        """
        return self._map(clips).mean(dim=(2, 3, 4))

    def _logits(self, clips: Tensor) -> Tensor:
        x = self._map(clips)
        final = x.shape[2:]
        x = F.avg_pool3d(x, tuple(map(min, self.window or final, final)), stride=1)
        return self.fc(self.dropout(x.flatten(2).mT))  # (B, positions, K)

    def _captured(self, clips: Tensor) -> Tensor:
        """Clips of any size from the window up -> logits (B, K), by one form for all sizes."""
        x = self._map(clips)
        for length in reversed(self.window or x.shape[2:]):
            x = x @ _shares(x.shape[-1], length, like=x)
        return self.fc(self.dropout(x))

    def _map(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) uint8 -> the output of the backbone (B, C, T', H', W')."""
        if clips.ndim != 5 or clips.shape[1] != 3 or clips.dtype != torch.uint8:
            got = f"clips of shape {tuple(clips.shape)} and {clips.dtype}"
            raise ValueError(f"got {got}, expected (B, 3, T, H, W) of torch.uint8")
        self.backbone.final_map(*clips.shape[2:])  # Refuses a clip that is too small.
        clips = clips.contiguous(memory_format=self.memory_format).to(self.mean.dtype)
        # (clips / 255 - mean) / std in one pass.
        return self.backbone(torch.addcmul(-self.mean / self.std, clips, 1 / (255 * self.std)))


def parameter_groups(
    model: nn.Module, *, backbone: nn.Module | None = None, backbone_lr: float = 1.0, bias_lr: float = 1.0
) -> list[ParameterGroup]:
    """The parameters that are trained; those of batch normalisation do not decay (released WEIGHT_DECAY_BN 0).

    The biases of non-local blocks and of the classifier decay, as in the released code.

    Args:
        backbone, backbone_lr: a part of the model, and the factor of its learning rate.
        bias_lr: factor of the learning rate of all other biases; where it is not 1 they do not decay, as in Detectron.
    """
    norms = {id(p) for module in model.modules() if isinstance(module, _BatchNorm) for p in module.parameters()}
    slow = {id(p) for p in backbone.parameters()} if backbone is not None else set()
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            norm, rate = id(parameter) in norms, backbone_lr if id(parameter) in slow else 1.0
            bias = bias_lr != 1 and not norm and name.endswith(".bias")
            groups.setdefault((norm or bias, rate * bias_lr if bias else rate), []).append(parameter)
    return [ParameterGroup(groups[kept, rate], rate, decays=not kept) for kept, rate in sorted(groups)]


def _shares(size: int, length: int, *, like: Tensor) -> Tensor:
    """The share (size,) of each value in the mean of the means of all windows of this length."""
    length = min(length, size)
    place = torch.arange(size, device=like.device)
    windows = place.clamp(max=size - length) - (place - length + 1).clamp(min=0) + 1
    return windows.to(like.dtype) / (length * (size - length + 1))
