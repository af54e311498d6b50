"""Says what videos show, or which objects images show.

python tools/predict.py weights=FILE.safetensors video=PATH_OR_FOLDER_OR_LIST
python tools/predict.py weights=FILE.safetensors image=PATH_OR_FOLDER_OR_LIST
"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO, TypeVar

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from nonlocal_video.cli.compose import run_tool
from nonlocal_video.cli.jobs import one_job
from nonlocal_video.data.decoders.frames import write_image
from nonlocal_video.models.nonlocal_block import Pairwise
from nonlocal_video.models.weights.file import read_model_file
from nonlocal_video.models.weights.given import SOURCES, check_network, in_run
from nonlocal_video.reports.test.printed import Predicted, printed
from nonlocal_video.reports.test.report import protocol_words
from nonlocal_video.reports.test.timeline import draw_timeline, write_timeline
from nonlocal_video.runs.network import function_for
from nonlocal_video.runs.predict import Predictor
from nonlocal_video.settings import PredictConfig, settings_of
from nonlocal_video.settings.values import expect
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
        done, total = (predict_images if config.image else predict_videos)(config)
    note(f"{done} of {total} {config.kind}s predicted, {total - done} failed")
    if not done:
        sys.exit(1)


def settings(cfg: DictConfig) -> PredictConfig:
    """Checked settings.

    Raises:
        ValueError: a missing or impossible value.
    """
    no_weights = OmegaConf.is_missing(cfg, "weights") or not cfg.weights
    missing = ["weights=..."] * no_weights + ["video=... or image=..."] * (not cfg.video and not cfg.image)
    if missing:
        hint = f"; {SOURCES}" if no_weights else ""
        raise ValueError(f"these settings need a value: {', '.join(missing)}{hint}")
    config = settings_of(PredictConfig, OmegaConf.to_container(cfg, resolve=True))
    given = config.image or config.video or ()
    inputs = {os.path.realpath(path) for path in (config.weights, *([given] if isinstance(given, str) else given))}
    for setting, path in (("out", config.out), ("features", config.features)):
        if path and not Path(path).absolute().parent.is_dir():
            raise ValueError(f"{path}: its folder is not there")
        expect(
            path is None or os.path.realpath(path) not in inputs,
            setting,
            path,
            "another file than those it is made from",
        )
    return config


def own_pairwise(config: PredictConfig, stored: Mapping[str, Any]) -> Pairwise | None:
    """The function of a network of these options, where the project does not have it and the user names it.

    Raises:
        ValueError: the weights name one that the user does not.
    """
    shown = f"{config.kind}={config.image or config.video}"
    command = shlex.join(["python", "tools/predict.py", f"weights={config.weights}", shown])
    return function_for(stored.get("pairwise"), config.model.pairwise, where=config.weights, command=command)


# Images


def predict_images(config: PredictConfig) -> tuple[int, int]:
    """Writes the objects of images; how many were read, and of how many."""
    from nonlocal_video.runs.predict_images import ImagePredictor, read_detector  # noqa: PLC0415  # torchvision takes seconds to import.

    pairwise = own_pairwise(config, read_detector(config.weights).options)
    predictor = ImagePredictor(
        config.weights, pairwise=pairwise, min_score=config.min_score, data=config.data, runtime=config.runtime
    )
    pictures = predictor.find(config.image or (), note=note)
    if config.draw:
        files = [path for picture in pictures for path in (picture.path, os.path.realpath(picture.path))]
        folders = {os.path.realpath(os.path.dirname(path)) for path in files}
        expect(not os.path.isfile(config.draw), "draw", config.draw, "a folder, not a file")
        expect(os.path.realpath(config.draw) not in folders, "draw", config.draw, "a folder without these images")
    drawings = Names(config.draw) if config.draw else None
    note(f"objects with scores above {config.min_score:g}")

    def predictions() -> Iterator[Predicted]:
        for image, found in predictor.predict(pictures):
            files = dict[str, list[str]]()
            if drawings and found.error is None:
                path = Path(f"{drawings.free(image)}.png")
                write_image(path, found.drawn(min_keypoint=config.min_keypoint).permute(1, 2, 0).numpy())
                files = {"drawn": [str(path)]}
            yield Predicted(image, found.objects, found.error, files)

    return write(config, predictions(), len(pictures)), len(pictures)


# Videos


def predict_videos(config: PredictConfig) -> tuple[int, int]:
    """Writes the classes or the features of videos; of how many they are, and of how many."""
    weights = in_run(Path(config.weights))
    check_network(weights)
    predictor = Predictor(
        weights,
        pairwise=own_pairwise(config, read_model_file(weights, with_weights=False).options),
        protocol=config.protocol,
        data=config.data,
        runtime=config.runtime,
    )
    entries = predictor.find(config.video or (), note=note)
    if predictor.note:
        note(f"note: {predictor.note}")
    if config.features:
        return write_features(config, predictor, entries), len(entries)
    note(f"scores: {averaged(predictor, between_clips(config))}")
    return write(config, classes(config, predictor, entries), len(entries)), len(entries)


def classes(config: PredictConfig, predictor: Predictor, entries: Sequence[Entry]) -> Iterator[Predicted]:
    """The best classes of each video, with the files of its timeline."""
    timelines = Names(config.over_time) if config.over_time else None
    for video, result in predictor.predict(entries, every_s=between_clips(config)):
        files = dict[str, list[str]]()
        if timelines and result.timeline:
            free = timelines.free(video)
            paths = [Path(f"{free}.csv"), Path(f"{free}.png")]
            write_timeline(paths[0], result.timeline, classes=result.classes, top=config.top)
            draw_timeline(paths[1], result.timeline, title=video, classes=result.classes, top=config.top)
            files = {"over_time": list(map(str, paths))}
        found = [{"class": name, "score": round(score, 6)} for name, score in result.top(config.top)]
        yield Predicted(video, found, result.error, files)


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


def write_features(config: PredictConfig, predictor: Predictor, entries: Sequence[Entry]) -> int:
    """Writes those of all clips at the end; how many videos have some."""
    found, done = [], 0
    for video, clips in progress(predictor.features(entries, every_s=config.every_s), len(entries), unit="video"):
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


# The screen and files


def write(config: PredictConfig, predictions: Iterable[Predicted], total: int) -> int:
    """Writes each prediction as soon as it is there; how many there are without an error."""
    done = 0

    def counted() -> Iterator[Predicted]:
        nonlocal done
        for one in progress(predictions, total, unit=config.kind):
            done += one.error is None
            if one.error and config.format == "coco":  # It has no place for errors.
                note(f"{one.name}: {one.error}")
            yield one

    # Names of files are bytes: those that are no UTF-8 are written as they are.
    out = open(config.out, "w", errors="surrogateescape") if config.out else nullcontext(sys.stdout)  # noqa: SIM115
    with out as file:
        for text in printed(counted(), kind=config.kind, form=config.format):
            say(text, file)
    return done


class Names:
    """Names of files in a folder, after those of videos or images; where these are equal they get numbers."""

    def __init__(self, folder: str) -> None:
        self.folder, self.taken = Path(folder), set[str]()
        self.folder.mkdir(parents=True, exist_ok=True)

    def free(self, path: str) -> Path:
        """The name for a path, without an extension."""
        name = stem = os.path.splitext(os.path.basename(path.rstrip("/")))[0]
        number = 1
        while name in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name)
        return self.folder / name


def progress(items: Iterable[Item], total: int, *, unit: str) -> Iterator[Item]:
    """Shows how far they are, where somebody looks."""
    return tqdm(items, total=total, unit=unit, desc="predict", file=sys.stderr, disable=not sys.stderr.isatty())


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
