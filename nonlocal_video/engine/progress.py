"""The progress of a run, for a person who watches it."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

import torch
from tqdm import tqdm

from nonlocal_video.engine.task import Task
from nonlocal_video.types import Failure


class Progress:
    """A bar where stderr is a terminal, else a line on stdout for each record; `keep` takes every line as well.

    A terminal that is gone, or a full disk that takes no more lines, does not stop the run. This process began after
    `first_step` steps of `last_step`.
    """

    def __init__(self, first_step: int, last_step: int, *, task: Task, keep: Callable[[str], None]) -> None:
        self.first_step, self.last_step, self.task, self.keep = first_step, last_step, task, keep
        self.began_s, bar_format = time.monotonic(), "{percentage:3.0f}%|{bar:10}| {desc}"
        self.bar = tqdm(total=last_step, initial=first_step, bar_format=bar_format, disable=not _has_columns())

    def advance(self) -> None:
        """Moves the bar by a step."""
        with suppress(OSError):
            self.bar.update()

    def show(self, record: Mapping[str, float], failures: Sequence[Failure]) -> None:
        """Shows a record as `format_line` does, and which of the failures since the last one came by chance."""
        step = int(record["step"])
        eta_s = (time.monotonic() - self.began_s) / (step - self.first_step) * (self.last_step - step)
        peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
        line = format_line(record, self.task, last_step=self.last_step, eta_s=eta_s, peak_gib=peak)
        with suppress(OSError):
            if self.bar.disable:
                print(line, flush=True)
            self.bar.set_description_str(line)
        self.keep(line)
        for failure in failures:
            if failure.transient:
                self.note(f"note: {failure.cause}; from here this run may not repeat exactly")

    def note(self, text: str) -> None:
        """Says something else, above the bar."""
        with suppress(OSError):
            tqdm.write(text)
            sys.stdout.flush()
        self.keep(text)

    def close(self) -> None:
        """Leaves the bar where it is."""
        with suppress(OSError):
            self.bar.close()


def _has_columns() -> bool:
    """Whether stderr is a terminal that shows something: tqdm shows nothing on one that says it has no columns."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except OSError:
        return False


def format_line(
    record: Mapping[str, float], task: Task, *, last_step: int, eta_s: float, peak_gib: float | None = None
) -> str:
    """One line on how training goes; `eta_s` is the time for the rest, `peak_gib` the most memory of the GPU so far.

    The record has the `step`; means since the last one: `loss` and what the task sums, unless every step was skipped;
    the speed, and `data_wait`, the share of the time (%) in which the process waited for data; the learning rate `lr`;
    and how many `skipped_steps` there were.
    """
    parts = [f"step {record['step']:.0f}/{last_step}"]
    if "loss" in record:
        parts += [f"loss {record['loss']:.4f}", *(words.format(record[name]) for name, words in task.shown.items())]
    if record.get("skipped_steps"):
        parts.append(f"{record['skipped_steps']:.0f} steps skipped")
    speed = f"{record[f'{task.unit}_per_s']:.1f} {task.unit}/s"
    parts += [f"lr {record['lr']:.4g}", speed, f"data wait {record['data_wait']:.0f}%"]
    parts.append(f"ETA {timedelta(seconds=round(eta_s))}")
    if peak_gib is not None:
        parts.append(f"GPU memory {peak_gib:.1f} GiB")
    return "  ".join(parts)
