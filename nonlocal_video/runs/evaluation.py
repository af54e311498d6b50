"""The parts that a test of videos and one of images share: the job, and the facts that stand beside its numbers."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from nonlocal_video.reports.versions import commit
from nonlocal_video.runs.weights import TrainedNetwork
from nonlocal_video.settings import RunConfig, TestConfig
from nonlocal_video.settings.identity import config_hash, recipe_hash
from nonlocal_video.system.distributed import is_main, world_size

Run = TypeVar("Run", bound=RunConfig)
Listed = TypeVar("Listed")


@dataclass(frozen=True)
class TestJob(Generic[Run, Listed]):
    """A testing job as every process gets it: the settings, the weights, and what is tested, looked for once."""

    config: TestConfig
    run: Run
    weights: Path
    notes: list[str]
    """Notes on the choice of the weights."""
    listed: Listed
    """The videos or images."""

    @property
    def folder(self) -> Path:
        """The folder of the report."""
        return Path(str(self.config.run)) / "test" / str(self.config.name)


def facts_of(job: TestJob[Any, Any], trained: TrainedNetwork) -> dict[str, Any]:
    """The origin of the numbers of a test, for its report."""
    run, step = job.run, trained.step
    return {
        "run": job.config.run,
        "network": run.choices["model"],
        "data": run.data.name,
        "seed": run.seed,
        "task": run.task,
        "weights": str(job.weights),
        "weights_hash": trained.weights_hash,
        "step": step,
        "steps": run.optim.steps if step is not None else None,
        "protocol": asdict(job.config.protocol),
        "train_census": trained.census,
        "commit": {"training": trained.commit, "testing": commit()},
        "precision": job.config.runtime.precision,
        "processes": world_size(),
        "config_hash": config_hash(run),
        "recipe_hash": recipe_hash(run),
    }


def say(text: str) -> None:
    """Prints, on the main process."""
    if is_main():
        print(text, flush=True)
