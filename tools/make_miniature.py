"""Writes the miniature data set: python tools/make_miniature.py; with --tables that of the tables of ablations."""

import argparse
import os
import sys
from pathlib import Path

from nonlocal_video.data.miniature import TWO_QUESTIONS, make_miniature
from nonlocal_video.data.miniature_tables import FOUR_QUESTIONS


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the miniature data set; a finished one is kept.")
    parser.add_argument(
        "--tables", action="store_true", help="the one with four questions, for the tables of ablations"
    )
    parser.add_argument("--folder", type=Path, help="default: data/miniature; with --tables data/miniature_tables")
    parser.add_argument("--train", type=int, default=1024, help="training videos (default: 1024)")
    parser.add_argument("--val", type=int, help="testing videos (default: 256; with --tables 400)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    arguments = parser.parse_args()
    series, name, num_val = (
        (FOUR_QUESTIONS, "miniature_tables", 400) if arguments.tables else (TWO_QUESTIONS, "miniature", 256)
    )
    folder = arguments.folder or Path("data") / name
    try:
        make_miniature(
            folder,
            series,
            num_train=arguments.train,
            num_val=num_val if arguments.val is None else arguments.val,
            seed=arguments.seed,
            processes=os.cpu_count() or 1,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"the miniature data set is in {folder}")


if __name__ == "__main__":
    main()
