"""An independent statement of mmaction2's I3D models, to hold the importer of their checkpoints against.

Nothing here uses the package under test or mmaction2. The networks are written as plain functions of the tensors, from
what mmaction2's ResNet3d and mmcv's NonLocal3d compute with the settings of the released I3D R50 configurations.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

BN_EPSILON = 1e-5
BLOCKS = (3, 4, 6, 3)
INFLATED = ((0, 1, 2), (0, 2), (0, 2, 4), (1,))  # The residual blocks of each stage that look along time.
NONLOCAL = ((), (1, 3), (1, 3, 5), ())  # The residual blocks of each stage that end in a non-local block.
MODES = (None, "gaussian", "dot_product", "embedded_gaussian")


def _check_mode(mode: str | None) -> None:
    if mode not in MODES:
        raise ValueError(f"no such mode: {mode}")


# ----------------------------------------------------------------------------------------------------------------------
# Random checkpoints
# ----------------------------------------------------------------------------------------------------------------------


def _conv(generator: torch.Generator, shape: tuple[int, ...], gain: float = 2.0) -> Tensor:
    """Weights whose output has about `gain` times the input's mean square."""
    fan_in = torch.Size(shape[1:]).numel()
    return torch.randn(shape, generator=generator) * (gain / fan_in) ** 0.5


def _norm(generator: torch.Generator, name: str, channels: int, scale: float = 1.0) -> dict[str, Tensor]:
    """A batch norm; `scale` shrinks its output."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(channels, generator=generator)

    return {
        f"{name}.weight": scale * uniform(0.5, 1.5),
        f"{name}.bias": 0.1 * scale * torch.randn(channels, generator=generator),
        f"{name}.running_mean": 0.1 * torch.randn(channels, generator=generator),
        f"{name}.running_var": uniform(0.5, 2.0),
        f"{name}.num_batches_tracked": torch.tensor(370100),
    }


def _nonlocal_state(
    generator: torch.Generator, name: str, channels: int, mode: str, stream: float
) -> dict[str, Tensor]:
    """A non-local block whose input and output are of the size `stream`.

    The products of theta and phi are kept at order one, as nothing scales them before the softmax.
    """
    inner = channels // 2
    projections = {"g.0": 1.0 / stream**2}
    if mode != "gaussian":  # There, x itself takes the place of theta, and the pooled x that of phi.
        projections |= {"theta": 0.5 * inner**-0.5 / stream**2, "phi.0": 0.5 * inner**-0.5 / stream**2}
    state = {}
    for part, gain in projections.items():
        state[f"{name}.{part}.conv.weight"] = _conv(generator, (inner, channels, 1, 1, 1), gain)
        state[f"{name}.{part}.conv.bias"] = 0.3 * torch.randn(inner, generator=generator) * (gain * stream**2) ** 0.5
    state[f"{name}.conv_out.conv.weight"] = _conv(generator, (channels, inner, 1, 1, 1), 1.0)
    return state | _norm(generator, f"{name}.conv_out.bn", channels, 0.3 * stream)


def random_state(mode: str | None, *, num_classes: int, width: int = 64, seed: int = 0) -> dict[str, Tensor]:
    """The state of a released I3D R50 by name, with random values that keep every layer's output moderate.

    Args:
        mode: Of the non-local blocks: "gaussian", "dot_product" or "embedded_gaussian". None for a model without any.
        num_classes: The rows of the classifier.
        width: The channels of conv1 and of the first stage inside; 64 in the released models.
        seed: Of the random numbers.
    """
    _check_mode(mode)
    generator = torch.Generator().manual_seed(seed)
    state = {"backbone.conv1.conv.weight": _conv(generator, (width, 3, 5, 7, 7))}
    state |= _norm(generator, "backbone.conv1.bn", width)
    channels, stream = width, 1.0
    for stage, count in enumerate(BLOCKS):
        incoming = stream
        # The Gaussian has no weights to keep its products moderate: there, the stage's whole sum must be small.
        stream = (3.0 / (4 * width)) ** 0.5 if mode == "gaussian" and NONLOCAL[stage] else 1.0
        for block in range(count):
            name = f"backbone.layer{stage + 1}.{block}"
            if block == 0:
                state[f"{name}.downsample.conv.weight"] = _conv(generator, (4 * width, channels, 1, 1, 1), incoming**-2)
                state |= _norm(generator, f"{name}.downsample.bn", 4 * width, stream)
            kernel = 3 if block in INFLATED[stage] else 1
            state[f"{name}.conv1.conv.weight"] = _conv(generator, (width, channels, kernel, 1, 1), 2.0 * incoming**-2)
            state |= _norm(generator, f"{name}.conv1.bn", width)
            state[f"{name}.conv2.conv.weight"] = _conv(generator, (width, width, 1, 3, 3))
            state |= _norm(generator, f"{name}.conv2.bn", width)
            state[f"{name}.conv3.conv.weight"] = _conv(generator, (4 * width, width, 1, 1, 1))
            # A small last scale, as the sum over the blocks of a stage would grow without bound.
            state |= _norm(generator, f"{name}.conv3.bn", 4 * width, 0.3 * stream)
            if mode is not None and block in NONLOCAL[stage]:
                state |= _nonlocal_state(generator, f"{name}.non_local_block", 4 * width, mode, stream)
            channels, incoming = 4 * width, stream
        width *= 2
    state["cls_head.fc_cls.weight"] = _conv(generator, (num_classes, channels), 4.0)
    state["cls_head.fc_cls.bias"] = 0.3 * torch.randn(num_classes, generator=generator)
    return state


def save(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Write a checkpoint as mmaction2 publishes it: the state beside what it says of itself."""
    meta = {"epoch": 100, "iter": 370100, "mmaction_version": "1.0.0", "experiment_name": "i3d", "seed": 0}
    torch.save({"meta": meta, "state_dict": dict(state)}, path)


# ----------------------------------------------------------------------------------------------------------------------
# The networks
# ----------------------------------------------------------------------------------------------------------------------


def _conv_norm(
    x: Tensor,
    state: Mapping[str, Tensor],
    name: str,
    stride: tuple[int, int, int] = (1, 1, 1),
    padding: tuple[int, int, int] = (0, 0, 0),
) -> Tensor:
    """A convolution without a bias, then batch norm with its running statistics."""

    def read(part: str) -> Tensor:
        return state[f"{name}.bn.{part}"].to(x.dtype).view(1, -1, 1, 1, 1)

    y = F.conv3d(x, state[f"{name}.conv.weight"].to(x.dtype), stride=stride, padding=padding)
    y = (y - read("running_mean")) / torch.sqrt(read("running_var") + BN_EPSILON)
    return y * read("weight") + read("bias")


def _nonlocal_block(x: Tensor, state: Mapping[str, Tensor], name: str, mode: str) -> Tensor:
    def project(part: str) -> Tensor:
        weight, bias = state[f"{name}.{part}.conv.weight"], state[f"{name}.{part}.conv.bias"]
        return F.conv3d(x, weight.to(x.dtype), bias.to(x.dtype))

    def pool(y: Tensor) -> Tensor:
        return F.max_pool3d(y, (1, 2, 2), (1, 2, 2))

    g = pool(project("g.0"))  # The pool is after the projection.
    theta, phi = (x, pool(x)) if mode == "gaussian" else (project("theta"), pool(project("phi.0")))
    pairs = torch.einsum("bci,bcj->bij", theta.flatten(2), phi.flatten(2))  # Not scaled.
    weights = pairs / pairs.shape[2] if mode == "dot_product" else torch.softmax(pairs, dim=2)
    y = torch.einsum("bij,bcj->bci", weights, g.flatten(2)).reshape(x.shape[0], g.shape[1], *x.shape[2:])
    return x + _conv_norm(y, state, f"{name}.conv_out")


def final_features(state: Mapping[str, Tensor], clips: Tensor, *, mode: str | None) -> Tensor:
    """The last map (B,2048,T',H',W') of normalised clips (B,3,T,H,W), in the precision of the clips."""
    _check_mode(mode)
    x = F.relu(_conv_norm(clips, state, "backbone.conv1", (2, 2, 2), (2, 3, 3)))
    x = F.max_pool3d(x, (1, 3, 3), (2, 2, 2), (0, 1, 1))
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            name = f"backbone.layer{stage + 1}.{block}"
            stride = 2 if stage > 0 and block == 0 else 1
            before = 1 if block in INFLATED[stage] else 0
            y = F.relu(_conv_norm(x, state, f"{name}.conv1", padding=(before, 0, 0)))
            y = F.relu(_conv_norm(y, state, f"{name}.conv2", (1, stride, stride), (0, 1, 1)))
            y = _conv_norm(y, state, f"{name}.conv3")
            x = _conv_norm(x, state, f"{name}.downsample", (1, stride, stride)) if block == 0 else x
            x = F.relu(x + y)
            if mode is not None and block in NONLOCAL[stage]:
                x = _nonlocal_block(x, state, f"{name}.non_local_block", mode)
        if stage == 0:
            x = F.max_pool3d(x, (2, 1, 1), (2, 1, 1))
    return x


def forward(state: Mapping[str, Tensor], clips: Tensor, *, mode: str | None) -> Tensor:
    """Logits (B,K) of normalised clips (B,3,T,H,W): the mean over the whole last map, then the classifier."""
    features = final_features(state, clips, mode=mode).mean(dim=(2, 3, 4))
    weight, bias = state["cls_head.fc_cls.weight"], state["cls_head.fc_cls.bias"]
    return F.linear(features, weight.to(clips.dtype), bias.to(clips.dtype))
