"""Says what videos show: python tools/predict.py weights=FILE.safetensors video=PATH_OR_FOLDER_OR_LIST"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import csv
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TextIO, TypeVar

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from nonlocal_video.cli.compose import run_tool
from nonlocal_video.cli.jobs import one_job
from nonlocal_video.models.nonlocal_block import Pairwise
from nonlocal_video.models.weights.file import read_model_file
from nonlocal_video.models.weights.given import SOURCES, check_network
from nonlocal_video.reports.test.report import protocol_words
from nonlocal_video.reports.test.timeline import draw_timeline, write_timeline
from nonlocal_video.runs.network import function_for
from nonlocal_video.runs.predict import Predictor, Result
from nonlocal_video.settings import PredictConfig, settings_of
from nonlocal_video.system.files import whole_file
from nonlocal_video.types import Entry

Item = TypeVar("Item")

EVERY_S = 1.0
"""Between the clips of a timeline, in seconds."""


@hydra.main(version_base="1.3", config_path="../configs", config_name="predict")
def main(cfg: DictConfig) -> None:
    with one_job():
        config = settings(cfg)
        config.protocol.name = HydraConfig.get().runtime.choices["protocol"]
        predictor = Predictor(
            config.weights,
            pairwise=own_pairwise(config),
            protocol=config.protocol,
            data=config.data,
            runtime=config.runtime,
        )
        entries = predictor.find(config.video, note=note)
        if predictor.note:
            note(f"note: {predictor.note}")
        if not config.features:
            note(f"scores: {averaged(predictor, between_clips(config))}")
        work = write_features if config.features else write_predictions
        done = work(config, predictor, entries)
    note(f"{done} of {len(entries)} videos predicted, {len(entries) - done} failed")
    if not done:
        sys.exit(1)


def settings(cfg: DictConfig) -> PredictConfig:
    """Checked settings.

    Raises:
        ValueError: a missing or impossible value.
    """
    missing = [key for key in ("weights", "video") if OmegaConf.is_missing(cfg, key) or not cfg[key]]
    if missing:
        hint = f"; {SOURCES}" if "weights" in missing else ""
        raise ValueError(f"these settings need a value: {', '.join(f'{key}=...' for key in missing)}{hint}")
    config = settings_of(PredictConfig, OmegaConf.to_container(cfg, resolve=True))
    for path in (config.out, config.features):
        if path and not Path(path).absolute().parent.is_dir():
            raise ValueError(f"{path}: its folder is not there")
    return config


def own_pairwise(config: PredictConfig) -> Pairwise | None:
    """The function of the network, where the project does not have it and the user names it.

    Raises:
        ValueError: no such file, or it names one that the user does not.
    """
    check_network(Path(config.weights))
    stored = read_model_file(config.weights, with_weights=False).options.get("pairwise")
    command = shlex.join(["python", "tools/predict.py", f"weights={config.weights}", f"video={config.video}"])
    return function_for(stored, config.model.pairwise, where=config.weights, command=command)


# Predictions


def write_predictions(config: PredictConfig, predictor: Predictor, entries: Sequence[Entry]) -> int:
    """Writes each video's as soon as it is there; how many have one."""
    line, done = LINES[config.format], 0
    every_s = between_clips(config)
    pictures = Pictures(Path(config.over_time), top=config.top) if config.over_time else None
    # Names of files are bytes: those that are no UTF-8 are written as they are.
    out = open(config.out, "w", errors="surrogateescape") if config.out else nullcontext(sys.stdout)  # noqa: SIM115
    with out as file:
        if config.format == "csv":
            say(",".join(COLUMNS) + "\n", file)
        for video, result in progress(predictor.predict(entries, every_s=every_s), len(entries)):
            files = pictures.write(video, result) if pictures and result.timeline else []
            say(line(video, result, result.top(config.top), files), file)
            done += result.error is None
    return done


def between_clips(config: PredictConfig) -> float | None:
    """Seconds from one clip to the next; None for the clips of the protocol."""
    return config.every_s or EVERY_S if config.over_time else config.every_s


def averaged(predictor: Predictor, every_s: float | None) -> str:
    """Says which clips a video's scores are the mean (or maximum) of: other ones with over_time or every_s."""
    options, protocol = predictor.model.options, predictor.protocol
    clips = {"length": options.clip_length, "stride": options.clip_stride}
    words = protocol_words({"protocol": asdict(protocol), "clips": clips})
    if every_s is None:
        return words
    return (
        f"{protocol.combine} over clips that start every {every_s:g} s, those of the timeline, and not over the "
        f"protocol's, which give somewhat other scores ({words})"
    )


def text_lines(video: str, result: Result, top: Sequence[tuple[str, float]], files: Sequence[Path]) -> str:
    """The video, then a line for each class."""
    lines = [f"{100 * score:7.2f}%  {name}" for name, score in top]
    lines += [f"   error: {result.error}"] if result.error else []
    lines += [f"   over time: {', '.join(map(str, files))}"] if files else []
    return "\n".join([video, *lines, ""])


def json_line(video: str, result: Result, top: Sequence[tuple[str, float]], files: Sequence[Path]) -> str:
    """An object with the video and `top`, or `error`."""
    facts: dict[str, object] = {"video": video}
    if result.error:
        facts["error"] = result.error
    else:
        facts["top"] = [{"class": name, "score": round(score, 6)} for name, score in top]
    if files:
        facts["over_time"] = list(map(str, files))
    return json.dumps(facts) + "\n"


COLUMNS = ("video", "rank", "class", "score", "error")


def csv_lines(video: str, result: Result, top: Sequence[tuple[str, float]], _files: Sequence[Path]) -> str:
    """A row for each class."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if result.error:
        table.writerow([video, "", "", "", result.error])
    for rank, (name, score) in enumerate(top, 1):
        table.writerow([video, rank, name, f"{score:.6f}", ""])
    return text.getvalue()


LINES: dict[str, Callable[[str, Result, Sequence[tuple[str, float]], Sequence[Path]], str]] = {
    "text": text_lines,
    "jsonl": json_line,
    "csv": csv_lines,
}


class Pictures:
    """The timelines of videos, in the files FOLDER/NAME.csv and FOLDER/NAME.png."""

    def __init__(self, folder: Path, *, top: int) -> None:
        self.folder, self.top, self.names = folder, top, set[str]()
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, video: str, result: Result) -> list[Path]:
        """The two files; videos of the same name get numbers."""
        stem = os.path.splitext(os.path.basename(video.rstrip("/")))[0]
        name, number = stem, 1
        while name in self.names:
            number += 1
            name = f"{stem}_{number}"
        self.names.add(name)
        paths = [self.folder / f"{name}.csv", self.folder / f"{name}.png"]
        assert result.timeline is not None
        write_timeline(paths[0], result.timeline, classes=result.classes, top=self.top)
        draw_timeline(paths[1], result.timeline, title=video, classes=result.classes, top=self.top)
        return paths


# Features


def write_features(config: PredictConfig, predictor: Predictor, entries: Sequence[Entry]) -> int:
    """Writes those of all clips at the end; how many videos have some."""
    found, done = [], 0
    for video, clips in progress(predictor.features(entries, every_s=config.every_s), len(entries)):
        if clips.features is None:
            note(f"{video}: {clips.error}")
            continue
        done += 1
        found.append((clips.features.numpy(), clips.start_s, [video] * len(clips.start_s), range(len(clips.start_s))))
    if found:
        features, start_s, videos, numbers = map(np.concatenate, zip(*found, strict=True))
        with whole_file(Path(str(config.features))) as file:
            np.savez(file, features=features, video=videos, clip=numbers, start_s=start_s)
        note(f"{config.features}: features {features.shape}, video, clip, start_s")
    return done


# The screen


def progress(items: Iterator[Item], total: int) -> Iterator[Item]:
    """Shows how far they are, where somebody looks."""
    return tqdm(items, total=total, unit="video", desc="predict", file=sys.stderr, disable=not sys.stderr.isatty())


def say(text: str, file: TextIO) -> None:
    """On the screen, above the progress bar."""
    tqdm.write(text, file=file, end="")
    file.flush()


def note(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")
    run_tool(main)
