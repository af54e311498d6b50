"""Mixed precision."""

from collections.abc import Callable
from typing import Any

import torch

from nonlocal_video.system.distributed import local_device

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def at_precision(call: Callable[..., Any], precision: str) -> Callable[..., Any]:
    """A forward pass in fp32, or in bf16 or fp16 mixed with it."""
    dtype = DTYPES[precision]
    return call if dtype is None else torch.autocast(local_device().type, dtype)(call)
