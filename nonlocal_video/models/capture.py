"""Whether a computation is recorded or transformed, not just carried out."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.autograd import forward_ad

_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
"""PyTorch 2.6 does not tell; its exports have sizes that are symbols."""


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Autocast switched off where x is; the meta device knows none."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def is_captured(*tensors: Tensor) -> bool:
    """Whether what is done to these tensors is recorded for other sizes, or transformed as a function.

    True in `torch.export`, `torch.onnx.export`, `torch.jit.trace`, `torch.compile` where sizes are dynamic,
    `torch.func.vmap`, `grad`, `jvp` and forward-mode differentiation, and on the meta device, which has only shapes.
    Then there must be one form for all sizes, of operators that PyTorch can transform itself.
    """
    if torch._C._are_functorch_transforms_active():
        return True
    if torch.compiler.is_dynamo_compiling():
        from torch.fx.experimental import symbolic_shapes  # noqa: PLC0415  # It loads sympy, slowly.

        known = getattr(symbolic_shapes, "has_static_value", lambda _size: True)
        return _is_exporting() or not all(known(size) for x in tensors for size in x.shape)
    if _is_exporting() or torch.jit.is_tracing() or tensors[0].is_meta:
        return True
    return any(
        forward_ad.unpack_dual(x).tangent is not None or any(isinstance(size, torch.SymInt) for size in x.shape)
        for x in tensors
    )
