"""Tests a trained network: python tools/test.py run=runs/NAME, or weights=FILE.safetensors data=NAME"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from nonlocal_video import build
from nonlocal_video.config import evaluation_config, one_job, run_tool
from nonlocal_video.evaluation import find_weights
from nonlocal_video.launch import launch
from nonlocal_video.testing import Job, run


@hydra.main(version_base="1.3", config_path="../configs", config_name="test")
def main(cfg: DictConfig) -> None:
    with one_job():
        config, settings = evaluation_config(cfg)
        weights = find_weights(Path(str(config.run)), config.weights, steps=settings.optim.steps)
        found = build.find_videos(settings.data, "val", labelled=False)
        job = Job(config, settings, weights, found)
        launch(run, job, processes=config.runtime.devices, timeout_s=config.runtime.timeout_s)


if __name__ == "__main__":
    run_tool(main)
