"""tools/benchmark_train.py on tiny clips: that it measures what it says, not how fast anything is."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.small_runs import output

TOOL = Path(__file__).parent.parent / "tools/benchmark_train.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return output(TOOL, "--crop", "64", "--batch", "1", "--repeats", "1", "--threads", "1", *arguments)


@pytest.mark.slow
def test_page_has_a_line_for_each_option_and_number_of_ranks(tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    done = run("--only", "options", "ranks", "--precisions", "fp32", "--options", "default",
               "--ranks", "1", "2", "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert out.read_text() == done.stdout
    page = re.sub(" +", " ", done.stdout)
    default = re.search(r"\| default \| ([\d.]+) \| ([\d.]+) \| (\d+) \|", page)
    assert default
    assert (float(default[1]) > 0, default[2]) == (True, "1.00")
    assert re.search(r"\| 1 \| [\d.]+ \| 1\.00 \|\n\| 2 \| [\d.]+ \| [\d.]+ \|", page)


def test_unknown_section_and_folder_are_named(tmp_path: Path) -> None:
    assert "invalid choice: 'stepp'" in run("--only", "stepp").stderr
    done = run("--only", "step", "--slowfast", tmp_path)
    assert done.returncode == 1
    assert f"error: --slowfast {tmp_path}: not a checkout of facebookresearch/SlowFast" in done.stderr
