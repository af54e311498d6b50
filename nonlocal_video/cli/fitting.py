"""What is trained on data of one's own where nobody chose it; configs/train.yaml itself is for the miniature."""

from typing import Any

from hydra.conf import HydraConf
from omegaconf import DictConfig, open_dict, read_write

from nonlocal_video.cli.tables import composed

FITTING = {"model": "nl_i3d_r50", "clip": "32x2", "optim": "kinetics_400k"}
"""The paper's, by their groups of configs/."""


def with_fitting(cfg: DictConfig, hydra: HydraConf) -> tuple[DictConfig, HydraConf]:
    """A composed config with the paper's network, clips and schedule where nobody chose any for data of one's own.

    An experiment has chosen them, and the miniature keeps its own. `by_default` names the groups that were filled in.

    Args:
        hydra: what Hydra says of the composed config; the command line in it stays as it was given.
    """
    choices, given = hydra.runtime.choices, list(hydra.overrides.task)
    named = {one.lstrip("+~").partition("=")[0] for one in given}
    own_list = "data.train" in named and "data" not in named  # The miniature is what a command line has without data=.
    if choices["experiment"] is not None or (choices["data"].startswith("miniature") and not own_list):
        return cfg, hydra
    added = {group: name for group, name in FITTING.items() if group not in named}
    fitted, its = composed("train", [*given, *(f"{group}={name}" for group, name in added.items())])
    fitted.by_default = list(added)
    settings: Any = its
    with read_write(settings), open_dict(settings):
        settings.overrides.task = given
    return fitted, its
