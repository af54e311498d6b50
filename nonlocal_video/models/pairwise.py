"""The four pairwise functions f of the paper (Sec. 3.2), each with its normalisation C(x).

Every function takes queries theta (B, N, C), keys phi (B, M, C) and values g (B, M, D) and returns
y (B, N, D) with y_i = (1 / C(x)) sum_j f(x_i, x_j) g(x_j) (Eq. 1). How each is computed exactly and
without an (N, M) matrix where that pays is in `attention.py`. `macs` gives the multiply-adds for
theta (N, C) and g (M, D): by the definition, and as executed.

A function of your own is a module of the same form, made with C, or ready-made: see `NonLocalBlock`.
"""

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_video.models.attention import (
    dot_product_attention,
    relu_sum_attention,
    reorders,
    softmax_attention,
    sorts,
)
from nonlocal_video.models.capture import full_precision


class Gaussian(nn.Module):
    """f(x_i, x_j) = exp(x_i^T x_j), C(x) = sum_j f(x_i, x_j): a softmax over the keys (Eq. 2).

    Queries and keys are x itself, without an embedding.
    """

    embeds = False

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Theta (B, N, C), phi (B, M, C), g (B, M, D) -> y (B, N, D)."""
        return softmax_attention(theta, phi, g, scale=1.0)

    def macs(self, n: int, c: int, m: int, d: int) -> tuple[int, int]:
        return n * m * (c + d), n * m * (c + d)


class EmbeddedGaussian(nn.Module):
    """f(x_i, x_j) = exp(theta_i^T phi_j / sqrt(C)), C(x) = sum_j f(x_i, x_j) (Eq. 3).

    Args:
        scale: the factor 1 / sqrt(C). It is the released code's; Eq. 3 of the paper has none.
    """

    def __init__(self, channels: int, *, scale: bool = True) -> None:
        super().__init__()
        self.scale = channels**-0.5 if scale else 1.0

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Theta (B, N, C), phi (B, M, C), g (B, M, D) -> y (B, N, D)."""
        return softmax_attention(theta, phi, g, scale=self.scale)

    def macs(self, n: int, c: int, m: int, d: int) -> tuple[int, int]:
        return n * m * (c + d), n * m * (c + d)


class DotProduct(nn.Module):
    """f(x_i, x_j) = theta_i^T phi_j, C(x) = M, the number of keys (Eq. 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Theta (B, N, C), phi (B, M, C), g (B, M, D) -> y (B, N, D)."""
        root = phi.shape[1] ** 0.5  # In float16 the sum over keys overflows, and g / M alone is too small.
        return dot_product_attention(theta, phi / root, g / root)

    def macs(self, n: int, c: int, m: int, d: int) -> tuple[int, int]:
        defined = n * m * (c + d)
        return defined, c * d * (n + m) if reorders(n, c, m, d) else defined


class Concatenation(nn.Module):
    """f(x_i, x_j) = ReLU(w_f^T [theta_i, phi_j]), C(x) = M, the number of keys (Eq. 5).

    w_f^T [theta_i, phi_j] = a_i + b_j with a_i = w_theta^T theta_i and b_j = w_phi^T phi_j.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w_f = nn.Linear(2 * channels, 1, bias=False)
        nn.init.normal_(self.w_f.weight, std=0.01)

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Theta (B, N, C), phi (B, M, C), g (B, M, D) -> y (B, N, D)."""
        w_theta, w_phi = self.w_f.weight.chunk(2, dim=1)
        with full_precision(theta):  # In half precision the rounding would move ReLU's kink.
            a, b = (F.linear(x.to(w_phi.dtype), w)[..., 0] for x, w in ((theta, w_theta), (phi, w_phi)))
        root = phi.shape[1] ** 0.5  # For float16.
        return relu_sum_attention(a / root, b / root, g / root)

    def macs(self, n: int, c: int, m: int, d: int) -> tuple[int, int]:
        sums = (n + m) * (math.ceil(math.log2(m + 1)) + 2 * d) if sorts(n, m) else n * m * d
        return n * m * (2 * c + d), (n + m) * c + sums


PAIRWISE: dict[str, Callable[[int], nn.Module]] = {
    "gaussian": Gaussian,
    "embedded_gaussian": EmbeddedGaussian,
    "embedded_gaussian_unscaled": partial(EmbeddedGaussian, scale=False),
    "dot_product": DotProduct,
    "concatenation": Concatenation,
}
