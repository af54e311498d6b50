"""Writes the miniature data set: python tools/make_miniature.py"""

import argparse
import os
import sys
from pathlib import Path

from nonlocal_video.data.miniature import make_miniature


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the miniature data set; a finished one is kept.")
    parser.add_argument("--folder", type=Path, default=Path("data/miniature"), help="default: data/miniature")
    parser.add_argument("--train", type=int, default=1024, help="training videos (default: 1024)")
    parser.add_argument("--val", type=int, default=256, help="testing videos (default: 256)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    arguments = parser.parse_args()
    try:
        make_miniature(
            arguments.folder,
            num_train=arguments.train,
            num_val=arguments.val,
            seed=arguments.seed,
            processes=os.cpu_count() or 1,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"the miniature data set is in {arguments.folder}")


if __name__ == "__main__":
    main()
