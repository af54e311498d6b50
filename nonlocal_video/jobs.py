"""What the tools for training and testing do, once the settings are known: look for the videos, start the processes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nonlocal_video import build, testing, training
from nonlocal_video.config import check_run, evaluation_config
from nonlocal_video.engine.checkpoint import list_checkpoints
from nonlocal_video.evaluation import find_weights
from nonlocal_video.launch import launch
from nonlocal_video.plain import read_json
from nonlocal_video.reports.predictions import REPORT
from nonlocal_video.reports.unfinished import FAILED, write_failure
from nonlocal_video.settings import TestConfig, TrainConfig
from nonlocal_video.tables import composed


def train(config: TrainConfig) -> None:
    """Trains a run, or what is left of it.

    Raises:
        ValueError: what a user can mend; the run's folder keeps it.
    """
    with _failure_kept(config):
        _train(config)


def _train(config: TrainConfig) -> None:
    runtime = config.runtime
    check_start(config)
    launch(training.run, find_videos(config), processes=runtime.devices, timeout_s=runtime.timeout_s)


def check_start(config: TrainConfig) -> None:
    """Makes sure that a run has what it begins with: the file of weights, unless it has a checkpoint.

    Raises:
        ValueError: as `build.check_start`.
    """
    if not list_checkpoints(run_folder(config) / "checkpoints"):
        build.check_start(config.init)


def find_videos(config: TrainConfig) -> training.Job:
    """Looks for the videos of a run: those to train on, to validate with, and to test on as soon as it is trained.

    Raises:
        ValueError: as `build.find_videos`.
    """
    found = build.find_videos(config.data, "train")
    if config.runtime.validate_every:
        return training.Job(config, found, build.find_videos(config.data, "val"))
    if config.test is not None:  # A list that is not there is told now, and not when all is trained.
        build.find_videos(config.data, "val", labelled=False)
    return training.Job(config, found, None)


def test(config: TestConfig, settings: TrainConfig) -> None:
    """Tests the run of these settings.

    Raises:
        ValueError: what a user can mend.
    """
    weights = find_weights(Path(str(config.run)), config.weights, steps=settings.optim.steps)
    found = build.find_videos(settings.data, "val", labelled=False)
    job = testing.Job(config, settings, weights, found)
    launch(testing.run, job, processes=config.runtime.devices, timeout_s=config.runtime.timeout_s)


def train_and_test(config: TrainConfig, overrides: list[str]) -> None:
    """Trains a run and tests it by its protocol; what is done already is not done again.

    Args:
        overrides: the command line; what it says of the runtime holds for the test, too.

    Raises:
        ValueError: what a user can mend; the run's folder keeps it.
    """
    with _failure_kept(config):
        if not is_trained(config):
            _train(config)
        if not is_tested(config):
            runtime = [one for one in overrides if one.startswith(("runtime=", "runtime."))]
            cfg, hydra = composed("test", [f"run={run_folder(config)}", f"protocol={config.test}", *runtime])
            cfg.model.pairwise = config.model.get("pairwise")  # The user's word, if it is one.
            test(*evaluation_config(cfg, hydra))


@contextmanager
def _failure_kept(config: TrainConfig) -> Iterator[None]:
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


def run_folder(config: TrainConfig) -> Path:
    """Where a run is."""
    return Path(config.runtime.runs) / str(config.name)


def is_trained(config: TrainConfig) -> bool:
    """Whether a run has made all its steps.

    Raises:
        ValueError: the folder holds a run with other settings.
    """
    folder = run_folder(config)
    check_run(config, folder)
    last = folder / "checkpoints" / f"step_{config.optim.steps:08d}.pt"
    return last.is_file() and (folder / "model.safetensors").is_file()


def is_tested(config: TrainConfig) -> bool:
    """Whether there is a report of the protocol that the run is to be tested with, after all its steps."""
    path = run_folder(config) / "test" / str(config.test) / REPORT
    return path.is_file() and read_json(path).get("step") == config.optim.steps
