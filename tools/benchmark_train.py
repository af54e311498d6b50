"""Times the training step beside public ones in one run: python tools/benchmark_train.py --slowfast FOLDER

Ours against pytorchvideo's I3D R50 (without non-local blocks) and, where its repository is at hand, PySlowFast's
I3D_NLN_8x8_R50; then what each option costs, how ranks scale, and the share of the device's matrix rate.
"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from benchmarks.beside import beside
from benchmarks.networks import Way
from benchmarks.page import machine, tell
from benchmarks.steps import Sizes, Step, flops_of_step, fresh, matrix_rate, measured, scaling

from nonlocal_video.reports.texts import table

SECTIONS = ("step", "options", "ranks", "rate", "beside")
OPTIONS: dict[str, dict[str, bool]] = {
    "default": {},
    "runtime.channels_last=false": {"channels_last": False},
    "runtime.fused=false": {"fused": False},
    "runtime.recompute=true": {"recompute": True},
    "runtime.compile=true": {"compile": True},
    "runtime.compile=true runtime.recompute=true": {"compile": True, "recompute": True},
}
"""Options of the runtime, and what they change."""
TARGET = 1.25
"""How many times faster than PySlowFast's network, at equal precision."""
HEAD = """# The training step beside public ones

{machine}

A step is forward pass, cross entropy, backward pass and SGD with Nesterov momentum on random clips. Ours takes uint8
clips and normalises them within the step; the others get them normalised and in their layout. Ways of one precision run
in one process and take turns; seconds are medians of {repeats}; MiB is how much two steps raise the peak of a fresh
process that holds the network. "ours / it" compares with the first line of its precision: below 1, ours is faster.
"""


def step_ways(frames: int, stride: int, precision: str, *, slowfast: bool) -> list[Way]:
    """Ours first. Of another code base the layouts that its users have; at 32 frames it is not the paper's network."""
    name = f"r50_{frames}x{stride}"
    ways = [Way(f"nl_i3d_{name}", frames, precision), Way(f"i3d_{name}", frames, precision)]
    layouts = (True, False) if precision == "fp32" else (True,)
    peers = ["pytorchvideo"] + (["pyslowfast"] if slowfast and frames == 8 else [])
    if frames == 32:
        ways.append(
            Way("nl_i3d_r50_32x3", frames, precision)
        )  # A stride above 2: the dense stem, as the peers have it.
    return ways + [Way(peer, frames, precision, channels_last=last) for peer in peers for last in layouts]


def steps(sizes: Sizes, *, clips: Sequence[str], precisions: Sequence[str]) -> Iterator[str]:
    for clip in clips:
        frames, stride = map(int, clip.split("x"))
        own = sizes._replace(batch=max(1, sizes.batch * 8 // frames))
        yield f"\n## {clip}, batch {own.batch}, {sizes.crop} x {sizes.crop}\n\n"
        rows = []
        for precision in precisions:
            found = measured(step_ways(frames, stride, precision, slowfast=sizes.slowfast is not None), own)
            ours = next(iter(found.values())).seconds
            for way, step in found.items():
                rate, ratio = f"{own.batch / step.seconds:.2f}", f"{ours / step.seconds:.2f}"
                cells = (f"{step.seconds:.3f}", rate, f"{step.peak_mib:.0f}", ratio)
                rows.append([title(way), precision, layout(way), *cells])
            if frames == 8:
                rows += verdict(found, precision)
        head = ["network", "precision", "layout", "s a step", "clips/s", "MiB", "ours / it"]
        yield table(head, rows, texts=range(3)) + "\n"


def verdict(found: Mapping[Way, Step], precision: str) -> Iterator[list[str]]:
    """Against the fastest layout of PySlowFast's network."""
    peers = [step.seconds for way, step in found.items() if way.network == "pyslowfast"]
    if peers:
        ratio = min(peers) / next(iter(found.values())).seconds
        met = "MET" if ratio >= TARGET else "MISSED"
        yield [f"**PySlowFast's fastest / ours, {precision}: {ratio:.2f}** (asked {TARGET}: {met})", *[""] * 6]


def options(sizes: Sizes, *, precisions: Sequence[str], chosen: Sequence[str]) -> Iterator[str]:
    yield f"\n## What each option costs: nl_i3d_r50_8x8, batch {sizes.batch}\n\n"
    changes = {name: OPTIONS[name] for name in chosen}
    columns = []
    for precision in precisions:
        ways = [Way("nl_i3d_r50_8x8", 8, precision)._replace(**change) for change in changes.values()]
        columns.append(list(measured(ways, sizes).values()))
    rows = []
    for number, name in enumerate(changes):
        cells = []
        for column in columns:
            step, base = column[number], column[0]
            cells += [f"{step.seconds:.3f}", f"{step.seconds / base.seconds:.2f}", f"{step.peak_mib:.0f}"]
        rows.append([name, *cells])
    head = ["option", *(f"{p}: {unit}" for p in precisions for unit in ("s a step", "ratio", "MiB"))]
    yield table(head, rows) + "\n"


def ranks(sizes: Sizes, *, numbers: Sequence[int]) -> Iterator[str]:
    yield f"\n## Ranks: nl_i3d_r50_8x8, fp32, {sizes.batch} clips each, {sizes.threads} threads together\n\n"
    first, rows = 0.0, []
    for number, rate in scaling("nl_i3d_r50_8x8", 8, sizes, ranks=numbers):
        first = first or rate
        rows.append([str(number), f"{rate:.2f}", f"{rate / first:.2f}"])
    yield table(["ranks", "clips/s", "against one"], rows) + "\n"


def rate(sizes: Sizes, *, precisions: Sequence[str]) -> Iterator[str]:
    """The share of the rate of a large matrix product that a step reaches."""
    yield "\n## Share of the matrix rate\n\n"
    rows = []
    for precision in precisions:
        way = Way("nl_i3d_r50_8x8", 8, precision)
        flops, best = fresh(flops_of_step, way, sizes), fresh(matrix_rate_of, precision, sizes)
        reached = flops / next(iter(measured([way], sizes).values())).seconds
        cells = (f"{value / 1e9:.0f}" for value in (flops, reached, best))
        rows.append([way.network, precision, *cells, f"{100 * reached / best:.0f}%"])
    head = ["network", "precision", "GFLOP a step", "reached, GFLOP/s", "matrix product, GFLOP/s", "share"]
    yield table(head, rows, texts=range(2)) + "\n"


def matrix_rate_of(precision: str, sizes: Sizes) -> float:
    torch.set_num_threads(sizes.threads)
    return matrix_rate(precision, size=8192 if torch.cuda.is_available() else 2048)


def title(way: Way) -> str:
    names = {"pytorchvideo": "pytorchvideo i3d_r50", "pyslowfast": "PySlowFast I3D_NLN_8x8_R50"}
    return names.get(way.network, way.network.replace("_32x3", ", 32 frames, dense stem"))


def layout(way: Way) -> str:
    return "channels last" if way.channels_last else "channels first"


def pages(arguments: argparse.Namespace) -> Iterator[str]:
    """The page, part by part."""
    sizes = Sizes(arguments.batch, arguments.crop, arguments.repeats, arguments.threads, arguments.slowfast)
    yield HEAD.format(
        machine=machine("benchmark_train.py", packages=("torch", "pytorchvideo"), threads=arguments.threads),
        repeats=arguments.repeats,
    )
    if "step" in arguments.only:
        yield from steps(sizes, clips=arguments.clips, precisions=arguments.precisions)
    if "options" in arguments.only:
        yield from options(sizes, precisions=arguments.precisions, chosen=arguments.options)
    if "ranks" in arguments.only:
        yield from ranks(sizes, numbers=arguments.ranks)
    if "rate" in arguments.only:
        yield from rate(sizes, precisions=arguments.precisions)
    if "beside" in arguments.only:
        yield from beside(arguments.data, before=arguments.before, busy=arguments.busy, rounds=arguments.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slowfast", type=Path, help="folder of a checkout of facebookresearch/SlowFast")
    parser.add_argument("--only", nargs="+", default=SECTIONS[:4], choices=SECTIONS)
    parser.add_argument("--clips", nargs="+", default=["8x8", "32x2"], help="frames x stride")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--options", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    parser.add_argument("--batch", type=int, default=2, help="clips of 8 frames; a quarter of 32")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--before", type=Path, help="beside: the root of another checkout")
    parser.add_argument("--data", type=Path, default=Path("data/miniature"), help="beside: made by make_miniature.py")
    parser.add_argument("--busy", type=int, default=2, help="beside: processes that keep cores busy")
    parser.add_argument("--out", type=Path, help="also write the page there")
    arguments = parser.parse_args()
    if arguments.slowfast and not (arguments.slowfast / "slowfast/models").is_dir():
        sys.exit(f"error: --slowfast {arguments.slowfast}: not a checkout of facebookresearch/SlowFast")
    if "beside" in arguments.only and not (arguments.before and (arguments.before / "tools/train.py").is_file()):
        sys.exit(f"error: --before {arguments.before}: expected the root of another checkout")
    tell(pages(arguments), out=arguments.out)


if __name__ == "__main__":
    main()
