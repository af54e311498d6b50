"""One training run, in one process: from its subject to the files of the run folder."""

import json
import shlex
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from nonlocal_video.engine.checkpoint import save_checkpoint
from nonlocal_video.engine.log import RunLog
from nonlocal_video.engine.precise_bn import precise_statistics, with_statistics
from nonlocal_video.engine.progress import Progress
from nonlocal_video.engine.task import Task
from nonlocal_video.engine.train import Callbacks, train
from nonlocal_video.engine.validate import contributions, validate
from nonlocal_video.reports.tables.unfinished import FAILED, SETTINGS
from nonlocal_video.runs.folder import check_run, run_folder, write_run
from nonlocal_video.runs.network import as_setting, is_foreign
from nonlocal_video.runs.recipe import Recipe, make_recipe
from nonlocal_video.runs.start import begin, facts_of
from nonlocal_video.settings import RunConfig
from nonlocal_video.system.distributed import check_same, is_main, set_threads, world_size
from nonlocal_video.system.files import whole_file
from nonlocal_video.system.launch import only_job
from nonlocal_video.system.signals import Stopped, StopRequest, listening
from nonlocal_video.types import Failure


class Subject(Protocol):
    """All in a run that differs from task to task."""

    @property
    def task(self) -> Task: ...
    @property
    def network(self) -> Any: ...
    def describe(self, recipe: Recipe) -> str: ...
    def facts(self) -> dict[str, Any]: ...
    def start(self, weights: str, part: str | None) -> list[str]: ...
    def note_missing(self, folder: Path) -> None: ...
    def batches(self, first_step: int, recipe: Recipe) -> Iterable[Any]: ...
    def statistics_batches(self) -> Iterable[Any]: ...
    def validation_batches(self) -> Iterable[Any] | None: ...
    def validated(self, numbers: dict[str, float], step: int) -> str: ...
    def best(self, numbers: dict[str, float]) -> str: ...
    def export(self, path: Path, network: Any, *, steps: int) -> None: ...


class TrainingJob(Protocol):
    """A training job as every process gets it."""

    @property
    def config(self) -> RunConfig: ...
    def subject(self) -> Subject: ...


def run(job: TrainingJob) -> None:
    """Trains in this process, from the newest checkpoint if there is one.

    Raises:
        ValueError: what a user can mend.
        Stopped: a signal came; all is saved.
    """
    folder, stop = run_folder(job.config), StopRequest()
    with listening(stop), only_job(folder):
        training = _Training(job, folder, stop)
        try:
            training.train()
            training.finish()
        except Stopped as stopped:
            name = signal.Signals(stopped.signum).name
            training.say(f"stopped by {name} after step {training.state.step}, all saved; the same command resumes")
            raise
        finally:
            training.close()


class _Training:
    """The loop's callbacks: the log, evaluations and checkpoints of one run."""

    def __init__(self, job: TrainingJob, folder: Path, stop: StopRequest) -> None:
        self.config, self.folder, self.stop = job.config, folder, stop
        set_threads(self.config.runtime.threads)
        torch.manual_seed(self.config.seed)
        self.subject = job.subject()
        self.task, self.model = self.subject.task, self.subject.network
        self.recipe = make_recipe(self.config, processes=world_size())
        self.log: RunLog | None = None
        self.progress: Progress | None = None  # Both on the main process only.
        check_run(self.config, folder)
        self.say(self.subject.describe(self.recipe))
        self.facts = facts_of(self.config, self.recipe, self.subject.facts())
        start, say = self.subject.start, self.say
        self.state = begin(self.config, self.model, self.recipe, facts=self.facts, task=self.task, start=start, say=say)
        check_same("data or checkpoint", (self.subject.facts(), self.state.step))
        if is_main():
            self._open()

    def _open(self) -> None:
        """Makes the run folder this run's."""
        write_run(self.config, self.folder)
        (self.folder / FAILED).unlink(missing_ok=True)  # Of an earlier job.
        self.subject.note_missing(self.folder)
        for path in (self.folder / "checkpoints").glob("*.tmp"):  # Of a process that was killed while it saved.
            path.unlink()
        self.log = RunLog(self.folder, source=self.task.source, step=self.state.step)
        self.progress = Progress(self.state.step, self.config.optim.steps, task=self.task, keep=self.log.line)
        if self.state.step == 0:
            self.log.line((self.folder / SETTINGS).read_text())

    def train(self) -> None:
        """The loop, from the state's step to the last."""
        config, recipe = self.config, self.recipe
        train(
            self.state,
            self.subject.batches(self.state.step, recipe),
            task=self.task,
            schedule=recipe.schedule,
            seed=config.seed,
            optim=config.optim,
            runtime=config.runtime,
            max_failed=config.data.max_failed,
            callbacks=Callbacks(self.advance, self.write, self.evaluate, self.save, self.keep_nonfinite, self.stop),
        )

    def advance(self, batch: Any) -> None:
        """Shows that a step is done, and the first batch."""
        if self.log and self.progress:
            if self.state.step == 1:
                self.log.introduce((self.folder / SETTINGS).read_text(), self.task.pictures(batch))
            self.progress.advance()

    def write(self, record: dict[str, float], failures: list[Failure], batch: Any) -> None:
        """Writes a record of the loop, with what each non-local block adds to the first of the batch."""
        assert self.log is not None
        assert self.progress is not None
        first = self.task.split(batch, batch.size)[0]
        blocks = contributions(self.model, first, task=self.task, precision=self.config.runtime.precision)
        record = {**record, **{f"nonlocal/{name}": value for name, value in blocks.items()}}
        self.log.write(record, failures)
        self.progress.show(record, failures)

    def evaluate(self) -> bool:
        """Measures precise statistics, and validates if there is something to validate with; False if a signal came."""
        task, precision, statistics = self.task, self.config.runtime.precision, dict[str, Tensor]()
        if self.config.optim.precise_bn:
            batches = self.subject.statistics_batches()
            measured = precise_statistics(self.model, batches, task=task, precision=precision, stopped=self.stop)
            if measured is None:
                return False
            statistics = measured
        self.state.precise_bn = statistics or None
        validated = self.subject.validation_batches()
        if validated is None:
            return True
        model = with_statistics(self.model, statistics)
        numbers = validate(model, validated, task=task, precision=precision, stopped=self.stop, note=self.say)
        if numbers is None:
            return False
        key, sign = self.task.number, 1 if self.task.higher_is_better else -1
        if self.state.best is None or sign * numbers[key] > sign * self.state.best[key]:
            self.state.best = {"step": self.state.step, key: numbers[key]}
        if self.log and self.progress:
            self.log.write({"step": float(self.state.step), **numbers}, group="validation")
            self.progress.note(self.subject.validated(numbers, self.state.step))
        return True

    def save(self) -> None:
        """Writes a checkpoint. Raises ValueError: the disk is full, and nothing could be tried again later."""
        if not is_main():
            return
        facts = {**self.facts, "position": self.state.step * self.recipe.global_batch}
        keep = self.config.runtime.keep_checkpoints
        try:
            save_checkpoint(self.folder / "checkpoints", self.state, facts=facts, keep=keep)
        except OSError as error:
            text = f"step {self.state.step} cannot be saved: {error}; the checkpoints before are still there"
            if self.stop() or self.state.step == self.config.optim.steps:
                raise ValueError(text) from error
            self.say(f"warning: {text}; training goes on")

    def keep_nonfinite(self, facts: list[dict[str, Any]]) -> str:
        """Writes what is known about a loss that is not finite; returns where."""
        path = self.folder / "nonfinite.json"
        if is_main():
            with whole_file(path) as file:
                file.write((json.dumps(facts, indent=2) + "\n").encode())
        return str(path)

    def finish(self) -> None:
        """Writes the weights for use, and says what was written and what comes next."""
        if not is_main():
            return
        state, path = self.state, self.folder / "model.safetensors"
        self.subject.export(path, with_statistics(self.model, state.precise_bn or {}), steps=state.step)
        lost = f"{state.num_failures} {self.task.source} could not be decoded"
        lines = [f"trained {state.step} steps, {lost}: {path}"]
        if state.best:
            lines.append(f"best validation: {self.subject.best(state.best)} at step {state.best['step']:.0f}")
        word = self.config.model.pairwise  # Files do not name code, so a function of one's own is named again.
        named = f" {as_setting(word)}" if is_foreign(word) else ""
        lines += [
            f"files in {self.folder}: {', '.join(sorted(file.name for file in self.folder.iterdir()))}",
            f"next: python tools/test.py {shlex.quote(f'run={self.folder}')}{named}",
            f"      tensorboard --logdir {shlex.quote(self.config.runtime.runs)}",
        ]
        self.say("\n".join(lines))

    def say(self, text: str) -> None:
        """On the screen and, once there is one, in the log; by the main process."""
        if self.progress:
            self.progress.note(text)
        elif is_main():
            print(text, flush=True)

    def close(self) -> None:
        """Ends the log."""
        if self.log and self.progress:
            self.progress.close()
            self.log.close()
