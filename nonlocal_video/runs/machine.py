"""What this machine has to have for a run."""

import torch

from nonlocal_video.settings import OptimConfig, RuntimeConfig
from nonlocal_video.settings.values import expect


def check_machine(runtime: RuntimeConfig, optim: OptimConfig | None = None, *, elsewhere: bool = False) -> None:
    """Makes sure that there are the GPUs that a job asks for.

    Args:
        optim: of a job that trains.
        elsewhere: the GPUs are those of another machine, as in a dry run.

    Raises:
        ValueError: there are not.
    """
    gpus = torch.cuda.device_count()
    if gpus and not elsewhere:
        expect(runtime.devices <= gpus, "runtime.devices", runtime.devices, f"at most {gpus}, the GPUs here")
    if optim is not None and not gpus:
        precision = runtime.precision
        expect(precision != "fp16", "runtime.precision", "fp16", "fp32 or bf16 to train without a GPU")
        expect(not optim.sync_bn, "optim.sync_bn", True, "false: it needs GPUs, none is here")
