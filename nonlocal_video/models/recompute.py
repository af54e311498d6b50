"""Activation checkpointing: a layer keeps only its input, and is computed again when its gradient is wanted."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(layer: nn.Module, x: Tensor) -> Tensor:
    """layer(x); the second computation leaves the running statistics of batch normalisation alone."""
    # Compiled, a layer is a pure function: its statistics are results of the first computation only.
    if torch.compiler.is_compiling():
        return checkpoint(layer, x, use_reentrant=False)
    return checkpoint(layer, x, use_reentrant=False, context_fn=partial(_contexts, layer))


def _contexts(layer: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What the first and the second computation run in."""
    return nullcontext(), _lent_buffers(layer)


@contextmanager
def _lent_buffers(layer: nn.Module) -> Iterator[None]:
    """The layer has copies of its buffers; its own are neither changed nor, as a copy back would, marked as changed."""
    modules = list(layer.modules())
    own = [(module, name, buffer) for module in modules for name, buffer in module.named_buffers(recurse=False)]
    for module, name, buffer in own:
        setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, name, buffer in own:
            setattr(module, name, buffer)
