"""What the tools for training and testing do, once the settings are known: look for the videos, start the processes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nonlocal_video.reports.tables.unfinished import FAILED, write_failure
from nonlocal_video.runs import test as testing
from nonlocal_video.runs import train as training
from nonlocal_video.runs.clips import find_job
from nonlocal_video.runs.folder import check_run, run_folder
from nonlocal_video.runs.start import check_start
from nonlocal_video.runs.tested import TestJob
from nonlocal_video.runs.videos import look_for_videos
from nonlocal_video.runs.weights import find_weights
from nonlocal_video.settings import TestConfig, TrainConfig
from nonlocal_video.system.launch import launch


def train(config: TrainConfig) -> None:
    """Trains a run, or what is left of it.

    Raises:
        ValueError: what a user can mend.
    """
    check_start(config)
    runtime = config.runtime
    launch(training.run, find_job(config), processes=runtime.devices, timeout_s=runtime.timeout_s)


def test(config: TestConfig, settings: TrainConfig) -> None:
    """Tests the run of these settings.

    Raises:
        ValueError: what a user can mend.
    """
    weights, notes = find_weights(Path(str(config.run)), config.weights, steps=settings.optim.steps)
    job = TestJob(config, settings, weights, notes, look_for_videos(settings.data, "val", labelled=False))
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
