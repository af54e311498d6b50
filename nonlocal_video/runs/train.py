"""One training run, in one process: from settings and videos to the files of the run folder."""

import json
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from nonlocal_video.data.dataset import PRECISE_BN
from nonlocal_video.data.loader import step_plan, training_loader, validation_loader
from nonlocal_video.engine.checkpoint import save_checkpoint
from nonlocal_video.engine.contributions import contributions
from nonlocal_video.engine.log import RunLog
from nonlocal_video.engine.precise_bn import precise_statistics, with_statistics
from nonlocal_video.engine.progress import Progress
from nonlocal_video.engine.random_state import random_state
from nonlocal_video.engine.step import StepOptions
from nonlocal_video.engine.train import Hooks, LoopOptions, train
from nonlocal_video.engine.validate import validate
from nonlocal_video.models.weights.file import save_model
from nonlocal_video.reports.tables.unfinished import FAILED
from nonlocal_video.runs.folder import check_run, write_run
from nonlocal_video.runs.network import as_setting, composed_network, is_foreign
from nonlocal_video.runs.recipe import describe, make_recipe
from nonlocal_video.runs.start import begin, facts_of
from nonlocal_video.runs.videos import Found, build_training_videos, build_validation_videos, class_names
from nonlocal_video.settings import TrainConfig
from nonlocal_video.system.distributed import check_same, gather, is_main, local_device, rank, set_threads, world_size
from nonlocal_video.system.files import whole_file
from nonlocal_video.system.launch import only_job
from nonlocal_video.system.signals import Stopped, StopRequest, listening
from nonlocal_video.types import Batch, Failure


class Job(NamedTuple):
    """What every process gets: the settings, and the videos, which were looked for once."""

    config: TrainConfig
    train: Found
    val: Found | None
    """For validation while training, if there is any."""


def run(job: Job) -> None:
    """Trains in this process, from the newest checkpoint if there is one.

    Raises:
        ValueError: what a user can mend.
        Stopped: a signal came; all is saved.
    """
    folder, stop = Path(job.config.runtime.runs) / str(job.config.name), StopRequest()
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
    """What the loop has done: the log, evaluations and checkpoints of one run."""

    def __init__(self, job: Job, folder: Path, stop: StopRequest) -> None:
        self.job, self.config, self.folder, self.stop = job, job.config, folder, stop
        runtime = self.config.runtime
        set_threads(runtime.threads)
        torch.manual_seed(self.config.seed)
        self.model = composed_network(self.config.model)
        self.model.lay_out(channels_last=runtime.channels_last)
        self.model.backbone.recompute = runtime.recompute
        self.recipe = make_recipe(self.config, processes=world_size())
        self.log: RunLog | None = None
        self.progress: Progress | None = None  # Both on the main process only.
        check_run(self.config, folder)
        census = job.train.census._asdict()
        if is_main():
            print(describe(self.config, self.model, self.recipe, census=census, device=local_device().type), flush=True)
        self.facts = facts_of(self.config, self.model, job.train, self.recipe)
        checkpoints = folder / "checkpoints"
        self.state = begin(self.config, self.model, self.recipe, folder=checkpoints, facts=self.facts, say=self.say)
        check_same("videos or checkpoint", (self.facts["census"], self.facts["present_videos"], self.state.step))
        if is_main():
            self._open()

    def _open(self) -> None:
        """Makes the run folder this run's."""
        write_run(self.config, self.folder)
        (self.folder / FAILED).unlink(missing_ok=True)  # Of an earlier job.
        (self.folder / "missing_videos.txt").write_text("".join(f"{e.video}\n" for e in self.job.train.missing))
        for path in (self.folder / "checkpoints").glob("*.tmp"):  # Of a process that was killed while it saved.
            path.unlink()
        self.log = RunLog(self.folder, step=self.state.step)
        right = "top-1" if self.config.data.labels == "one" else "hit@1"
        self.progress = Progress(self.state.step, self.config.optim.steps, right=right, keep=self.log.line)
        if self.state.step == 0:
            self.log.line((self.folder / "config.yaml").read_text())

    def train(self) -> None:
        """The loop, from the state's step to the last."""
        config, optim, runtime = self.config, self.config.optim, self.config.runtime
        plan = step_plan(
            first_step=self.state.step,
            last_step=optim.steps,
            clips_per_rank=self.recipe.clips_per_rank,
            rank=rank(),
            world_size=world_size(),
        )
        videos = build_training_videos(config, self.job.train.entries)
        train(
            self.state,
            training_loader(videos, plan, workers=runtime.workers, limit_s=config.data.decode_limit_s),
            schedule=self.recipe.schedule,
            step_options=StepOptions(
                seed=config.seed,
                precision=runtime.precision,
                accumulate=runtime.accumulate,
                clip_norm=optim.clip_norm,
                skip_nonfinite=optim.nonfinite == "skip",
            ),
            options=LoopOptions(
                last_step=optim.steps,
                log_every=runtime.log_every,
                checkpoint_every=runtime.checkpoint_every,
                validate_every=runtime.validate_every,
                max_failed=config.data.max_failed,
                sync_bn=optim.sync_bn,
                compile=runtime.compile,
            ),
            hooks=Hooks(self.advance, self.write, self.evaluate, self.save, self.keep_nonfinite, self.stop),
        )

    def advance(self, batch: Batch) -> None:
        """After each step."""
        if self.log and self.progress:
            if self.state.step == 1:
                self.log.introduce((self.folder / "config.yaml").read_text(), batch.clips)
            self.progress.advance()

    def write(self, record: dict[str, float], failures: list[Failure], batch: Batch) -> None:
        """A record of the loop, with what each non-local block adds to the first clip of the batch."""
        assert self.log is not None
        assert self.progress is not None
        blocks = contributions(self.model, batch.clips[:1], precision=self.config.runtime.precision)
        record = {**record, **{f"nonlocal/{name}": value for name, value in blocks.items()}}
        self.log.write(record, failures)
        self.progress.show(record, failures)

    def evaluate(self) -> bool:
        """Precise statistics, and a validation by single clips if there is one; False if a signal came."""
        config, runtime = self.config, self.config.runtime
        statistics: dict[str, torch.Tensor] = {}
        if config.optim.precise_bn:
            measured = precise_statistics(
                self.model, self._precise_bn_batches(), precision=runtime.precision, stopped=self.stop
            )
            if measured is None:
                return False
            statistics = measured
        self.state.precise_bn = statistics or None
        return self.job.val is None or self._validate(self.job.val, statistics)

    def _precise_bn_batches(self) -> Iterable[Batch]:
        config, optim = self.config, self.config.optim
        plan = step_plan(
            first_step=0,
            last_step=optim.precise_bn,
            clips_per_rank=optim.clips_per_device,
            rank=rank(),
            world_size=world_size(),
        )
        videos = build_training_videos(config, self.job.train.entries, stream=PRECISE_BN)
        return training_loader(videos, plan, workers=config.runtime.workers, limit_s=config.data.decode_limit_s)

    def _validate(self, val: Found, statistics: dict[str, torch.Tensor]) -> bool:
        config, runtime = self.config, self.config.runtime
        loader = validation_loader(
            build_validation_videos(config, val.entries),
            clips=config.optim.clips_per_device,
            rank=rank(),
            world_size=world_size(),
            workers=runtime.workers,
            limit_s=config.data.decode_limit_s,
        )
        model = with_statistics(self.model, statistics)
        outcome = validate(model, loader, precision=runtime.precision, stopped=self.stop, note=self.say)
        if outcome is None:
            return False
        record = {"step": float(self.state.step), **outcome}
        key, words = self._measure()
        if self.state.best is None or outcome[key] > self.state.best[key]:
            self.state.best = {"step": self.state.step, key: outcome[key]}
        if self.log and self.progress:
            self.log.write_validation(record)
            self.progress.note(
                f"single-clip validation at step {self.state.step}: {words} {outcome[key]:.1f}% of "
                f"{outcome['videos']:.0f} videos, one random clip each; that of videos is tools/test.py's"
            )
        return True

    def _measure(self) -> tuple[str, str]:
        """What a validation is judged by, and its name."""
        return ("clip_top1", "top-1") if self.config.data.labels == "one" else ("clip_map", "mAP")

    def save(self) -> None:
        """A checkpoint; a disk that is full ends the run only where nothing could be tried again.

        Raises:
            ValueError: the last checkpoint cannot be written.
        """
        random = gather(random_state())
        if not is_main():
            return
        facts = {**self.facts, "position": self.state.step * self.recipe.global_batch}
        keep = self.config.runtime.keep_checkpoints
        try:
            save_checkpoint(self.folder / "checkpoints", self.state, facts=facts, random=random, keep=keep)
        except OSError as error:
            text = f"step {self.state.step} cannot be saved: {error}; the checkpoints before are still there"
            if self.stop() or self.state.step == self.config.optim.steps:
                raise ValueError(text) from error
            self.say(f"warning: {text}; training goes on")

    def keep_nonfinite(self, facts: list[dict[str, Any]]) -> str:
        """Writes what is known about a loss that is not finite; where."""
        path = self.folder / "nonfinite.json"
        if is_main():
            with whole_file(path) as file:
                file.write((json.dumps(facts, indent=2) + "\n").encode())
        return str(path)

    def finish(self) -> None:
        """Writes the weights for use, and says what was written and what comes next."""
        if not is_main():
            return
        state, config = self.state, self.config
        origin = f"run {config.name}, {state.step} steps on {config.data.name}"
        model = with_statistics(self.model, state.precise_bn or {})
        path = self.folder / "model.safetensors"
        save_model(path, model, origin=origin, classes=class_names(config.data))
        lines = [f"trained {state.step} steps, {state.num_failures} videos could not be decoded: {path}"]
        if state.best:
            key, words = self._measure()
            lines.append(
                f"best single-clip validation: {words} {state.best[key]:.1f}% at step {state.best['step']:.0f}"
            )
        lines += [
            f"files in {self.folder}: {', '.join(sorted(file.name for file in self.folder.iterdir()))}",
            f"next: python tools/test.py run={self.folder}{self._own_function()}",
            f"      tensorboard --logdir {config.runtime.runs}",
        ]
        self.say("\n".join(lines))

    def _own_function(self) -> str:
        """What a test has to be told, since files do not name code."""
        word = self.config.model.get("pairwise")
        return f" {as_setting(word)}" if is_foreign(word) else ""

    def say(self, text: str) -> None:
        """On the screen and, once there is one, in the log; by the main process."""
        if is_main():
            if self.progress:
                self.progress.note(text)
            else:
                print(text, flush=True)

    def close(self) -> None:
        """Ends the log."""
        if self.progress:
            self.progress.close()
        if self.log:
            self.log.close()
