"""The jobs of the command line: which run a job of Hydra is, and how it fails."""

import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from nonlocal_video.cli.compose import composed, evaluation_config, train_config
from nonlocal_video.cli.tables import row_config, table_of
from nonlocal_video.reports.tables.unfinished import FAILED, SETTINGS, write_failure
from nonlocal_video.runs import test as testing
from nonlocal_video.runs import train as training
from nonlocal_video.runs.clips import find_job
from nonlocal_video.runs.evaluation import TestJob
from nonlocal_video.runs.folder import check_run, is_tested, is_trained, read_run, run_folder
from nonlocal_video.runs.pictures import look_for_images
from nonlocal_video.runs.start import check_start, keep_batch
from nonlocal_video.runs.train import TrainingJob
from nonlocal_video.runs.videos import look_for_videos
from nonlocal_video.runs.weights import find_weights
from nonlocal_video.settings import DetectionConfig, RunConfig, TableConfig, TestConfig, TrainConfig
from nonlocal_video.settings.identity import key_of
from nonlocal_video.system.launch import launch, started_by_srun, started_by_torchrun

FITTING = {"model": "nl_i3d_r50", "clip": "32x2", "optim": "kinetics_400k"}
"""The paper's network, clips and schedule, by their groups of configs/; configs/train.yaml is for the miniature."""
FITTING_IMAGES = {"model": "mask_rcnn_r50_nl", "clip": "coco", "optim": "detectron_1x"}
"""The choices that are filled in for images with objects, where nobody made any."""


@contextmanager
def one_job(*, listed_later: bool = False) -> Iterator[None]:
    """Names a sweep's job when it fails; Hydra itself tells of the first failure only, and at the end.

    Args:
        listed_later: the sweep lists at its end what is not done; no failure keeps it from its other jobs.
    """
    hydra = HydraConfig.get()
    try:
        if hydra.mode == RunMode.MULTIRUN and (started_by_torchrun() or started_by_srun()):
            raise ValueError("a sweep (-m) cannot run under torchrun or srun; set runtime.devices instead")
        yield
    except Exception as error:  # Of whatever kind: it must not keep a sweep from its other jobs.
        if hydra.mode != RunMode.MULTIRUN:
            raise
        print(f"failed: {' '.join(hydra.overrides.task)}\n  {error}", file=sys.stderr, flush=True)
        if not listed_later:
            raise
        if not isinstance(error, ValueError):
            traceback.print_exc()


def job_config(cfg: DictConfig) -> RunConfig:
    """The settings of this job of Hydra, or of its row of a table. Raises ValueError: the row's parent is untrained."""
    hydra = HydraConfig.get()
    if cfg.table is None:
        return train_config(*with_fitting(cfg, hydra))
    table, overrides = table_of(hydra.runtime.choices["experiment"], cfg.table), list(hydra.overrides.task)
    config = row_job(cfg, table, overrides)
    start = table.job(cfg.row).start
    if start is not None and not config.dry_run and not is_trained(config):
        parent = row_config(table, table.job(start), overrides)
        if not is_trained(parent):
            raise ValueError(f"begins with the weights of {start}, which is not trained: {run_folder(parent)}")
    return config


def with_fitting(cfg: DictConfig, hydra: HydraConf) -> tuple[DictConfig, HydraConf]:
    """A composed config with the paper's network, clips and schedule where nobody chose any for data of one's own.

    An experiment has chosen them, and the miniature keeps its own. `by_default` names the groups that were filled in;
    the command line stays as it was given.
    """
    choices, given = hydra.runtime.choices, list(hydra.overrides.task)
    named = set(map(key_of, given))
    own_list = "data.train" in named and "data" not in named  # The miniature is what a command line has without data=.
    if choices["experiment"] is not None or (choices["data"].startswith("miniature") and not own_list):
        return cfg, hydra
    fitting = FITTING_IMAGES if OmegaConf.to_container(cfg.data)["train_images"] else FITTING  # type: ignore[call-overload,index]
    added = {group: name for group, name in fitting.items() if group not in named}
    fitted, settings = composed("train", [*given, *(f"{group}={name}" for group, name in added.items())])
    fitted.by_default = list(added)
    with read_write(settings), open_dict(settings):  # type: ignore[arg-type]
        settings.overrides.task = given
    return fitted, settings


def test_job_config(cfg: DictConfig) -> tuple[TestConfig, RunConfig]:
    """The settings of this testing job of Hydra; without protocol=, its run's own protocol (`test`) if it has one."""
    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    own = None if "protocol" in map(key_of, overrides) or cfg.run is None else read_run(Path(str(cfg.run))).test
    if own is None:
        return evaluation_config(cfg, hydra)
    if not re.fullmatch(r"[\w-]+", own):  # No path out of configs/protocol, no words of Hydra.
        raise ValueError(f"{cfg.run}/{SETTINGS}: test: got {own!r}, expected the name of a protocol, such as full_10")
    return evaluation_config(*composed("test", [*overrides, f"protocol={own}"]))


def row_job(cfg: DictConfig, table: TableConfig, overrides: list[str]) -> RunConfig:
    """The settings of the row that a command line names; where it has no test of its own, the sweep's is taken."""
    names = [word.removeprefix("row=") for word in overrides if word.startswith("row=")]
    if not names:
        raise ValueError(f"{table.name} is a table: it runs as a sweep over its rows, or with row=NAME")
    config = row_config(table, table.job(names[-1]), overrides)
    config.test = config.test or cfg.test
    return config


def train_and_test(config: RunConfig) -> None:
    """Trains a run and tests it by its protocol, if it has one; what is done already is not done again.

    What the command line says of the runtime holds for the test, too. The run's folder keeps why it failed, so that a
    report over many runs can say so; the folder of another run does not.

    Raises:
        ValueError: what a user can mend.
    """
    folder, runtime = run_folder(config), config.runtime
    try:
        if config.test is None or not is_trained(config):
            check_start(config)
            job = _job_of(keep_batch(config))
            launch(training.run, job, devices=runtime.devices, timeout_s=runtime.timeout_s)
        if config.test is not None and not is_tested(config):
            words = [word for word in HydraConfig.get().overrides.task if word.startswith(("runtime=", "runtime."))]
            cfg, hydra = composed("test", [f"run={folder}", f"protocol={config.test}", *words])
            cfg.model.pairwise = config.model.pairwise  # The user's word, if it is one.
            test(*evaluation_config(cfg, hydra))
    except Exception as error:  # Of whatever kind; it goes on.
        with suppress(ValueError):
            check_run(config, folder)
            write_failure(folder, error)
        raise
    (folder / FAILED).unlink(missing_ok=True)


def _job_of(config: RunConfig) -> TrainingJob:
    """The training job of settings, with its videos or images, which are looked for."""
    if isinstance(config, DetectionConfig):
        from nonlocal_video.runs.images import find_image_job  # noqa: PLC0415  # torchvision takes seconds to import.

        return find_image_job(config)
    assert isinstance(config, TrainConfig)
    return find_job(config)


def test_job(cfg: DictConfig) -> None:
    """One testing job of Hydra: a run, a file of weights, or somebody's results. Raises ValueError: as these do."""
    if cfg.detections is None:
        test(*test_job_config(cfg))
    else:
        from nonlocal_video.runs import detect  # noqa: PLC0415  # torchvision takes seconds to import.

        words = {"images": cfg.data.val_images, "runs": str(cfg.runtime.runs)}
        detect.evaluate_file(str(cfg.detections), str(cfg.data.val), **words)


def test(config: TestConfig, settings: RunConfig) -> None:
    """Tests the run of these settings; raises ValueError: what a user can mend."""
    weights, notes = find_weights(Path(str(config.run)), config.weights, steps=settings.optim.steps)
    run: Callable[[Any], None] = testing.run
    listed: Any
    if isinstance(settings, DetectionConfig):
        from nonlocal_video.runs import detect  # noqa: PLC0415  # torchvision takes seconds to import.

        run, listed = detect.run, look_for_images(settings.data, "val", kind=settings.task)
    else:
        listed = look_for_videos(settings.data, "val", labelled=False)
    job = TestJob(config, settings, weights, notes, listed)
    launch(run, job, devices=config.runtime.devices, timeout_s=config.runtime.timeout_s)
