"""Writes a miniature data set: python tools/make_miniature.py, or with --tables, --charades or --coco another."""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
import sys
from functools import partial
from pathlib import Path

from nonlocal_video.data.prepare.miniature import TWO_QUESTIONS, make_miniature
from nonlocal_video.data.prepare.miniature_charades import ACTIONS
from nonlocal_video.data.prepare.miniature_coco import make_coco_miniature
from nonlocal_video.data.prepare.miniature_tables import FOUR_QUESTIONS
from nonlocal_video.data.workers import num_cpus

_VIDEOS = partial(make_miniature, processes=num_cpus())
SETS = {
    "miniature": (partial(_VIDEOS, series=TWO_QUESTIONS), 1024, 256),
    "miniature_tables": (partial(_VIDEOS, series=FOUR_QUESTIONS), 1024, 400),
    "miniature_charades": (partial(_VIDEOS, series=ACTIONS), 768, 240),
    "miniature_coco": (make_coco_miniature, 800, 200),
}
"""By their folders in data/: what makes them, and the numbers of training and testing videos or images."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a miniature data set; a finished one is kept.")
    which = parser.add_mutually_exclusive_group()
    which.set_defaults(name="miniature")
    for option, what in (
        ("tables", "four questions, for tables of ablations"),
        ("charades", "several actions a video"),
        ("coco", "images with objects, in COCO's format"),
    ):
        which.add_argument(f"--{option}", dest="name", action="store_const", const=f"miniature_{option}", help=what)
    parser.add_argument("--folder", type=Path, help="default: data/miniature, data/miniature_tables, ...")
    parser.add_argument("--train", type=int, help="training videos, or images")
    parser.add_argument("--val", type=int, help="testing videos, or images")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    arguments = parser.parse_args()
    folder, (make, num_train, num_val) = arguments.folder or Path("data") / arguments.name, SETS[arguments.name]
    num_train = num_train if arguments.train is None else arguments.train
    num_val = num_val if arguments.val is None else arguments.val
    try:
        make(folder, num_train=num_train, num_val=num_val, seed=arguments.seed)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"the miniature data set is in {folder}")


if __name__ == "__main__":
    main()
