"""Times the non-local block beside public ones in one run: python tools/benchmark_block.py"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
import itertools
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from benchmarks.block_before import before
from torch import Tensor, nn

from nonlocal_video.models import NonLocalBlock
from nonlocal_video.reports.texts import table

FUNCTIONS = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")
SIZES = {
    "res4 4x14x14": (2, 1024, 4, 14, 14),
    "res3 8x28x28": (1, 512, 8, 28, 28),
    "res3 16x28x28": (1, 512, 16, 28, 28),
}
"""(B, C, T, H, W); 16x28x28 is res3 of a 128-frame network."""
MEMORY_LIMIT = 8 * 2**30
"""Bytes of the concatenated pairs above which mmcv's block is not run."""


class Case(NamedTuple):
    """One line of the table."""

    function: str
    size: str
    pooled: bool
    backward: bool


class Plain(nn.Module):
    """A pairwise function by its definition, with the (N, M) matrix."""

    def __init__(self, channels: int, *, function: str) -> None:
        super().__init__()
        self.embeds, self.function = function != "gaussian", function
        if function == "concatenation":
            self.w_f = nn.Linear(2 * channels, 1, bias=False)

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        if self.function == "concatenation":
            w_theta, w_phi = self.w_f.weight[0].chunk(2)
            affinity = torch.relu((theta @ w_theta)[:, :, None] + (phi @ w_phi)[:, None])
        else:
            affinity = theta @ phi.mT  # (B, N, M)
        if "gaussian" not in self.function:
            return affinity / phi.shape[1] @ g
        scale = theta.shape[2] ** -0.5 if self.embeds else 1.0
        return torch.softmax(affinity * scale, dim=2) @ g


def ours(case: Case) -> nn.Module:
    return NonLocalBlock(SIZES[case.size][1], pairwise=case.function, subsample="before" if case.pooled else "none")


def plain(case: Case) -> nn.Module:
    function = partial(Plain, function=case.function)
    return NonLocalBlock(SIZES[case.size][1], pairwise=function, subsample="before" if case.pooled else "none")


def pytorchvideo(case: Case) -> nn.Module | None:
    names = {"embedded_gaussian": "softmax", "dot_product": "dot_product"}
    if case.function not in names:
        return None
    from pytorchvideo.layers.nonlocal_net import create_nonlocal

    channels, pool = SIZES[case.size][1], (1, 2, 2) if case.pooled else (1, 1, 1)
    return create_nonlocal(dim_in=channels, dim_inner=channels // 2, pool_size=pool, instantiation=names[case.function])


def mmcv(case: Case) -> nn.Module | None:
    batch, channels, t, h, w = SIZES[case.size]
    if find_spec("mmcv") is None or (case.function == "concatenation" and case.backward):
        return None  # mmcv's concatenation cannot be trained: an in-place operation stops its backward pass.
    keys = t * (h // 2) * (w // 2) if case.pooled else t * h * w
    if case.function == "concatenation" and 2 * batch * channels * t * h * w * keys * 4 > MEMORY_LIMIT:
        return None
    from mmcv.cnn import NonLocal3d

    return NonLocal3d(
        channels,
        use_scale=case.function == "embedded_gaussian",
        sub_sample=case.pooled,
        mode=case.function,
        norm_cfg={"type": "BN3d"},
    )


BLOCKS: dict[str, Callable[[Case], nn.Module | None]] = {
    "ours": ours,
    "plain": plain,
    "pytorchvideo": pytorchvideo,
    "mmcv": mmcv,
}


def prepare(name: str, case: Case, arguments: argparse.Namespace) -> Callable[[], None] | None:
    """The step to measure, ready to run; None where there is no such block."""
    torch.set_num_threads(arguments.threads)
    block = BLOCKS[name](case)
    if block is None:
        return None
    device = torch.device(arguments.device)
    block = block.to(device).train(case.backward)
    x = torch.randn(SIZES[case.size], device=device, requires_grad=case.backward)
    if arguments.channels_last:
        x = x.detach().contiguous(memory_format=torch.channels_last_3d).requires_grad_(case.backward)

    def step() -> None:
        with torch.set_grad_enabled(case.backward), torch.autocast(device.type, torch.bfloat16, arguments.bf16):
            z = block(x)
        if case.backward:
            z.backward(x.detach())
            block.zero_grad()
            x.grad = None
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def times(case: Case, arguments: argparse.Namespace) -> dict[str, float]:
    """Median seconds of each block; the blocks take turns."""
    steps = {name: step for name in BLOCKS if (step := prepare(name, case, arguments))}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat, (name, step) in itertools.product(range(arguments.repeats + 1), steps.items()):
        start = time.perf_counter()
        step()
        if repeat:  # The first is a warm-up.
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak(name: str, case: Case, arguments: argparse.Namespace) -> float | None:
    """MiB by which a step raises the peak of a fresh process (on a GPU: of the allocated memory)."""
    step = prepare(name, case, arguments)
    if step is None:
        return None
    if arguments.device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10


def fresh(function: Callable[..., object], *arguments: object) -> object:
    """Runs a function in a process of its own. The parent runs no kernel, so that forking it is safe and fast."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(function, *arguments).result()


def row(case: Case, arguments: argparse.Namespace) -> list[str]:
    seconds = fresh(times, case, arguments)
    assert isinstance(seconds, dict)
    memory = {name: fresh(peak, name, case, arguments) for name in seconds}
    own = seconds["ours"]
    cells = [case.function, case.size, "yes" if case.pooled else "no", "both" if case.backward else "forward"]
    cells += [f"{1000 * own:.1f}"]
    cells += [f"{own / seconds[name]:.2f}" if name in seconds else "-" for name in BLOCKS if name != "ours"]
    return cells + [f"{memory[name]:.0f}" if name in memory else "-" for name in BLOCKS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", nargs="+", default=FUNCTIONS, choices=FUNCTIONS)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--bf16", action="store_true", help="under autocast to bfloat16")
    parser.add_argument("--channels-last", action="store_true", help="inputs as the networks pass them")
    parser.add_argument("--before", type=Path, help="compare with the block of another checkout, at its root, instead")
    arguments = parser.parse_args()
    if arguments.before:
        sizes = {name: SIZES[name] for name in arguments.sizes}
        options = {"checkout": arguments.before, "threads": arguments.threads, "repeats": arguments.repeats}
        for part in before(arguments.functions, sizes, **options):
            print(part, end="", flush=True)
        return
    others = [name for name in BLOCKS if name != "ours"]
    head = ["function", "map", "keys pooled", "pass", "ours, ms", *(f"ours / {name}" for name in others)]
    head += [f"MiB {name}" for name in BLOCKS]
    rows = []
    for case in itertools.starmap(
        Case, itertools.product(arguments.functions, arguments.sizes, (True, False), (False, True))
    ):
        rows.append(row(case, arguments))
        print(*rows[-1], sep=", ", file=sys.stderr, flush=True)  # The table is made of all; that takes long.
    print(table(head, rows, texts=range(4)))


if __name__ == "__main__":
    main()
