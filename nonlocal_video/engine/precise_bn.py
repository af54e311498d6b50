"""Precise batch normalisation: statistics of many batches in place of the running averages (released bn_helper)."""

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nonlocal_video.engine.task import Batch, Task
from nonlocal_video.system.distributed import all_reduce_sum, at_precision, local_device, world_size

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def precise_statistics(
    model: nn.Module, batches: Iterable[Batch], *, task: Task, precision: str, stopped: Callable[[], bool]
) -> dict[str, Tensor] | None:
    """The mean and E[x^2] of each batch, averaged over the batches of all ranks; var = E[x^2] - mean^2, biased.

    A copy of the plain network runs as in training, but without dropout, which stands after its last batch
    normalisation: neither the network nor the random state changes. Layers in evaluation mode are frozen and not
    measured. Every rank has as many batches, as in training.

    Returns:
        Tensors on the CPU, named as in `model.state_dict()` (`backbone.bn1.running_mean`), none if no layer is to be
        measured. None if a rank was stopped. A ValueError if there are no batches.
    """
    assert model.training
    trained = [name for name, layer in model.named_modules() if isinstance(layer, _BatchNorm) and layer.training]
    if not trained:
        return {}
    copied, num_batches = copy.deepcopy(model).eval(), 0
    call = at_precision(copied, precision)
    moments = {name: _record(copied.get_submodule(name)) for name in trained}
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):  # A loader draws a seed as it starts.
        for batch in batches:
            # All ranks go on or none: synchronised layers meet in every pass.
            if all_reduce_sum(torch.tensor(int(stopped()))):
                return None
            task.forward(call, batch)
            num_batches += 1
    if not num_batches:
        raise ValueError("precise batch normalisation: got no batches, expected 1 or more")
    statistics = dict[str, Tensor]()
    for name, sums in moments.items():
        mean, square = (all_reduce_sum(sums) / (num_batches * world_size())).cpu()
        statistics[f"{name}.running_mean"] = mean.float()
        statistics[f"{name}.running_var"] = (square - mean.square()).clamp(min=0).float()
    return statistics


def with_statistics(model: AnyModule, statistics: dict[str, Tensor]) -> AnyModule:
    """A copy of a network that normalises with these statistics when it is evaluated."""
    copied = copy.deepcopy(model)
    buffers = dict(copied.named_buffers())
    for name, value in statistics.items():
        buffers[name].copy_(value)
    return copied


def _record(layer: Any) -> Tensor:
    """Makes a batch normalisation add the mean and E[x^2] of each batch to what is returned: (2, C) float64."""
    sums = torch.zeros(2, layer.num_features, dtype=torch.float64, device=local_device())
    layer.train()
    layer.momentum = 1.0  # The running averages then are of the last batch alone.

    def add_moments(_layer: nn.Module, inputs: tuple[Tensor], _output: Any) -> None:
        count = inputs[0].numel() // inputs[0].shape[1]
        if isinstance(layer, nn.SyncBatchNorm):
            count *= world_size()
        mean = layer.running_mean.double()
        variance = layer.running_var.double() * ((count - 1) / count)  # PyTorch keeps the unbiased one.
        sums.add_(torch.stack([mean, variance + mean.square()]))

    layer.register_forward_hook(add_moments)
    return sums
