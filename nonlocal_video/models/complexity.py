"""Parameters and multiply-adds of a network, by stage."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.models.resnet3d import STAGES

COUNTED = ("conv1", *STAGES, "fc")
LAYERS = (nn.Conv3d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@dataclass
class Cost:
    """The cost of one stage for one clip. The paper's FLOPs are multiply-adds."""

    weights: int = 0
    """Numbers in convolutions and fc, without biases."""
    parameters: int = 0
    """All parameters, with biases and normalisation."""
    macs: int = 0
    """Multiply-adds of convolutions, fc and pairwise functions, these by their definition."""
    executed_macs: int = 0
    """Multiply-adds with the pairwise functions as they are computed."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*map(sum, zip(vars(self).values(), vars(other).values(), strict=True)))


def complexity(model: Classifier, *, length: int, height: int, width: int) -> dict[str, Cost]:
    """The cost of each of `COUNTED`; non-local blocks belong to their stage.

    Counted in a forward pass at the modules, so that fused kernels hide nothing. A network on the meta
    device costs little time and no memory.

    Raises:
        ValueError: a pairwise function of one's own does not say what it costs.
    """
    costs = {stage: Cost() for stage in COUNTED}
    training, device = model.training, next(model.parameters()).device
    with counting(model, costs, part_of=_stage):
        model.eval()(torch.zeros(1, 3, length, height, width, dtype=torch.uint8, device=device))
    model.train(training)
    return costs


@contextmanager
def counting(model: nn.Module, costs: Mapping[str, Cost], *, part_of: Callable[[str], str]) -> Iterator[None]:
    """Counts what a network has, and what it does in the forward passes inside.

    Args:
        costs: the costs of the network's parts, which are added to.
        part_of: the part of a parameter or a module with parameters, by its name.

    Raises:
        ValueError: a pairwise function of one's own does not say what it costs.
    """
    for name, parameter in model.named_parameters():
        costs[part_of(name)].parameters += parameter.numel()
    with torch.no_grad(), ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, NonLocalBlock) and not hasattr(module.pairwise, "macs"):
                function = module.pairwise_name
                raise ValueError(f"{name}: {function} has no macs(n, c, m, d) as those of models/pairwise.py have")
            if isinstance(module, LAYERS):
                costs[part_of(name)].weights += module.weight.numel()
            if isinstance(module, LAYERS) or hasattr(module, "macs"):
                hooks.enter_context(module.register_forward_hook(partial(_count_layer, costs[part_of(name)])))
        yield


def _stage(name: str) -> str:
    """The key of `COUNTED` for a parameter or a module with parameters."""
    return name.removeprefix("backbone.").split(".")[0].replace("bn1", "conv1")


def _count_layer(cost: Cost, module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Adds what a layer or pairwise function has done, as a forward hook."""
    if isinstance(module, nn.ConvTranspose2d):  # Each value of its input meets a kernel for each output.
        defined = executed = inputs[0].numel() // module.weight.shape[0] * module.weight.numel()
    elif isinstance(module, LAYERS):
        defined = executed = output.numel() // module.weight.shape[0] * module.weight.numel()
    else:
        theta, _, g = inputs
        defined, executed = (len(theta) * macs for macs in module.macs(*theta.shape[1:], *g.shape[1:]))
    cost.macs += defined
    cost.executed_macs += executed
