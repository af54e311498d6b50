"""torchrun and srun: whether they started this process, and where its ranks meet."""

import os

import torch


def started_by_torchrun() -> bool:
    """Whether torchrun started this process, beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def started_by_srun() -> bool:
    """Whether Slurm's srun started this process, beside others. A batch script itself is no such process."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def join_srun() -> tuple[str, int, int]:
    """Where the ranks of a job step meet, this process's rank, and their number.

    Raises:
        ValueError: several machines, and no MASTER_ADDR.
    """
    step = os.environ
    address = step.get("MASTER_ADDR") or ("127.0.0.1" if step.get("SLURM_STEP_NUM_NODES") == "1" else None)
    if address is None:
        raise ValueError(
            "srun on several machines: got no MASTER_ADDR, expected the first one's; see scripts/train.sbatch"
        )
    port = step.get("MASTER_PORT") or str(20_000 + int(step.get("SLURM_JOB_ID", "0")) % 10_000)
    # With --gpus-per-task a process sees its own GPU only, as number 0.
    step["LOCAL_RANK"] = "0" if torch.cuda.device_count() == 1 else step["SLURM_LOCALID"]
    return f"tcp://{address}:{port}", int(step["SLURM_PROCID"]), int(step["SLURM_STEP_NUM_TASKS"])
