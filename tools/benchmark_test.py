"""Times whole tests, ours beside an item for each view, in one run: python tools/benchmark_test.py

Then how long the network waits for videos, and what precision does.
The files are made on first use, in data/benchmark/.
"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import av
import torch
from benchmarks.costs import against
from benchmarks.page import machine, tell
from benchmarks.precision import precision
from benchmarks.testspeed import (
    Outcome,
    Speed,
    Test,
    build,
    check_same,
    copies,
    in_turn,
    ours,
    plan,
    straightforward,
)
from benchmarks.videos import TIMED, File, describe, make_videos

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.reports.texts import table

SECTIONS = ("speed", "wait", "precision")
NETWORKS = ("nl_c2d_small_32x2", "nl_i3d_r50_8x8", "c2d_r50_8x8")
PROTOCOLS = ("10x3", "full_10")
TARGETS = {("nl_c2d_small_32x2", "10x3"): 3.0, ("nl_i3d_r50_8x8", "10x3"): 1.0, ("nl_i3d_r50_8x8", "full_10"): 1.0}
"""At least so many times as fast as view by view."""
HEAD = """# The speed of testing

{machine}

Networks have random weights, scaled so that scores differ as those of trained ones do. The generated videos are H.264
as x264 makes it (`tools/benchmarks/videos.py`). Ways take turns; seconds are medians of {repeats}, of wall time.

"""
SPEED = """## Videos a second

"Ours" is what tools/test.py does: an item of the loader is a video, each needed frame is decoded once, and its views
run in chunks (`runtime.chunk` as by default). "View by view" is the straightforward way: an item is a view, whose clip
is decoded by our own decoder, resized and cropped; a plain DataLoader; one forward pass for each. Both have {workers}
loader processes, and are timed from the start of these to the last score. Before the clock ran, both had given the same
scores of every video, to 1e-5. "Wait" is the share of the time in which the network's process waited for the loader. A
file counts as {copies} videos; on a CPU as one with a large network, which saw the first file only.

"""
CROPS = """### The whole frame beside three crops

What the views of a clip share is pixels: the three squares of a frame overlap, the whole frame is seen once. Ours, from
the same runs.

"""
WAIT = """## Waiting for videos

Ours, `full_10`, on {name}, with so many loader processes. With none the network waits while its own
process decodes; with some it waits for the first video, and where they cannot keep up. {device}

"""


def speed(files: Sequence[File], arguments: argparse.Namespace) -> Iterator[str]:
    """Ours beside view by view.

    Raises:
        ValueError: the two ways give other scores, or a video cannot be decoded.
    """
    workers = max(arguments.workers)
    yield SPEED.format(workers=workers, copies=arguments.copies)
    rows, crops = list[list[str]](), list[list[str]]()
    for name in arguments.networks:
        model = build(name)
        few = _is_slow(model)
        for file in files[:1] if few else files:
            entries = copies(file.path, 1 if few else arguments.copies)
            tests = {protocol: Test(model, entries, plan(model, protocol), workers) for protocol in PROTOCOLS}
            found = _measure(tests, repeats=arguments.repeats)
            for protocol in PROTOCOLS:
                own, other = found[protocol, "ours"], found[protocol, "view by view"]
                goal = against(TARGETS.get((name, protocol)), other.seconds / own.seconds, at_least=True)
                rows.append([name, file.name, protocol, *_beside(own, other, num_videos=len(entries)), goal])
            crops.append([name, file.name, *_full(found["10x3", "ours"], found["full_10", "ours"])])
    head = ["ours, videos/s", "view by view, videos/s", "ours is faster by", "wait, ours", "wait, view by view"]
    yield table(["network", "videos", "protocol", *head, ""], rows) + "\n\n"
    yield CROPS + table(["network", "videos", "pixels, 10x3 / full_10", "time, 10x3 / full_10"], crops) + "\n\n"


def _measure(tests: dict[str, Test], *, repeats: int) -> dict[tuple[str, str], Speed]:
    """Times both ways of each protocol, once they gave the same scores."""
    ways = dict[tuple[str, str], partial[Outcome]]()
    for protocol, test in tests.items():
        check_same(ours(test), straightforward(test))
        ways |= {(protocol, "ours"): partial(ours, test), (protocol, "view by view"): partial(straightforward, test)}
    return in_turn(ways, repeats=repeats)


def _is_slow(model: Classifier) -> bool:
    """Whether one video of it is a measurement."""
    return model.options.depth != "small" and not torch.cuda.is_available()


def _beside(own: Speed, other: Speed, *, num_videos: int) -> list[str]:
    rates = [f"{num_videos / way.seconds:.3g}" for way in (own, other)]
    waits = [f"{100 * way.wait:.0f}%" for way in (own, other)]
    return [*rates, f"{other.seconds / own.seconds:.2f}", *waits]


def _full(squares: Speed, whole: Speed) -> list[str]:
    return [f"{squares.pixels / whole.pixels:.2f}", f"{squares.seconds / whole.seconds:.2f}"]


def wait(files: Sequence[File], arguments: argparse.Namespace) -> Iterator[str]:
    """The data wait of ours by the number of loader processes.

    Raises:
        ValueError: a video cannot be decoded.
    """
    gpu = torch.cuda.is_available()
    device = "A GPU may be at the video before meanwhile." if gpu else "On a GPU: n/a, none was at hand."
    yield WAIT.format(name=files[0].name, device=device)
    rows = []
    for name in arguments.networks:
        model = build(name)
        entries = copies(files[0].path, 2 if _is_slow(model) else 2 * arguments.copies)
        ways = {
            number: partial(ours, Test(model, entries, plan(model, "full_10"), number)) for number in arguments.workers
        }
        for number, found in in_turn(ways, repeats=arguments.repeats).items():
            rows.append([name, str(number), f"{len(entries) / found.seconds:.3g}", f"{100 * found.wait:.1f}%"])
    yield table(["network", "loader processes", "videos/s", "data wait"], rows) + "\n\n"


def pages(arguments: argparse.Namespace) -> Iterator[str]:
    """The page, part by part.

    Raises:
        ValueError, av.FFmpegError: a file cannot be read, or two ways give other scores.
    """
    yield HEAD.format(
        machine=machine("benchmark_test.py", packages=("torch", "av"), threads=torch.get_num_threads()),
        repeats=arguments.repeats,
    )
    files = [describe(path, name=os.path.basename(path)) for path in arguments.videos]
    files = files or make_videos(TIMED[::2], arguments.folder)
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "speed": partial(speed, files, arguments),
        "wait": partial(wait, files, arguments),
        "precision": partial(
            precision, arguments.precision_of, files, precisions=arguments.precisions, repeats=arguments.repeats
        ),
    }
    for name in arguments.only:
        yield from parts[name]()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--only", nargs="+", default=SECTIONS, choices=SECTIONS)
    parser.add_argument("--videos", nargs="+", default=[], metavar="FILE", help="instead of generated ones")
    parser.add_argument(
        "--networks", nargs="+", default=NETWORKS, metavar="NAME", help="of the sections speed and wait"
    )
    parser.add_argument("--precision-of", default="nl_i3d_r50_8x8", metavar="NAME")
    parser.add_argument("--precisions", nargs="+", default=["bf16"], choices=["bf16", "fp16"], help="beside fp32")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 1, 2], help="loader processes; speed has the most"
    )
    parser.add_argument(
        "--copies", type=int, default=4, help="videos that a file counts as; 1 for a large network on a CPU"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("data/benchmark"), help="of the generated files")
    parser.add_argument("--out", type=Path, help="write the page here, too")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    try:
        tell(pages(arguments), out=arguments.out)
    except (ValueError, av.FFmpegError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
