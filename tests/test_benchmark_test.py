"""tools/benchmark_test.py on a short video: that it measures what it says, not how fast anything is."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nonlocal_video.data.prepare.encode import write_video
from tests.small_runs import output

TOOLS = Path(__file__).parent.parent / "tools"
SMALL = "nl_c2d_small_8x8"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 frames whose pixels differ in time and along the longer side."""
    path = tmp_path_factory.mktemp("benchmark") / "short video.mp4"
    grains = np.random.default_rng(0).integers(0, 256, (80, 8, 12, 3)).astype(np.uint8)
    write_video(path, [frame.repeat(8, 0).repeat(8, 1) for frame in grains])
    return path


@pytest.fixture
def _tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOLS)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return output(TOOLS / "benchmark_test.py", "--repeats", "1", "--copies", "1", *arguments)


@pytest.mark.slow
def test_page_has_a_line_for_each_protocol_number_of_processes_and_precision(video: Path, tmp_path: Path) -> None:
    done = run("--videos", video, "--networks", SMALL, "--precision-of", SMALL, "--workers", "0", "1",
               "--out", tmp_path / "page.md")  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "page.md").read_text() == done.stdout
    page = re.sub(" +", " ", done.stdout)
    for protocol in ("10x3", "full_10"):
        row = re.search(rf"\| {SMALL} \| short video.mp4 \| {protocol} \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", page)
        assert row
        ratio = float(row[1]) / float(row[2])  # Of times with three digits; the page rounds the ratio to 0.01.
        assert float(row[3]) == pytest.approx(ratio, abs=0.005 + 0.01 * ratio)
    assert f"| {SMALL} | short video.mp4 | {3 * 55 / 82:.2f} |" in page  # 3 squares beside 96x64, made smaller.
    assert re.search(rf"\| {SMALL} \| 0 \| [\d.]+ \| [\d.]+% \|\n\| {SMALL} \| 1 \| ", page)
    assert re.search(r"\| fp32 \| 10 \| [\d.e-]+ \| 1 \| 0.0e\+00 \| 0 \|\n\| bf16 \| 10 \| ", page)


@pytest.mark.slow
def test_unreadable_videos_and_unknown_networks_are_named(video: Path, tmp_path: Path) -> None:
    broken = tmp_path / "no video.mp4"
    broken.write_bytes(b"nothing")
    assert "no video.mp4" in run("--videos", broken).stderr.splitlines()[-1]
    done = run("--only", "wait", "--videos", video, "--networks", "c3d")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: got the network 'c3d'")


@pytest.mark.usefixtures("_tools")
def test_both_ways_give_the_same_scores_and_a_wrong_one_is_refused(video: Path) -> None:
    from benchmarks.testspeed import Test, build, check_same, copies, ours, plan, straightforward

    model = build(SMALL)
    for protocol in ("10x3", "full_10"):
        test = Test(model, copies(str(video), 2), plan(model, protocol), 0)
        found = ours(test)
        assert len(found.scores) == 2
        assert check_same(found, straightforward(test)) <= 1e-5
        other = straightforward(test._replace(protocol=replace(test.protocol, placement="even")))
        with pytest.raises(ValueError, match=r"short video\.mp4 .: the straightforward way gives other scores"):
            check_same(found, other)
    with pytest.raises(ValueError, match="got scores of"):
        check_same(found, straightforward(test._replace(entries=test.entries[:1])))
