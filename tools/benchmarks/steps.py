"""Training steps side by side: time, memory, ranks, and the share of a GPU's matrix rate."""

import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.networks import Way, prepare
from nonlocal_video.engine.optim import build_optimizer
from nonlocal_video.models import build_model
from nonlocal_video.settings import OptimConfig
from nonlocal_video.system.distributed import all_reduce_sum, is_main, local_device, set_threads, world_size, wrap
from nonlocal_video.system.launch import launch


class Sizes(NamedTuple):
    """The sizes of a step and of the measurement."""

    batch: int
    crop: int
    repeats: int
    threads: int
    slowfast: Path | None


class Step(NamedTuple):
    """The cost of a step of one way."""

    seconds: float
    peak_mib: float


def measured(ways: Sequence[Way], sizes: Sizes) -> dict[Way, Step]:
    """Median seconds in one process, in which the ways take turns, and peak memory, each in a process of its own."""
    seconds = fresh(times, ways, sizes)
    return {way: Step(seconds[way], fresh(peak, way, sizes)) for way in ways}


def times(ways: Sequence[Way], sizes: Sizes) -> dict[Way, float]:
    steps = {way: ready(way, sizes) for way in ways}
    found: dict[Way, list[float]] = {way: [] for way in ways}
    for repeat in range(sizes.repeats + 2):  # Two to warm up.
        for way, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat > 1:
                found[way].append(time.perf_counter() - start)
    return {way: statistics.median(values) for way, values in found.items()}


def peak(way: Way, sizes: Sizes) -> float:
    """MiB by which two steps raise the peak of a process that holds the network (on a GPU: of the allocated memory)."""
    step = ready(way, sizes)
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(), step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(), step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10


def ready(way: Way, sizes: Sizes) -> Callable[[], None]:
    torch.set_num_threads(sizes.threads)
    return prepare(way, batch=sizes.batch, crop=sizes.crop, slowfast=sizes.slowfast)


def fresh(function: Callable[..., Any], *arguments: object) -> Any:
    """Runs a function in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def scaling(network: str, frames: int, sizes: Sizes, *, ranks: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Clips a second of all ranks together; each has `batch` clips and its share of the threads."""
    for processes in ranks:
        with get_context("spawn").Manager() as manager:
            rates = manager.list()
            job = partial(_rank, network=network, frames=frames, rates=rates)
            launch(job, sizes, devices=processes, timeout_s=600)
            yield processes, rates[0]


def _rank(sizes: Sizes, *, network: str, frames: int, rates: Any) -> None:
    set_threads(max(1, sizes.threads // world_size()))
    device = local_device()
    model = build_model(network, num_classes=400, crop=sizes.crop, dropout=0.0).to(device).train()
    wrapped = wrap(model, sync_bn=False)
    optimizer = build_optimizer(
        model.groups(), OptimConfig(lr=0.01, reference_batch=1, clips_per_device=1, steps=1), lr=0.01, fused=True
    )
    clips = torch.randint(0, 256, (sizes.batch, 3, frames, sizes.crop, sizes.crop), dtype=torch.uint8, device=device)
    labels = torch.zeros(sizes.batch, dtype=torch.int64, device=device)
    for repeat in range(sizes.repeats + 2):
        if repeat == 2:
            all_reduce_sum(torch.zeros(1))  # All begin together.
            start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(wrapped(clips), labels).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
    all_reduce_sum(torch.zeros(1))
    if is_main():
        rates.append(sizes.batch * world_size() * sizes.repeats / (time.perf_counter() - start))


def flops_of_step(way: Way, sizes: Sizes) -> float:
    """Floating-point operations of forward and backward pass, as PyTorch counts them."""
    step = ready(way._replace(compile=False), sizes)
    counter = FlopCounterMode(display=False)
    with counter:
        step()
    return counter.get_total_flops()


def matrix_rate(precision: str, *, size: int) -> float:
    """The rate of a large matrix product on this device in FLOP/s: what a network could reach at best."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(7):
        seconds.append(_seconds(a, b))
    return 2 * size**3 / statistics.median(seconds[2:])


def _seconds(a: Tensor, b: Tensor) -> float:
    start = time.perf_counter()
    a @ b
    if a.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
