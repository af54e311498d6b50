"""Starting weights: ImageNet weights inflated over time, and fine-tuning from any trained network."""

from typing import NamedTuple

import torch
from torch import Tensor

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.norm import fold_batch_norm
from nonlocal_video.models.weights.foreign import inflate_like
from nonlocal_video.models.weights.shape import misfit


class Loaded(NamedTuple):
    """What became of the tensors of a file and of the network."""

    num_loaded: int
    num_inflated: int
    num_folded: int
    """Batch normalisations of the file that became affine maps."""
    fresh: list[str]
    """Parameters of the network that the file does not have."""
    unused: list[str]
    """Tensors of the file that the network does not have."""


def initialise(model: Classifier, weights: dict[str, Tensor], *, where: str) -> Loaded:
    """Copies what has the same name; 2-D kernels are inflated; the classifier stays fresh.

    Where the network has no batch normalisation, the file's becomes the affine map that it is in testing.

    Args:
        weights: in this project's names, the classifier (`fc`) left out or ignored.

    Raises:
        ValueError: a network of another shape, a tensor of another one, tensors in residual blocks that these do not
            have, or a file that lacks more than non-local blocks or those in their place.
    """
    other = misfit(weights, model.options, for_import=False)
    if other is not None:
        raise ValueError(f"{where}: {other}")
    own = model.state_dict()
    layers = [name.removesuffix(".running_var") for name in weights if name.endswith(".running_var")]
    num_folded = sum(f"{layer}.weight" in own and f"{layer}.running_var" not in own for layer in layers)
    weights, inflated = inflate_like(fold_batch_norm(weights, kept=own, eps=model.options.bn_eps), own)
    copied, unused = {}, []
    for name, tensor in weights.items():
        if name.startswith("fc.") or name not in own:
            unused.append(name)
            continue
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{where}: {name} has shape {tuple(tensor.shape)}, expected {_expected(tensor, own[name])}"
            )
        copied[name] = tensor
    homeless = [name for name in unused if _belongs_to_the_backbone(name)]
    if homeless:
        raise ValueError(
            f"{where}: {len(homeless)} tensors of its residual network have no place in this one, such as "
            f"{', '.join(homeless[:3])}; it would be another network without them"
        )
    fresh = [name for name in own if name not in copied and name not in ("mean", "std")]
    # What is added to a network is not in the file of one without; old files have no num_batches_tracked, unused.
    optional = (".nonlocal", ".residual", "fc.", "num_batches_tracked")
    lacking = [name for name in fresh if not any(part in name for part in optional)]
    if lacking:
        raise ValueError(f"{where}: {len(lacking)} tensors are missing, such as {', '.join(lacking[:3])}")
    with torch.no_grad():
        model.load_state_dict(copied, strict=False)
    return Loaded(len(copied), inflated, num_folded, fresh, unused)


def _expected(tensor: Tensor, own: Tensor) -> str:
    """The shape of a tensor of the network, and what to ask for where the file's looks another number of frames far."""
    there, here = list(tensor.shape), list(own.shape)
    over_time = len(there) == len(here) == 5 and there[:2] + there[3:] == here[:2] + here[3:]
    hint = "; their kernels differ over time only: the one is of a C2D, the other of an I3D (model=c2d_... or i3d_...)"
    return f"{tuple(here)}{hint if over_time else ''}"


def _belongs_to_the_backbone(name: str) -> bool:
    """Whether a tensor is one that the plain residual network calculates with."""
    added = any(part in name for part in (".nonlocal", ".residual", "num_batches_tracked"))
    return name.startswith(("backbone.conv1.", "backbone.bn1.", "backbone.res")) and not added
