"""Parameters and multiply-adds of a network, by stage."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import NonLocalBlock

STAGES = ("conv1", "res2", "res3", "res4", "res5", "fc")


@dataclass
class Cost:
    """Of one stage, for one clip. The paper's FLOPs are multiply-adds, of weights without biases and normalisation."""

    weights: int = 0
    """Of convolutions and fc, without biases."""
    parameters: int = 0
    """All: also biases and normalisation."""
    macs: int = 0
    """Multiply-adds of convolutions, fc and pairwise functions, these by their definition."""
    executed_macs: int = 0
    """The same with the pairwise functions as they are computed."""

    def __add__(self, other: "Cost") -> "Cost":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Cost(*(one + two for one, two in pairs))


def complexity(model: Classifier, *, length: int, height: int, width: int) -> dict[str, Cost]:
    """The cost of each of `STAGES`; non-local blocks belong to their stage.

    Counted in a forward pass at the modules, so that fused kernels hide nothing. A network built under
    `FakeTensorMode` costs no time and memory.

    Raises:
        ValueError: a pairwise function of one's own does not say what it costs.
    """
    for name, module in model.named_modules():
        if isinstance(module, NonLocalBlock) and not hasattr(module.pairwise, "macs"):
            raise ValueError(
                f"{name}: {module.pairwise_name} has no macs(n, c, m, d) as those of models/pairwise.py have"
            )
    costs = {stage: Cost() for stage in STAGES}
    handles = []
    for name, module in model.named_modules():
        stage = _stage(name)
        if not isinstance(module, nn.Conv3d | nn.Linear) and not hasattr(module, "macs"):
            continue

        def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, *, cost: Cost = costs[stage]) -> None:
            defined, executed = _macs(module, inputs, output)
            cost.macs, cost.executed_macs = cost.macs + defined, cost.executed_macs + executed

        handles.append(module.register_forward_hook(count))
        if isinstance(module, nn.Conv3d | nn.Linear):
            costs[stage].weights += module.weight.numel()
    for name, parameter in model.named_parameters():
        costs[_stage(name)].parameters += parameter.numel()
    training = model.training
    device = next(model.parameters()).device
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, length, height, width, dtype=torch.uint8, device=device))
    model.train(training)
    for handle in handles:
        handle.remove()
    return costs


def _stage(name: str) -> str:
    parts = name.removeprefix("backbone.").split(".")
    return {"bn1": "conv1"}.get(parts[0], parts[0]) if parts[0] in (*STAGES, "bn1") else "fc"


def _macs(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> tuple[int, int]:
    if isinstance(module, nn.Conv3d | nn.Linear):
        macs = output.numel() // module.weight.shape[0] * module.weight.numel()
        return macs, macs
    theta, _, g = inputs
    pairwise: Any = module
    defined, executed = pairwise.macs(*theta.shape[1:], *g.shape[1:])
    return len(theta) * defined, len(theta) * executed
