"""Starting weights: ImageNet weights inflated over time, and fine-tuning from another run."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Loaded(NamedTuple):
    """What became of the tensors of a file and of the network."""

    num_loaded: int
    num_inflated: int
    fresh: list[str]
    """Parameters of the network that the file does not have."""
    unused: list[str]
    """Tensors of the file that the network does not have."""


def inflate(kernel: Tensor, num_frames: int) -> Tensor:
    """A 2-D kernel (O, I, h, w) -> (O, I, t, h, w): t equal planes, each rescaled by 1/t (Sec. 4).

    On a clip of t equal frames the inflated kernel answers as the 2-D kernel does on one.
    """
    return kernel[:, :, None].repeat(1, 1, num_frames, 1, 1) / num_frames


def initialise(model: nn.Module, weights: dict[str, Tensor], *, where: str) -> Loaded:
    """Copies what has the same name; 2-D kernels are inflated; the classifier stays fresh.

    Args:
        weights: in this project's names, the classifier (`fc`) left out or ignored.

    Raises:
        ValueError: a tensor of another shape, or a file that lacks more than non-local blocks.
    """
    own = model.state_dict()
    copied, inflated, unused = {}, 0, []
    for name, tensor in weights.items():
        if name.startswith("fc.") or name not in own:
            unused.append(name)
            continue
        if tensor.ndim == 4 and own[name].ndim == 5:
            tensor, inflated = inflate(tensor, own[name].shape[2]), inflated + (own[name].shape[2] > 1)
        if tensor.shape != own[name].shape:
            raise ValueError(f"{where}: {name} has shape {tuple(tensor.shape)}, expected {tuple(own[name].shape)}")
        copied[name] = tensor
    fresh = [name for name in own if name not in copied and name not in ("mean", "std")]
    optional = ("nonlocal", "fc.", "num_batches_tracked")  # Old files have no num_batches_tracked; it is not used.
    lacking = [name for name in fresh if not any(part in name for part in optional)]
    if lacking:
        raise ValueError(f"{where}: {len(lacking)} tensors are missing, such as {', '.join(lacking[:3])}")
    with torch.no_grad():
        model.load_state_dict(copied, strict=False)
    return Loaded(len(copied), inflated, fresh, unused)
