"""What a run writes while it goes: `metrics.jsonl` and TensorBoard."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from nonlocal_video.types import Failure


class RunLog:
    """Appends one record per log interval; a resumed run goes on as if never interrupted.

    Args:
        folder: the run folder.
        step: steps done; records of later steps, written after the checkpoint that the run resumes
            from, are dropped.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [record for record in read_metrics(folder) if record["step"] <= step]
        unfinished = self.path.with_suffix(".tmp")
        unfinished.write_text("".join(json.dumps(record) + "\n" for record in kept))
        os.replace(unfinished, self.path)
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, record: dict[str, float], failures: Sequence[Failure] = ()) -> None:
        """A record has a `step` and named values; failures go to `failed_videos.jsonl`."""
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        if failures:
            with self.path.with_name("failed_videos.jsonl").open("a") as file:
                file.writelines(
                    json.dumps({"step": record["step"], **failure._asdict()}) + "\n" for failure in failures
                )
        for name, value in record.items():
            if name != "step":
                self.writer.add_scalar(f"train/{name}", value, int(record["step"]))

    def close(self) -> None:
        self.writer.close()


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The records of a run; a last line that a killed process left unfinished is dropped."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]
