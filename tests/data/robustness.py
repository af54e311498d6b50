"""What each decoder does with every kind of file.

{ python -m tests.data.robustness [REAL ...]; python -m tests.soak FOLDER --only files; } > docs/robustness.md
"""

import importlib.metadata
import os
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import TimeoutError as OutOfTime
from pathlib import Path
from typing import Any

import numpy as np
from pebble import ProcessExpired, ProcessPool

from nonlocal_video.data.decode import DECODERS, check_decoder, decode
from nonlocal_video.data.decoders.fallback import import_decord, import_torchcodec
from nonlocal_video.reports.texts import table
from tests.conftest import numbers_in
from tests.data import fuzz
from tests.data.bad_videos import BROKEN, LIMIT_S, ODD, flipped, no_permission, outcome, whole
from tests.data.videos import KINDS

HEAD = """# What the decoders do with every kind of file

`python -m tests.data.robustness [REAL ...]` makes this page and all its files but the real ones, and
`python -m tests.soak FOLDER --only files` its last section; here with Python {python}, {versions}.
Every file is read in a process that is ended after {limit:g} s.

## Index k is frame k

Wrong frames of those asked for, in many short reads with a fresh reader, from videos of 75 frames whose grey level
is their number (58 frames with an edit list; the file holds 17 more). "alone" is the library without what this project
puts before it: files that a library is known to misread go to PyAV, and frame k is the k-th picture that a decode of
the whole file gives.
"""
FUZZ_HEAD = """
These files are as FFmpeg's encoders make them, and real ones are less regular. `python -m tests.data.fuzz` makes files
of the containers and codecs at hand, also with packets as old encoders and careless tools leave them ("packed" and
"dropped" pictures, "decoding times" called times of display or "exchanged" ones, two pictures "merged" into a packet,
"cut" before the first key frame). It compares what is read of each with `data.decoder=pyav`, at four strides and frame
by frame, with a plain decode of the whole file, bit by bit. So many files of each codec and container:
"""
REAL_HEAD = """
## Real files

What is read, at four strides and frame by frame, beside a plain decode of the whole file: "same" is bit by bit. One
that takes more than ten times as long as above would hang.
"""
BROKEN_HEAD = """
## Files that are no whole video

A training clip of each (32 of 64 frames): the error, or "clip". The lower ones are unusual, but videos.
"""
FLIPPED_HEAD = """
## Changed bytes

A training clip of each of 200 copies of one H.264 video (120 frames of 96 x 64 pixels, 42 kB) with 1 to 20 random
bytes changed. A wrong clip has other pixels than that of the whole file. PyAV says which frames FFmpeg calls damaged;
clips with such frames, or with others of their group of pictures, are refused; the other libraries hand them out. What
is left are changes that FFmpeg itself does not notice: H.264 has no check sums.
"""


def alone_decord(path: str, wanted: list[int]) -> np.ndarray:
    decord = import_decord()
    reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    return reader.get_batch([min(index, len(reader) - 1) for index in wanted]).asnumpy()


def alone_torchcodec(path: str, wanted: list[int]) -> np.ndarray:
    video = import_torchcodec().VideoDecoder(path, dimension_order="NHWC", seek_mode="exact", num_ffmpeg_threads=1)
    return video.get_frames_at([min(index, len(video) - 1) for index in wanted]).data.numpy()


def guarded(path: str, wanted: list[int], decoder: str) -> np.ndarray:
    decoded = decode(path, lambda _: np.array([wanted]), lambda _h, _w: lambda frame: frame, decoder=decoder)
    return decoded.frames[decoded.rows[0]].numpy()


def count_wrong(path: str, shown: list[int], name: str) -> str:
    """Reads as training and testing do: three frames from everywhere, and some far apart."""
    alone: dict[str, Callable[[str, list[int]], np.ndarray]] = {
        "decord alone": alone_decord,
        "torchcodec alone": alone_torchcodec,
    }
    wrong = asked = 0
    last = len(shown) - 1
    for wanted in (*([k, k + 1, k + 2] for k in range(0, last - 1, 5)), [last], [10, 40, 50]):
        found = alone[name](path, wanted) if name in alone else guarded(path, wanted, name)
        wrong += sum(a != shown[k] for a, k in zip(numbers_in(found), wanted, strict=True))
        asked += len(wanted)
    return f"**{wrong} of {asked}**" if wrong else f"0 of {asked}"


def main() -> None:
    decoders = [name for name in DECODERS if usable(name)]
    names = ("av", "decord", "torchcodec", "numpy")
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in names if name in (*decoders, "av", "numpy")
    )
    print(HEAD.format(python=platform.python_version(), versions=versions, limit=LIMIT_S))
    with tempfile.TemporaryDirectory() as folder, ProcessPool(1) as pool:

        def run(function: Callable[..., Any], *arguments: object, limit_s: float = LIMIT_S) -> Any:
            """What it gives, or what became of its process."""
            try:
                return pool.schedule(function, arguments, timeout=limit_s).result()
            except OutOfTime:
                return "**hangs**"
            except ProcessExpired:
                return "**crashes**"
            except Exception as error:  # What a library raises is what the table is for.
                return f"{type(error).__name__}"

        columns = [column for name in decoders for column in (name, f"{name} alone") if column != "pyav alone"]
        rows = []
        for kind in KINDS:
            place = Path(folder) / kind.__name__
            place.mkdir()
            path, shown = kind(place)
            cells = [
                run(count_wrong, str(path), shown, column) if path.is_file() or column in DECODERS else "-"
                for column in columns
            ]
            rows.append([kind.__name__.replace("_", " "), *cells])
        print(table(["video", *columns], rows))
        print(FUZZ_HEAD)
        wrong, lines = fuzz.run(1.0)
        print("\n".join([*(f"- {line}" for line in lines), *(f"- **WRONG** {case}" for case in wrong)]))
        print(f"- {len(wrong)} of them are read otherwise than a plain decode reads them")
        if sys.argv[1:]:
            print(REAL_HEAD)
            rows = []
            for name in sys.argv[1:]:
                cells = [run(real, name, decoder, limit_s=10 * LIMIT_S) for decoder in decoders]
                rows.append([Path(name).name, str(run(count_pictures, name)), *cells])
            print(table(["file", "frames", *decoders], rows))
        print(BROKEN_HEAD)
        rows = []
        for make in (*BROKEN, *ODD):
            if make is no_permission and os.geteuid() == 0:
                continue  # Root may read it.
            path = Path(folder) / make.__name__ / "video.mp4"
            path.parent.mkdir()
            make(path)
            cells = [cell(run(outcome, str(path), name)) for name in decoders]
            rows.append([make.__name__.replace("_", " "), *cells])
        print(table(["file", *decoders], rows))
        print(FLIPPED_HEAD)
        flips(Path(folder), decoders, run)


def real(path: str, decoder: str) -> str:
    """Whether a file is read as a plain decode of it does."""
    return fuzz.compare(Path(path), decoder=decoder).replace(path, "") or "same"


def count_pictures(path: str) -> int:
    return len(fuzz.plain_decode(Path(path)))


def flips(folder: Path, decoders: list[str], run: Callable[..., Any]) -> None:
    """The table of changed bytes."""
    content, path = whole(folder / "whole.mp4", front=True), folder / "flipped.mp4"
    right = {name: run(outcome, str(folder / "whole.mp4"), name)[2] for name in decoders}
    counts = {name: Counter[str]() for name in decoders}
    for number in range(200):
        path.write_bytes(flipped(content, number))
        for name in decoders:
            found = run(outcome, str(path), name)
            if isinstance(found, str):
                counts[name][found] += 1
            elif found[0] != "clip":
                counts[name]["error"] += 1
            else:
                counts[name]["right clip" if found[2] == right[name] else "wrong clip"] += 1
    kinds = ["error", "right clip", "wrong clip", *sorted({k for c in counts.values() for k in c if "*" in k})]
    rows = [[name, *(str(count[kind]) for kind in kinds)] for name, count in counts.items()]
    print(table(["decoder", *kinds], rows))


def usable(decoder: str) -> bool:
    try:
        check_decoder(decoder)
    except ValueError:
        return False
    return True


def cell(found: Any) -> str:
    return found if isinstance(found, str) else f"{found[0]}, {found[1]:.1f} s"


if __name__ == "__main__":
    main()
