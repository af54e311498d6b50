"""A dry run: all that a start does before its first step, and then steps on noise, which tell what a run would cost."""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import torch

from nonlocal_video.engine.step import TrainState, train_step
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.runs.clips import ClipJob, ClipRun, find_job
from nonlocal_video.runs.folder import check_run, run_folder
from nonlocal_video.runs.recipe import Recipe, make_recipe
from nonlocal_video.runs.start import begin, begin_anew, check_start, facts_of, fresh_state
from nonlocal_video.settings import NOT_GIVEN, DetectionConfig, RunConfig, TrainConfig
from nonlocal_video.system.distributed import local_device, set_threads
from nonlocal_video.system.launch import count_processes
from nonlocal_video.tasks.single_label import single_label
from nonlocal_video.types import ClipBatch

if TYPE_CHECKING:
    from nonlocal_video.runs.images import ImageJob

LIMIT_S = 30.0
MEASURED_STEPS = 20
WARMING_STEPS = 2
"""Steps before the measured ones: these choose kernels and fill caches."""

_say = partial(print, flush=True)


def rehearse(config: RunConfig, *, awaited: str | None = None) -> None:
    """Checks what a start checks, tells what it tells, for the devices asked for, and times steps for half a minute.

    Steps of detectors are not timed. Nothing is written. Videos, images and weights that nobody named are not looked
    for, and that is said.

    Args:
        awaited: the run that is to leave the weights which this one begins with, if it is not trained yet.

    Raises:
        ValueError: what the start would refuse.
    """
    check_run(config, run_folder(config))
    lacking = None
    if config.init.weights == NOT_GIVEN:
        lacking = "note: init.weights is not given: the weights to start from were not looked at"
    elif awaited is not None:
        lacking = f"starts from what {awaited} leaves, which is not trained yet: {config.init.weights}"
    else:
        check_start(config)
    job = _job(config)
    set_threads(config.runtime.threads)
    torch.manual_seed(config.seed)
    run, recipe = job.subject(), make_recipe(config, processes=count_processes(config.runtime.devices))
    source = run.task.source
    notes = [f"note: data.root is not given: no list of {source} was looked at"] if job.train is None else []
    if lacking is None and job.train is not None:
        facts = facts_of(config, recipe, run.facts())
        state = begin(config, run.network, recipe, facts=facts, task=run.task, start=run.start, say=notes.append)
    else:
        notes += begin_anew(config, run.start) if lacking is None else [lacking]
        state = fresh_state(config, run.network, recipe)
    for line in (run.describe(recipe), *notes):
        _say(line)
    if isinstance(run, ClipRun):
        _say(_cost(run.config, recipe, state, run.network))


def _job(config: RunConfig) -> "ClipJob | ImageJob":
    """The job, with its videos or images, if anybody said where they are."""
    there = config.data.root != NOT_GIVEN
    if isinstance(config, DetectionConfig):
        from nonlocal_video.runs.images import ImageJob, find_image_job  # noqa: PLC0415  # torchvision takes seconds to import.

        return find_image_job(config) if there else ImageJob(config, None, None)
    assert isinstance(config, TrainConfig)
    return find_job(config) if there else ClipJob(config, None, None)


def _cost(config: TrainConfig, recipe: Recipe, state: TrainState, model: Classifier) -> str:
    """The cost of all steps, from some; data and communication are not in it."""
    clips, side, device = recipe.clips_per_rank, config.clip.crop, local_device().type
    devices, steps, smallest = recipe.processes, config.optim.steps, model.smallest_side()
    smaller = [(1, side // 4), (1, side // 2), *([(1, side)] if clips > 1 else [])]
    sizes = [*(size for size in smaller if size[1] >= smallest), (clips, side)]
    timed = time_steps(lambda clips, side: _step_seconds(config, state, clips=clips, side=side), sizes)
    seconds = timed.seconds * timed.work_of(clips, side)
    whole = (timed.clips, timed.side) == (clips, side)
    about, of_what = ("", "") if whole else ("about ", f", from {_clips(timed.clips, timed.side)}")
    how = f"median of {timed.steps} on noise{of_what}, without loading and communication"
    told = f"cost: {about}{_number(seconds)} s a step ({how}) x {steps} steps"
    hours = seconds * steps / 3600
    if device == "cuda":
        return f"{told} = {_number(hours)} h on {devices} x {device} = {_number(hours * devices)} GPU hours"
    told += f" x {devices} processes" if devices > 1 else ""
    return f"{told} = {_number(hours * devices)} hours of this CPU, no GPU is here"


def _number(value: float) -> str:
    """0.692, 6.73, 67,300."""
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):,.0f}"


class StepTimes(NamedTuple):
    """A step that was timed."""

    clips: int
    side: int
    """The side of the clips in pixels."""
    seconds: float
    """The median of `steps`."""
    steps: int

    def work_of(self, clips: int, side: int) -> float:
        """How many times the pixels of this step another one has."""
        return clips * side**2 / (self.clips * self.side**2)


def time_steps(
    take: Callable[[int, int], float], sizes: Sequence[tuple[int, int]], *, limit_s: float = LIMIT_S
) -> StepTimes:
    """Times steps of growing size while they fit into the time, and the last size as often as it does.

    Args:
        take: takes a step of so many clips of such a side; its seconds.
        sizes: clips and sides of steps that grow up to the one that training takes.

    Returns:
        The largest step that fitted.
    """
    spent, timed = 0.0, None
    for number, (clips, side) in enumerate(sizes):
        expected = 0.0 if timed is None else timed.seconds * timed.work_of(clips, side)
        if spent + expected > limit_s:
            break
        _say(f"timing a step of {_clips(clips, side)}" + (f", about {expected:.1f} s each" if expected > 0.1 else ""))
        times = list[float]()
        wanted = WARMING_STEPS + MEASURED_STEPS if number == len(sizes) - 1 else WARMING_STEPS
        while len(times) < wanted and (not times or spent + times[-1] <= limit_s):
            times.append(take(clips, side))
            spent += times[-1]
        measured = times[min(WARMING_STEPS, len(times) - 1) :]
        timed = StepTimes(clips, side, median(measured), len(measured))
    assert timed is not None, "the first size is always tried"
    return timed


def _clips(clips: int, side: int) -> str:
    return f"{clips} {'clip' if clips == 1 else 'clips'} of {side}x{side}"


def _step_seconds(config: TrainConfig, state: TrainState, *, clips: int, side: int) -> float:
    """Takes a step on noise; of one class a clip, since its loss takes no time."""
    noise = torch.randint(0, 256, (clips, 3, config.clip.length, side, side), dtype=torch.uint8)
    batch, task = ClipBatch(noise, torch.zeros(clips, dtype=torch.int64)), single_label(state.model.options.num_classes)
    model, seed, optim, runtime = state.model, config.seed, config.optim, config.runtime
    model.train()
    began = perf_counter()
    sums = train_step(state, model, batch, task=task, call=model, lr=0.0, seed=seed, optim=optim, runtime=runtime)
    sums.tolist()  # Waits for the device.
    return perf_counter() - began
