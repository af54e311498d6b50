"""Compares two tests video by video: python tools/compare.py runs/A/test/full_10 runs/B/test/full_10"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
import sys
from pathlib import Path

from nonlocal_video.reports.test.compare import compare_tests, format_comparison
from nonlocal_video.reports.test.predictions import read_predictions


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compares two tests on the videos that both have: the difference of their accuracies with its 95% "
        "interval, the classes that changed, the largest difference of a score, and what differs in the reports.",
    )
    parser.add_argument("a", metavar="A", type=Path, help="the folder of a test, which holds its report.json")
    parser.add_argument("b", metavar="B", type=Path, help="that of the test to compare with it")
    parser.add_argument("--top", type=int, default=10, help="how many classes to name each way (%(default)s)")
    arguments = parser.parse_args()
    if arguments.top < 0:
        parser.error("--top: expected 0 or more")
    try:
        a, b = read_predictions(arguments.a), read_predictions(arguments.b)
        print(format_comparison(a, b, compare_tests(a, b), top=arguments.top))
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
