"""Runs a function in several processes that know of one another."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes


def on_ranks(world_size: int, job: Callable[[], Any]) -> list[Any]:
    """What `job` returns on each rank."""
    with tempfile.TemporaryDirectory() as folder:
        start_processes(_run, (world_size, folder, job), nprocs=world_size, start_method="forkserver")
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(world_size)]


def _run(rank: int, world_size: int, folder: str, job: Callable[[], Any]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world_size)
    torch.save(job(), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
