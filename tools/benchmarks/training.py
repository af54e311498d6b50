"""Training clips a second, ours beside the peers, and how many workers they take."""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import NamedTuple

from benchmarks.costs import Cost, Turn, against, interleaved, title, why_absent
from benchmarks.videos import File
from benchmarks.ways import LENGTH, OURS, PEER_ERRORS, PEERS, STRIDE, Clip, Step, difference, one_frame_off, spread
from nonlocal_video.reports.texts import table

EXPLANATION = """## Training clips

32 of 64 frames, short side 256 to 320, crop of 224, flip. CPU time is user and system time of the process, all threads:
of each clip the median over the repeats, of these the mean over the clips. Ways take turns, each of which begins with a
clip that is not timed. "Faster by" is the way's CPU time over that of ours, pyav. Ours give uint8, since the GPU
normalises; the peers give normalised floats, as their users run them; "ours, pyav, floats" normalises on the CPU too.
Before the clock ran, each clip of each way was compared with that of ours, pyav: "difference" is the largest mean
absolute difference, in grey levels, of the middle of the pictures. `tools/benchmarks/ways.py` says what is reproduced
of the peers.
"""
TARGETS = {"340x256, GOP 250": 2.0, "340x256, GOP 12": 3.5, "1280x720, GOP 250": 3.5}
"""At least so many times as fast as the fastest peer."""
MAX_DIFFERENCE = 1.0
"""Grey levels: rounding to whole ones makes 0.3, a clip one frame later some 10."""


class Prepared(NamedTuple):
    """The ways that can be measured on a file, and why the others cannot."""

    steps: dict[str, list[Step]]
    """The steps of each way, one for each clip."""
    differences: dict[str, float]
    reasons: dict[str, str]


def train(
    files: Sequence[File], *, num_clips: int, repeats: int, gpus: int, clips_per_gpu: int, step_s: float, cores: int
) -> Iterator[str]:
    """The section, part by part.

    Raises:
        ValueError: one of our decoders fails, or shows other frames than another one.
    """
    yield EXPLANATION
    seconds = dict[str, float]()
    for file in files:
        yield f"### {title(file)}\n"
        if file.num_frames < LENGTH * STRIDE:
            yield f"n/a: shorter than the {LENGTH * STRIDE} frames of a clip, which the peers do not repeat.\n"
            continue
        clips = spread(file, num_clips=num_clips)
        control = one_frame_off(clips[0])
        yield (
            f"{num_clips} clips, from the frames {', '.join(str(clip.first) for clip in clips)} on; "
            f"a clip one frame later would differ by {control:.2f}.\n"
        )
        prepared = prepare(clips, max_difference=min(MAX_DIFFERENCE, control / 2))
        turns = {name: Turn(steps[-1], steps) for name, steps in prepared.steps.items()}
        costs = interleaved(turns, repeats=repeats)
        seconds[file.name] = costs["ours, pyav"].cpu_s
        head = ["way", "clips a CPU second", "CPU ms", "wall ms", "ours, pyav is faster by", "difference"]
        yield table(head, [_row(name, costs, prepared) for name in (*OURS, *PEERS)]) + "\n"
        yield _verdict(file, costs)
    yield _workers(seconds, gpus=gpus, clips_per_gpu=clips_per_gpu, step_s=step_s, cores=cores)


def prepare(clips: Sequence[Clip], *, max_difference: float) -> Prepared:
    """Runs each way once on each clip, and keeps those that show what ours shows.

    Raises:
        ValueError: one of our decoders fails, or shows other frames than another one.
    """
    references = [OURS["ours, pyav"](clip)() for clip in clips]
    prepared = Prepared({}, {}, {})
    for name, way in {**OURS, **PEERS}.items():
        reason = why_absent(name, clips[0].file)
        if reason is None:
            try:
                steps = [way(clip) for clip in clips]
                far = max(difference(first, step()) for first, step in zip(references, steps, strict=True))
            except PEER_ERRORS as error:
                if name in OURS:
                    raise
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:100]
            else:
                prepared.differences[name] = far
                reason = f"shows other pictures, by {far:.2f}" if far > max_difference else None
        if reason is None:
            prepared.steps[name] = steps
        elif reason.startswith("shows") and name in OURS:
            raise ValueError(f"{clips[0].file.path}: {name} {reason}")
        else:
            prepared.reasons[name] = reason
    return prepared


def _row(name: str, costs: Mapping[str, Cost], prepared: Prepared) -> list[str]:
    if name not in costs:
        return [name, f"n/a: {prepared.reasons[name]}", "", "", "", ""]
    cost, own = costs[name], costs["ours, pyav"]
    numbers = f"{1 / cost.cpu_s:.1f}", f"{1000 * cost.cpu_s:.1f}", f"{1000 * cost.wall_s:.1f}"
    return [name, *numbers, f"{cost.cpu_s / own.cpu_s:.2f}", f"{prepared.differences[name]:.2f}"]


def _verdict(file: File, costs: Mapping[str, Cost]) -> str:
    ratios = {name: cost.cpu_s / costs["ours, pyav"].cpu_s for name, cost in costs.items() if name in PEERS}
    if not ratios:
        return "Beside the fastest peer: n/a, none could be measured.\n"
    fastest = min(ratios, key=ratios.__getitem__)
    target = against(TARGETS.get(file.name), ratios[fastest], at_least=True)
    return f"**Ours, pyav, is {ratios[fastest]:.2f} times as fast as the fastest peer, {fastest}** ({target}).\n"


def _workers(seconds: Mapping[str, float], *, gpus: int, clips_per_gpu: int, step_s: float, cores: int) -> str:
    rows = []
    for name, clip_s in seconds.items():
        workers = ceil(clips_per_gpu / step_s * clip_s)
        needed = gpus * (workers + 1)
        has_them = "yes" if needed <= cores else "no"
        rows.append([name, f"{1000 * clip_s:.1f}", str(workers), str(needed), f"{has_them}, it has {cores}"])
    head = ["videos", "CPU ms a clip", "workers for each GPU", "cores in all", "on this machine"]
    return (
        f"### Workers\n\nFor {gpus} GPUs that train {clips_per_gpu} clips each in {step_s:g} s: workers = "
        f"ceil({clips_per_gpu} / {step_s:g} s x CPU s a clip) for each GPU (`runtime.workers`), and a core for the "
        f"GPU's own process.\n\n" + table(head, rows) + "\n"
    )
