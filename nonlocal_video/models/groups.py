"""Which parameters of a network are trained alike."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nonlocal_video.types import ParameterGroup


def parameter_groups(
    model: nn.Module, *, head: nn.Module | None = None, backbone_lr: float = 1.0
) -> list[ParameterGroup]:
    """The parameters that are trained; those of batch normalisation do not decay (released WEIGHT_DECAY_BN 0).

    The biases of non-local blocks and of the classifier decay, as in the released code.

    Args:
        head: what is trained at the full rate; all if None.
        backbone_lr: factor of the learning rate of the rest.
    """
    norms = {id(p) for module in model.modules() if isinstance(module, _BatchNorm) for p in module.parameters()}
    full = {id(p) for p in (head or model).parameters()}
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            key = (id(parameter) in norms, 1.0 if id(parameter) in full else backbone_lr)
            groups.setdefault(key, []).append(parameter)
    return [ParameterGroup(groups[norm, rate], rate, decays=not norm) for norm, rate in sorted(groups)]
