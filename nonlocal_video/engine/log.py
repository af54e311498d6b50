"""What a run writes while it goes: records, lines, and TensorBoard's events."""

import io
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor
from torch.utils.tensorboard.summary import image, scalar, text

from nonlocal_video.system.plain import json_object
from nonlocal_video.types import Failure


class RunLog:
    """`metrics.jsonl`, `validation.jsonl`, `failed_SOURCE.jsonl`, `train.log` and `tensorboard/` of a run.

    A resumed run goes on as if never interrupted. Where nothing can be written, as on a full disk, this is told once,
    training goes on, and what waits in memory is written when it can be.

    Args:
        folder: the run folder.
        source: what the run is trained on, in the plural.
        step: steps done; records of later steps, written after the checkpoint that the run resumes from, are dropped
            (but not from `train.log`).
    """

    def __init__(self, folder: Path, *, source: str, step: int) -> None:
        self.folder, self.failing = folder, False
        names = ("metrics.jsonl", "validation.jsonl", f"failed_{source}.jsonl")
        for name in names:
            _cut(folder / name, step=step)
        self.metrics, self.validation, self.failures = (_GrowingFile(folder / name) for name in names)
        self.lines = _GrowingFile(folder / "train.log")
        self.events = _GrowingFile(folder / "tensorboard" / _event_file_name())
        self.events.waiting += _framed(Event(wall_time=time.time(), file_version="brain.Event:2"))
        # TensorBoard then drops what was written of later steps. Step 0 is that of `introduce`.
        restart = Event(wall_time=time.time(), step=step and step + 1, session_log=SessionLog(status=SessionLog.START))
        self.events.waiting += _framed(restart)
        self._write()

    def write(self, record: dict[str, float], failures: Sequence[Failure] = ()) -> None:
        """Adds a record of training.

        Args:
            record: `step` and named values; TensorBoard shows those without a slash in their name below `train/`.
            failures: what could not be decoded since the last one.
        """
        step = int(record["step"])
        self.metrics.waiting += _line(record)
        for failure in failures:
            self.failures.waiting += _line({"step": step, **failure._asdict()})
        for name, value in record.items():
            if name != "step":
                self._show(scalar(name if "/" in name else f"train/{name}", value), step)
        self._write()

    def write_validation(self, record: dict[str, float]) -> None:
        """Adds a record of validation: `step` and what `validate` gives."""
        self.validation.waiting += _line(record)
        for name, value in record.items():
            if name != "step":
                self._show(scalar(f"validation/{name}", value), int(record["step"]))
        self._write()

    def line(self, message: str) -> None:
        """Adds a message, with the time, to `train.log`."""
        self.lines.waiting += f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {message}\n".encode()
        self._write()

    def introduce(self, config_text: str, pictures: Mapping[str, Tensor]) -> None:
        """Shows in TensorBoard what a new run is about.

        Args:
            config_text: the settings, as YAML.
            pictures: (3, H, W) uint8, by their names.
        """
        self._show(text("config", f"```yaml\n{config_text}\n```"), 0)
        for name, picture in pictures.items():
            self._show(image(name, picture, dataformats="CHW"), 0)
        self._write()

    def close(self) -> None:
        """Writes what waited, or says that it is lost."""
        self._write()
        lost = [file.path.name for file in self._files() if file.waiting]
        if lost:
            _warn(f"warning: {self.folder}: the last lines of {', '.join(lost)} could not be written and are lost")

    def _show(self, summary: Any, step: int) -> None:
        self.events.waiting += _framed(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self) -> None:
        """Writes what waits; says when that begins to fail and when it works again."""
        errors = []
        for file in self._files():
            try:
                file.write()
            except OSError as error:
                errors.append(error)
        if errors and not self.failing:
            _warn(f"warning: the log cannot be written ({errors[0]}); training goes on, and the log waits in memory")
        elif self.failing and not errors:
            _warn(f"note: {self.folder}: the log is written again, with all that waited")
        self.failing = bool(errors)

    def _files(self) -> tuple["_GrowingFile", ...]:
        return self.metrics, self.validation, self.failures, self.lines, self.events


class _GrowingFile:
    """A file that is only added to, by whole pieces."""

    def __init__(self, path: Path) -> None:
        self.path, self.waiting = path, b""

    def write(self) -> None:
        """Adds what waits; the file is there afterwards, be it empty.

        Raises:
            OSError: nothing was added.
        """
        if not self.waiting and self.path.exists():
            return
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            size, rest = file.tell(), memoryview(self.waiting)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(size)
                raise
        self.waiting = b""


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The records of a run."""
    return [record for record, _ in _records(folder / "metrics.jsonl")]


def _records(path: Path) -> Iterator[tuple[dict[str, float], int]]:
    """The records of a file, each with the place where it ends, up to what a killed process left unfinished."""
    end = 0
    for line in path.read_bytes().split(b"\n")[:-1] if path.is_file() else []:
        end += len(line) + 1
        try:
            yield json_object(line, where=str(path)), end
        except ValueError:  # After a loss of power a file can end in zeros.
            return


def _cut(path: Path, *, step: int) -> None:
    """Drops the records of later steps. Cuts the file, which a full disk allows."""
    kept = 0
    for record, end in _records(path):
        if record["step"] > step:
            break
        kept = end
    if path.is_file():
        os.truncate(path, kept)


def _line(record: dict[str, Any]) -> bytes:
    return f"{json.dumps(record)}\n".encode()


def _framed(event: Event) -> bytes:
    """An event as TensorBoard's files hold it.

    PyTorch's SummaryWriter is not used: the thread in which it writes ends for ever at the first error.
    """
    frame = io.BytesIO()
    RecordWriter(frame).write(event.SerializeToString())
    return frame.getvalue()


def _event_file_name() -> str:
    """TensorBoard reads the files in the order of their names."""
    return f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"


def _warn(message: str) -> None:
    with suppress(OSError):  # Where stderr is a file on the same disk.
        print(message, file=sys.stderr, flush=True)
