"""Tests a trained network: python tools/test.py run=runs/NAME, or weights=FILE.safetensors data=NAME"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import hydra
from omegaconf import DictConfig

from nonlocal_video.cli.compose import run_tool
from nonlocal_video.cli.jobs import one_job, test_job


@hydra.main(version_base="1.3", config_path="../configs", config_name="test")
def main(cfg: DictConfig) -> None:
    with one_job():
        test_job(cfg)


if __name__ == "__main__":
    run_tool(main)
