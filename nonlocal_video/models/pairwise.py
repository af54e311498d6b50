"""The four pairwise functions f of the paper (Sec. 3.2), each with its normalisation C(x).

Every function takes queries theta (B, N, C), keys phi (B, M, C) and values g (B, M, D) and returns
y (B, N, D) with y_i = (1 / C(x)) sum_j f(x_i, x_j) g(x_j) (Eq. 1).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Gaussian(nn.Module):
    """f(x_i, x_j) = exp(x_i^T x_j), C(x) = sum_j f(x_i, x_j): a softmax over the keys (Eq. 2).

    Queries and keys are x itself, without an embedding.
    """

    embeds = False

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Theta (B, N, C), phi (B, M, C), g (B, M, D) -> y (B, N, D)."""
        return F.scaled_dot_product_attention(theta, phi, g, scale=1.0)


class EmbeddedGaussian(nn.Module):
    """f(x_i, x_j) = exp(theta_i^T phi_j / sqrt(C)), C(x) = sum_j f(x_i, x_j) (Eq. 3).

    The factor 1 / sqrt(C) is the released code's; Eq. 3 of the paper has none.
    """

    embeds = True

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Theta (B, N, C), phi (B, M, C), g (B, M, D) -> y (B, N, D)."""
        return F.scaled_dot_product_attention(theta, phi, g)


class DotProduct(nn.Module):
    """f(x_i, x_j) = theta_i^T phi_j, C(x) = M, the number of keys (Eq. 4).

    Associativity makes it linear in the number of positions: theta (phi^T g) / M, no (N, M) matrix.
    """

    embeds = True

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Theta (B, N, C), phi (B, M, C), g (B, M, D) -> y (B, N, D)."""
        # Divided before the sum over keys: in half precision the sum alone overflows.
        return theta @ (phi.mT @ (g / phi.shape[1]))


class Concatenation(nn.Module):
    """f(x_i, x_j) = ReLU(w_f^T [theta_i, phi_j]), C(x) = M, the number of keys (Eq. 5).

    w_f^T [theta_i, phi_j] = w_theta^T theta_i + w_phi^T phi_j: no (N, M, 2C) tensor is built.
    """

    embeds = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w_f = nn.Linear(2 * channels, 1, bias=False)

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Theta (B, N, C), phi (B, M, C), g (B, M, D) -> y (B, N, D)."""
        w_theta, w_phi = self.w_f.weight.chunk(2, dim=1)
        affinity = torch.relu(F.linear(theta, w_theta) + F.linear(phi, w_phi).mT)  # (B, N, M)
        return affinity @ (g / phi.shape[1])


PAIRWISE: dict[str, type[Gaussian | EmbeddedGaussian | DotProduct | Concatenation]] = {
    "gaussian": Gaussian,
    "embedded_gaussian": EmbeddedGaussian,
    "dot_product": DotProduct,
    "concatenation": Concatenation,
}
