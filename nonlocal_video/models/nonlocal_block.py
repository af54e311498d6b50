"""The non-local block: z_i = W_z y_i + x_i (Eq. 6 and Fig. 2 of the paper)."""

from typing import Literal

from torch import Tensor, nn

from nonlocal_video.models.pairwise import PAIRWISE

Axes = Literal["space", "time", "spacetime"]


class NonLocalBlock(nn.Module):
    """z_i = W_z y_i + x_i, y_i = (1 / C(x)) sum_j f(x_i, x_j) g(x_j) over all positions j.

    The identity at initialisation: the batch normalisation after W_z starts with gamma = 0
    (Sec. 4.1). Weights start from N(0, 0.01), biases from 0, as in the released code; the paper
    says "the method of [20]" (He).

    Args:
        channels: C of the input.
        pairwise: a key of `PAIRWISE`.
        axes: the positions j that a position i sees: the same frame ("space"), the same place in
            every frame ("time"), or all ("spacetime") (Table 2d).
        subsample: max-pool the keys and values 2x2 in space, before phi and g as the released code
            does (Sec. 3.3). With axes "time" nothing is pooled: a pooled key would belong to
            another place than its query.
    """

    def __init__(
        self,
        channels: int,
        *,
        pairwise: str = "embedded_gaussian",
        axes: Axes = "spacetime",
        subsample: bool = True,
    ) -> None:
        super().__init__()
        if pairwise not in PAIRWISE:
            raise ValueError(f"pairwise: got {pairwise!r}, expected one of {', '.join(PAIRWISE)}")
        if axes not in ("space", "time", "spacetime"):
            raise ValueError(f"axes: got {axes!r}, expected space, time or spacetime")
        if channels % 2:
            raise ValueError(f"channels: got {channels}, expected an even number (the inner width is half)")
        function = PAIRWISE[pairwise]
        inner = channels // 2
        self.channels, self.pairwise_name, self.axes = channels, pairwise, axes
        self.subsample = subsample and axes != "time"
        self.theta: nn.Module = nn.Conv3d(channels, inner, 1) if function.embeds else nn.Identity()
        self.phi: nn.Module = nn.Conv3d(channels, inner, 1) if function.embeds else nn.Identity()
        self.g = nn.Conv3d(channels, inner, 1)
        self.pairwise = function(inner)
        self.w_z = nn.Conv3d(inner, channels, 1)
        self.bn = nn.BatchNorm3d(channels)
        self.pool: nn.Module = nn.MaxPool3d((1, 2, 2)) if self.subsample else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Released code's initialisation; gamma = 0 makes the block the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        """X (B, C, T, H, W) -> z of the same shape."""
        if self.subsample and min(x.shape[-2:]) < 2:
            raise ValueError(f"subsampling 2x2 needs a map of at least 2x2, got {x.shape[-2]}x{x.shape[-1]}")
        keys = self.pool(x)
        y = self.pairwise(self._flatten(self.theta(x)), self._flatten(self.phi(keys)), self._flatten(self.g(keys)))
        return x + self.bn(self.w_z(self._unflatten(y, x.shape)))

    def _flatten(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (groups, positions, C): positions of a group see one another."""
        if self.axes == "space":
            return x.transpose(1, 2).flatten(0, 1).flatten(2).mT  # (B T, H W, C)
        if self.axes == "time":
            return x.permute(0, 3, 4, 2, 1).flatten(0, 2)  # (B H W, T, C)
        return x.flatten(2).mT  # (B, T H W, C)

    def _unflatten(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The inverse of `_flatten` for the queries of an input of this shape: -> (B, D, T, H, W)."""
        b, _, t, h, w = shape
        if self.axes == "space":
            return y.mT.unflatten(2, (h, w)).unflatten(0, (b, t)).transpose(1, 2)
        if self.axes == "time":
            return y.unflatten(0, (b, h, w)).permute(0, 4, 3, 1, 2)
        return y.mT.unflatten(2, (t, h, w))
