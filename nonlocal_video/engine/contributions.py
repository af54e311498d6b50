"""How much each non-local block does, so that one that does nothing is seen."""

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from nonlocal_video.engine.task import Batch, Task
from nonlocal_video.engine.validate import in_evaluation_mode
from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.models.placement import built_places
from nonlocal_video.system.precision import at_precision


@torch.inference_mode()
def contributions(model: nn.Module, batch: Batch, *, task: Task, precision: str) -> dict[str, float]:
    """The norm of W_z y, after its normalisation, over the norm of x (Eq. 6), for each non-local block.

    It is a mean over the batch, 0 at initialisation, and named by the place of the block, such as res3.1. The plain
    network runs as in testing, at fp32, bf16 or fp16; its mode and the random state stay as they were.
    """
    blocks = [layer for layer in model.modules() if isinstance(layer, NonLocalBlock)]
    if not blocks:
        return {}
    x_norms, y_norms = list[Tensor](), list[Tensor]()  # (B,) for each block, in the order in which they run.

    def norms(values: Tensor) -> Tensor:
        return values.float().flatten(1).norm(dim=1)

    with in_evaluation_mode(model), ExitStack() as hooks:
        for block in blocks:
            hooks.enter_context(block.register_forward_pre_hook(lambda _, x: x_norms.append(norms(x[0]))))
            hooks.enter_context(block.bn.register_forward_hook(lambda _, __, y: y_norms.append(norms(y))))
        task.forward(at_precision(model, precision), batch)
    return {
        f"{place.stage}.{place.block}": float((y / x).mean())
        for place, x, y in zip(built_places(model), x_norms, y_norms, strict=True)
    }
