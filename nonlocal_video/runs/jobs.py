"""What the tools for training and testing do, once the settings are known: look for the videos, start the processes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nonlocal_video.engine.checkpoint import list_checkpoints
from nonlocal_video.reports.tables.unfinished import FAILED, write_failure
from nonlocal_video.runs import test as testing
from nonlocal_video.runs import train as training
from nonlocal_video.runs import videos
from nonlocal_video.runs.clips import find_job
from nonlocal_video.runs.folder import check_run, run_folder
from nonlocal_video.runs.tested import TestJob
from nonlocal_video.runs.weights import find_weights
from nonlocal_video.settings import TestConfig, TrainConfig
from nonlocal_video.system.launch import launch


def train(config: TrainConfig) -> None:
    """Trains a run, or what is left of it.

    Raises:
        ValueError: what a user can mend; the run's folder keeps it.
    """
    with failure_kept(config):
        train_steps(config)


def train_steps(config: TrainConfig) -> None:
    """The same; the caller keeps why it failed."""
    runtime = config.runtime
    check_start(config)
    launch(training.run, find_job(config), processes=runtime.devices, timeout_s=runtime.timeout_s)


def check_start(config: TrainConfig) -> None:
    """Makes sure that a run has what it begins with: the file of weights, unless it has a checkpoint.

    Raises:
        ValueError: as `videos.check_start`.
    """
    if not list_checkpoints(run_folder(config) / "checkpoints"):
        videos.check_start(config.init)


def test(config: TestConfig, settings: TrainConfig) -> None:
    """Tests the run of these settings.

    Raises:
        ValueError: what a user can mend.
    """
    weights = find_weights(Path(str(config.run)), config.weights, steps=settings.optim.steps)
    found = videos.find_videos(settings.data, "val", labelled=False)
    job = TestJob(config, settings, weights, found)
    launch(testing.run, job, processes=config.runtime.devices, timeout_s=config.runtime.timeout_s)


@contextmanager
def failure_kept(config: TrainConfig) -> Iterator[None]:
    """Keeps why a run failed in its folder, so that a report over many runs can say so; not in another run's."""
    folder = run_folder(config)
    try:
        yield
    except Exception as error:  # Of whatever kind; it goes on.
        with suppress(ValueError):
            check_run(config, folder)
            write_failure(folder, error)
        raise
    (folder / FAILED).unlink(missing_ok=True)
