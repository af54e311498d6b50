"""Prints the accuracies of tested runs as a table: python tools/report.py runs"""

import argparse
import sys
from pathlib import Path

from nonlocal_video.reports.tables import accuracy_table, find_reports, replace_block


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints the accuracies of tested runs as a Markdown table.")
    parser.add_argument("folders", nargs="+", type=Path, help="run folders, or folders of them")
    parser.add_argument("--into", type=Path, help="also write the table into this file, between <!-- NAME --> lines")
    parser.add_argument("--block", default="results", help="NAME of those lines (default: results)")
    arguments = parser.parse_args()
    try:
        table = accuracy_table(find_reports(arguments.folders))
        print(table)
        if arguments.into:
            replace_block(arguments.into, name=arguments.block, text=table)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
