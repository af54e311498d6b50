"""Normalisation layers: batch normalisation, and the frozen affine that it becomes for long clips."""

from collections.abc import Container, Mapping

import torch
from torch import Tensor, nn

from nonlocal_video.settings.vocabulary import Norm


class FrozenAffine(nn.Module):
    """y = weight x + bias with one pair a channel, never trained: the released code's AffineNd.

    A batch normalisation in testing mode is such a map: see `fold_batch_norm`.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """X (B, C, T, H, W) -> the same shape."""
        weight, bias = (vector.to(x.dtype)[:, None, None, None] for vector in (self.weight, self.bias))
        return torch.addcmul(bias, x, weight)


def make_norm(norm: Norm, channels: int, *, eps: float) -> nn.Module:
    """A normalisation layer of the backbone.

    Raises:
        ValueError: an unknown kind.
    """
    if norm == "batch":
        return nn.BatchNorm3d(channels, eps=eps)
    if norm == "affine":
        return FrozenAffine(channels)
    raise ValueError(f"norm: got {norm!r}, expected batch or affine")


def fold_batch_norm(weights: Mapping[str, Tensor], *, kept: Container[str], eps: float) -> dict[str, Tensor]:
    """Replaces each batch normalisation by its affine map in testing mode, but for those whose names are to be kept.

    weight = gamma / sqrt(var + eps), bias = beta - mean weight: the released code's conversion of a
    32x2 or 8x8 model into the start of a long-clip one. That after the W_z of a non-local block goes into
    W_z: long-clip blocks have none.
    """
    folded = dict(weights)
    for name in weights:
        if name.endswith(".running_var") and name not in kept:
            layer = name.removesuffix(".running_var")
            if not {f"{layer}.weight", f"{layer}.bias", f"{layer}.running_mean"} <= folded.keys():
                continue
            scale = folded.pop(f"{layer}.weight") / (folded.pop(name) + eps).sqrt()
            bias = folded.pop(f"{layer}.bias") - folded.pop(f"{layer}.running_mean") * scale
            folded.pop(f"{layer}.num_batches_tracked", None)
            w_z = f"{layer.removesuffix('.bn')}.w_z"
            if f"{w_z}.weight" in folded:
                folded[f"{w_z}.weight"] = folded[f"{w_z}.weight"] * scale[:, None, None, None, None]
                folded[f"{w_z}.bias"] = folded.get(f"{w_z}.bias", torch.zeros_like(bias)) * scale + bias
            else:
                folded[f"{layer}.weight"], folded[f"{layer}.bias"] = scale, bias
    return folded
