"""Trains a network: python tools/train.py experiment=miniature/nl_c2d"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import hydra
from omegaconf import DictConfig

from nonlocal_video.cli.compose import run_tool
from nonlocal_video.cli.jobs import job_config, one_job, train_and_test
from nonlocal_video.cli.sweep import rehearse_job


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(cfg: DictConfig) -> None:
    with one_job(listed_later=cfg.table is not None):
        config = job_config(cfg)
        if config.dry_run:
            rehearse_job(cfg, config)
        else:
            train_and_test(config)


if __name__ == "__main__":
    run_tool(main)
