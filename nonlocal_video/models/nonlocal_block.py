"""The non-local block: z_i = W_z y_i + x_i (Eq. 6 and Fig. 2 of the paper)."""

import copy
from dataclasses import fields
from typing import Any, get_args

import torch
from torch import Tensor, nn

from nonlocal_video.models.capture import is_captured
from nonlocal_video.models.layers import Convolution, MaxPool, make_norm
from nonlocal_video.models.pairwise import PAIRWISE
from nonlocal_video.settings.network import Pairwise
from nonlocal_video.settings.vocabulary import Axes, BlockNorm, Subsample


class NonLocalBlock(nn.Module):
    """z_i = W_z y_i + x_i, y_i = (1 / C(x)) sum_j f(x_i, x_j) g(x_j) over all positions j.

    The identity at initialisation: the batch normalisation after W_z starts with gamma = 0 (Sec. 4.1),
    and without one W_z itself starts from 0. Other weights start from N(0, 0.01), biases from 0, as in
    the released code; the paper says "the method of [20]" (He).

    Args:
        channels: C of the input; theta, phi and g have half of it.
        pairwise: a key of `PAIRWISE`, or a module with the `forward` of those (a copy of it is used),
            or what makes one from the number of channels of theta. A module with `embeds = False` gets
            x itself for theta and phi.
        axes: the positions j that a position i sees: the same frame ("space"), the same place in every
            frame ("time"), or all ("spacetime") (Table 2d).
        subsample: max-pool the keys and values 2x2 in space (Sec. 3.3): "before" phi and g as the
            released code does, "after" them as the paper says, or "none". With axes "time" nothing is
            pooled: a pooled key would belong to another place than its query.
        group_frames: positions see only their own group of so many frames, as in res3 of the released
            code's long clips; 0: all frames.
        norm: after W_z: "batch" normalisation, the "affine" of a frozen one, or "none".
        w_z_bias, bn_eps: whether W_z has a bias, and the epsilon of the batch normalisation.

    Raises:
        ValueError: an impossible option.
    """

    def __init__(
        self,
        channels: int,
        *,
        pairwise: Pairwise = "embedded_gaussian",
        axes: Axes = "spacetime",
        subsample: Subsample = "before",
        group_frames: int = 0,
        norm: BlockNorm = "batch",
        w_z_bias: bool = True,
        bn_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        for name, got, words in (("axes", axes, Axes), ("subsample", subsample, Subsample), ("norm", norm, BlockNorm)):
            if got not in get_args(words):
                raise ValueError(f"{name}: got {got!r}, expected one of {', '.join(get_args(words))}")
        if channels < 1:
            raise ValueError(f"channels: got {channels}, expected 1 or more")
        if group_frames < 0 or (group_frames and axes != "spacetime"):
            raise ValueError(
                f"group_frames: got {group_frames} with axes {axes}, expected 0, or 1 or more with spacetime"
            )
        inner = max(1, channels // 2)
        self.channels, self.axes, self.group_frames = channels, axes, group_frames
        self._frames = 1 if axes == "space" else group_frames  # Of a group; 0: all are one group.
        self.subsample: Subsample = subsample if axes != "time" else "none"
        self.pairwise_name = pairwise_name(pairwise)
        self.pairwise = _make_pairwise(pairwise, inner)
        embeds = getattr(self.pairwise, "embeds", True)
        self.theta: nn.Module = Convolution(channels, inner, (1, 1, 1), bias=True) if embeds else nn.Identity()
        self.phi: nn.Module = Convolution(channels, inner, (1, 1, 1), bias=True) if embeds else nn.Identity()
        self.g = Convolution(channels, inner, (1, 1, 1), bias=True)
        self.w_z = Convolution(inner, channels, (1, 1, 1), bias=w_z_bias)
        self.bn = nn.Identity() if norm == "none" else make_norm(norm, channels, eps=bn_eps)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Released code's initialisation, which makes the block the identity."""
        for module in self.children():
            if isinstance(module, nn.Conv3d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.bn.weight if isinstance(self.bn, nn.BatchNorm3d) else self.w_z.weight)

    def extra_repr(self) -> str:
        groups = f", group_frames={self.group_frames}" if self.group_frames else ""
        return f"{self.channels}, axes={self.axes}, subsample={self.subsample}{groups}"

    def forward(self, x: Tensor) -> Tensor:
        """X (B, C, T, H, W), (B, C, H, W) or (B, C, L) -> z of the same shape.

        Raises:
            ValueError: another number of axes or channels, a map too small to pool, frames that do not
                fill the groups.
        """
        self._check(x)
        video = x
        while video.ndim < 5:  # Not a reshape, which where sizes are symbols asks how they divide.
            video = video.unsqueeze(2)
        theta = self._flatten(self.theta(video))
        before = self._pool(video, x.ndim) if self.subsample == "before" else video
        phi, g = self.phi(before), self.g(before)
        if self.subsample == "after":
            phi, g = self._pool(phi, x.ndim), self._pool(g, x.ndim)
        y = self._unflatten(self.pairwise(theta, self._flatten(phi), self._flatten(g)), video.shape)
        # In the layout of x: convolutions and sums of mixed layouts took up to 1.4 times as long on a CPU.
        plain = is_captured(video) or video.is_contiguous()
        last = not plain and video.is_contiguous(memory_format=torch.channels_last_3d)
        y = y.contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)
        z = video + self.bn(self.w_z(y))
        while z.ndim > x.ndim:
            z = z.squeeze(2)
        return z

    def _pool(self, x: Tensor, ndim: int) -> Tensor:
        return MaxPool((1, 1, 2) if ndim == 3 else (1, 2, 2))(x)

    def _flatten(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (groups, positions, C): positions of a group see one another."""
        if self.axes == "time":
            return x.permute(0, 3, 4, 2, 1).flatten(0, 2)  # (B H W, T, C)
        if self._frames:
            x = x.unflatten(2, (x.shape[2] // self._frames, self._frames)).transpose(1, 2).flatten(0, 1)
        while x.ndim > 3 and isinstance(x.shape[2], int) and x.shape[2] == 1:  # An image has one frame at any size.
            x = x.squeeze(2)
        return x.flatten(2).mT

    def _unflatten(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The inverse of `_flatten` for the queries of an input of this shape: -> (B, D, T, H, W)."""
        b, _, t, h, w = shape
        if self.axes == "time":
            return y.unflatten(0, (b, h, w)).permute(0, 4, 3, 1, 2)
        y = y.mT.unflatten(2, (self._frames or t, h, w))  # (B groups, D, frames, H, W)
        return y.unflatten(0, (b, t // self._frames)).transpose(1, 2).flatten(2, 3) if self._frames else y

    def _check(self, x: Tensor) -> None:
        if isinstance(x, torch.fx.Proxy):
            raise TypeError(
                "a non-local block cannot be traced through; make it a leaf: create_feature_extractor(network, nodes, "
                'tracer_kwargs={"leaf_modules": [NonLocalBlock]})'
            )
        if not 3 <= x.ndim <= 5 or x.shape[1] != self.channels:
            expected = f"(B, {self.channels}, T, H, W), (B, {self.channels}, H, W) or (B, {self.channels}, L)"
            raise ValueError(f"got an input of shape {tuple(x.shape)}, expected {expected}")
        if x.ndim < 5 and (self.axes == "time" or self.group_frames):
            raise ValueError(f"got an input of shape {tuple(x.shape)}, expected (B, C, T, H, W): others have no frames")
        if self.subsample != "none" and min(x.shape[-2:] if x.ndim > 3 else x.shape[-1:]) < 2:
            raise ValueError(f"subsampling needs a map of at least 2x2, got {'x'.join(map(str, x.shape[-2:]))}")
        if self.group_frames and x.shape[2] % self.group_frames:
            raise ValueError(f"got {x.shape[2]} frames, expected a multiple of group_frames = {self.group_frames}")


def pairwise_name(pairwise: Pairwise) -> str:
    """The name of a pairwise function in tables: its key, or the class of one's own."""
    if isinstance(pairwise, str):
        return pairwise
    kind = type(pairwise) if isinstance(pairwise, nn.Module) else getattr(pairwise, "func", pairwise)
    return f"{kind.__module__}.{kind.__qualname__}"


def plain_options(options: Any) -> dict[str, Any]:
    """The options of a network with such blocks in values that any file can hold."""
    plain = {item.name: getattr(options, item.name) for item in fields(options)}
    lists = {name: list(value) for name, value in plain.items() if isinstance(value, tuple | list)}
    return {**plain, **lists, "pairwise": pairwise_name(options.pairwise)}


def _make_pairwise(pairwise: Pairwise, channels: int) -> nn.Module:
    if isinstance(pairwise, nn.Module):
        return copy.deepcopy(pairwise)
    if isinstance(pairwise, str):
        if pairwise not in PAIRWISE:
            raise ValueError(f"pairwise: got {pairwise!r}, expected one of {', '.join(PAIRWISE)}, or a module")
        return PAIRWISE[pairwise](channels)
    return pairwise(channels)
