"""What a run writes while it goes: `metrics.jsonl` and TensorBoard."""

import json
from collections.abc import Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from nonlocal_video.files import whole_file
from nonlocal_video.types import Failure


class RunLog:
    """Appends one record per log interval; a resumed run goes on as if never interrupted.

    Args:
        folder: the run folder.
        step: steps done; records of later steps, written after the checkpoint that the run resumes
            from, are dropped.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self.metrics, self.failures = folder / "metrics.jsonl", folder / "failed_videos.jsonl"
        for path in (self.metrics, self.failures):
            kept = [record for record in _read(path) if record["step"] <= step]
            with whole_file(path) as file:
                file.write("".join(json.dumps(record) + "\n" for record in kept).encode())
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, record: dict[str, float], failures: Sequence[Failure] = ()) -> None:
        """A record has a `step` and named values; failures go to `failed_videos.jsonl`."""
        with self.metrics.open("a") as file:
            file.write(json.dumps(record) + "\n")
        with self.failures.open("a") as file:
            file.writelines(json.dumps({"step": record["step"], **failure._asdict()}) + "\n" for failure in failures)
        for name, value in record.items():
            if name != "step":
                self.writer.add_scalar(f"train/{name}", value, int(record["step"]))

    def close(self) -> None:
        self.writer.close()


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The records of a run."""
    return _read(folder / "metrics.jsonl")


def _read(path: Path) -> list[dict[str, float]]:
    """A last line that a killed process left unfinished is dropped."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.is_file() else []
