"""The log of a run: records, lines, and TensorBoard's events."""

import io
import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor
from torch.utils.tensorboard.summary import image, scalar, text

from nonlocal_video.system.files import keep_lines
from nonlocal_video.system.plain import json_lines
from nonlocal_video.types import Failure


class RunLog:
    """`metrics.jsonl`, `validation.jsonl`, `failed_SOURCE.jsonl`, `train.log` and `tensorboard/` of a run.

    A resumed run goes on as if never interrupted: records of steps after `step`, written after the checkpoint that it
    resumes from, are dropped (but not from `train.log`). Where nothing can be written, as on a full disk, this is told
    once, training goes on, and what waits in memory is written when it can be.
    """

    def __init__(self, folder: Path, *, source: str, step: int) -> None:
        self.folder, self.failing = folder, False
        self.records = {"train": folder / "metrics.jsonl", "validation": folder / "validation.jsonl"}
        self.failures, self.lines = folder / f"failed_{source}.jsonl", folder / "train.log"
        # TensorBoard reads the files in the order of their names.
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        self.events = folder / "tensorboard" / name
        self.waiting = dict.fromkeys((*self.records.values(), self.failures, self.lines, self.events), b"")
        for path in (*self.records.values(), self.failures):
            kept = takewhile(lambda record: record["step"] <= step, json_lines(path, dict))
            keep_lines(path, sum(1 for _ in kept))
        self._keep_event(Event(file_version="brain.Event:2"))
        # TensorBoard then drops what was written of later steps. Step 0 is that of `introduce`.
        self._keep_event(Event(step=step and step + 1, session_log=SessionLog(status=SessionLog.START)))
        self._write()

    def write(self, record: dict[str, float], failures: Sequence[Failure] = (), *, group: str = "train") -> None:
        """Adds a record of the group, train or validation: `step` and named values, and what failed since the last one.

        TensorBoard shows values without a slash in their name below the group.
        """
        step = int(record["step"])
        self.waiting[self.records[group]] += f"{json.dumps(record)}\n".encode()
        for failure in failures:
            self.waiting[self.failures] += f"{json.dumps({'step': step, **failure._asdict()})}\n".encode()
        for name, value in record.items():
            if name != "step":
                summary = scalar(name if "/" in name else f"{group}/{name}", value)
                self._keep_event(Event(step=step, summary=summary))
        self._write()

    def line(self, message: str) -> None:
        """Adds a message, with the time, to `train.log`."""
        self.waiting[self.lines] += f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {message}\n".encode()
        self._write()

    def introduce(self, config_text: str, pictures: Mapping[str, Tensor]) -> None:
        """Shows the settings, as YAML, and named pictures (3, H, W) uint8 of a new run in TensorBoard."""
        self._keep_event(Event(step=0, summary=text("config", f"```yaml\n{config_text}\n```")))
        for name, picture in pictures.items():
            self._keep_event(Event(step=0, summary=image(name, picture, dataformats="CHW")))
        self._write()

    def close(self) -> None:
        """Writes what waited, or says that it is lost."""
        self._write()
        lost = [path.name for path, waiting in self.waiting.items() if waiting]
        if lost:
            _warn(f"warning: {self.folder}: the last lines of {', '.join(lost)} could not be written and are lost")

    def _keep_event(self, event: Event) -> None:
        """Adds an event as in TensorBoard's files. The thread of PyTorch's SummaryWriter ends at its first error."""
        frame, event.wall_time = io.BytesIO(), time.time()
        RecordWriter(frame).write(event.SerializeToString())
        self.waiting[self.events] += frame.getvalue()

    def _write(self) -> None:
        """Writes what waits; says when that begins to fail and when it works again."""
        errors = []
        for path, waiting in self.waiting.items():
            try:
                _append(path, waiting)
                self.waiting[path] = b""
            except OSError as error:
                errors.append(error)
        if errors and not self.failing:
            _warn(f"warning: the log cannot be written ({errors[0]}); training goes on, and the log waits in memory")
        elif self.failing and not errors:
            _warn(f"note: {self.folder}: the log is written again, with all that waited")
        self.failing = bool(errors)


def _append(path: Path, content: bytes) -> None:
    """Adds to a file, all of it or an OSError and nothing; the file is there afterwards, be it empty."""
    if not content and path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    with path.open("ab", buffering=0) as file:
        size, rest = file.tell(), memoryview(content)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(size)
            raise


def _warn(message: str) -> None:
    with suppress(OSError):  # Where stderr is a file on the same disk.
        print(message, file=sys.stderr, flush=True)
