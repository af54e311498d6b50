"""Measures the reading of videos, ours beside others, in one run: python tools/benchmark_data.py

Everything but the loader runs on one core. The files are made on first use, in data/benchmark/.
"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import av
import torch
from benchmarks.before import before
from benchmarks.costs import ffmpeg_version
from benchmarks.page import processor, tell
from benchmarks.processes import loader, memory
from benchmarks.split import split
from benchmarks.testing import test
from benchmarks.training import train
from benchmarks.videos import MIXED, OLD, TIMED, File, describe, make_videos

SECTIONS = ("train", "test", "split", "memory", "loader", "before")
FILES = """The generated files are H.264 as x264 makes it by default (preset medium, crf 23, 3 B-frames), with a panning
textured ground, moving textured objects and noise (`tools/benchmarks/videos.py`); GOP is the number of frames from one
key frame to the next. A cell without a number says why there is none.
"""


def pages(arguments: argparse.Namespace, *, cores: set[int]) -> Iterator[str]:
    """The page, part by part.

    Raises:
        ValueError, av.FFmpegError, RuntimeError: a file cannot be read.
    """
    yield f"# Reading videos, beside public ways\n\n{machine(len(cores))}\n\n{FILES}"
    timed = make_videos(MIXED[:1] if arguments.small else TIMED, arguments.folder)
    mixed = timed if arguments.small or "memory" not in arguments.only else make_videos(MIXED, arguments.folder)
    files = [*timed, *(describe(path, name=os.path.basename(path)) for path in arguments.videos)]
    sizes = {"num_clips": arguments.clips, "repeats": arguments.repeats}
    plan = {"gpus": arguments.gpus, "clips_per_gpu": arguments.clips_per_gpu, "step_s": arguments.step_s}
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "train": partial(train, files, **sizes, **plan, cores=len(cores)),
        "test": partial(test, files, repeats=arguments.repeats),
        "split": partial(split, files, **sizes),
        "memory": partial(memory, mixed, long=timed[0], num_items=arguments.memory),
        "loader": partial(loader, timed[0], workers=arguments.workers),
        "before": partial(_before, files, arguments),
    }
    for name in arguments.only:
        use(cores if name == "loader" else {min(cores)})
        yield from parts[name]()


def _before(files: list[File], arguments: argparse.Namespace) -> Iterator[str]:
    named = [(file.name, file.path) for file in [*files, *make_videos(OLD, arguments.folder)]]
    return before(named, checkout=arguments.before, rounds=arguments.rounds)


def machine(num_cores: int) -> str:
    """The machine and the versions that this ran with."""
    names = ("torch", "torchvision", "av", "decord", "torchcodec", "pytorchvideo", "numpy")
    command = shlex.join(["python", "tools/benchmark_data.py", *sys.argv[1:]])
    return (
        f"`{command}` on {processor()}, {num_cores} cores, of which one was used but for the loader, one thread of "
        f"torch; Python {platform.python_version()}, "
        f"{', '.join(f'{name} {_version(name)}' for name in names)}, {ffmpeg_version() or 'no ffmpeg program'}."
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def usable_cores() -> set[int]:
    """The cores this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def use(cores: set[int]) -> None:
    """Keeps this process, and what it starts from now on, to these cores, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _sections(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - set(SECTIONS)
    if unknown:
        raise argparse.ArgumentTypeError(f"got {', '.join(sorted(unknown))}, expected some of {','.join(SECTIONS)}")
    return names


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--only", type=_sections, help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--videos", nargs="+", default=[], metavar="FILE", help="measure on these too")
    parser.add_argument("--clips", type=int, default=5, help="training clips of each file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--gpus", type=int, default=8, help="how many workers do they take?")
    parser.add_argument("--clips-per-gpu", type=int, default=8)
    parser.add_argument("--step-s", type=float, default=0.5, help="seconds of a training step")
    parser.add_argument("--memory", type=int, default=300, metavar="CLIPS", help="of each decoder, for its memory")
    parser.add_argument("--workers", type=_numbers, default=[0, 1, 2], help="of the loader")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another checkout, to compare with")
    parser.add_argument("--rounds", type=int, default=7, help="of the comparison with another checkout")
    parser.add_argument("--folder", type=Path, default=Path("data/benchmark"), help="of the generated files")
    parser.add_argument("--small", action="store_true", help="on one short file, to try this program")
    parser.add_argument("--out", type=Path, help="write the page here, too")
    arguments = parser.parse_args(words)
    if arguments.only is None:
        arguments.only = [name for name in SECTIONS if name != "before" or arguments.before]
    if "before" in arguments.only and arguments.before is None:
        parser.error("--only before: name the other checkout with --before")
    return arguments


def main() -> None:
    arguments = parse()
    torch.set_num_threads(1)
    try:
        tell(pages(arguments, cores=usable_cores()), out=arguments.out, end="\n")
    except (ValueError, RuntimeError, av.FFmpegError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
