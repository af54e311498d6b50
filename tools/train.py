"""Trains a network: python tools/train.py experiment=miniature/nl_c2d"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from nonlocal_video import build
from nonlocal_video.config import one_job, run_tool, train_config
from nonlocal_video.engine.checkpoint import list_checkpoints
from nonlocal_video.launch import launch
from nonlocal_video.training import Job, run


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(cfg: DictConfig) -> None:
    with one_job():
        config = train_config(cfg)
        runtime = config.runtime
        if not list_checkpoints(Path(runtime.runs) / str(config.name) / "checkpoints"):
            build.check_start(config.init)
        found = build.find_videos(config.data, "train")
        val = build.find_videos(config.data, "val") if runtime.validate_every else None
        launch(run, Job(config, found, val), processes=runtime.devices, timeout_s=runtime.timeout_s)


if __name__ == "__main__":
    run_tool(main)
