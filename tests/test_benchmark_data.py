"""tools/benchmark_data.py on one short file: that it measures what it says, not how fast anything is."""

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from nonlocal_video.data.prepare.encode import write_video
from tests.conftest import numbered_frames
from tests.small_runs import output

TOOL = Path(__file__).parent.parent / "tools/benchmark_data.py"


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return output(TOOL, "--small", "--folder", folder, "--clips", "1", "--repeats", "1", *arguments)


def rows(page: str, section: str) -> dict[str, list[str]]:
    """The lines of the first table of a section, by their first cells."""
    table = re.search(rf"## {section}.*?\n\|[^\n]*\n\|[-:|]+\n((?:\|[^\n]*\n)+)", page, re.DOTALL)
    assert table, f"no table in {section}"
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].strip().split("\n")]
    return {line[0]: line[1:] for line in lines}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark")


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    done = run(folder, "--only", "train,test,split,memory,loader", "--memory", "2", "--workers", "0",
               "--out", folder / "page.md")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip() == (folder / "page.md").read_text().rstrip()
    return (folder / "page.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ours, decord", "ours, torchcodec", "pytorchvideo, pyav", "pytorchvideo, decord"])
def test_ways_show_the_same_pictures(page: str, way: str) -> None:
    cells = rows(page, "Training clips")[way]
    if cells[0].startswith("n/a"):
        library = way.split(", ")[0 if way.startswith("pytorchvideo") else 1]
        assert find_spec(library) is None or "cannot be imported" in cells[0] or find_spec("decord") is None
        pytest.skip(cells[0])
    assert float(cells[-1]) < 0.5  # Rounding to whole grey levels; a clip one frame later is 10 away.


@pytest.mark.slow
def test_the_whole_clip_way_shows_the_same_and_the_check_would_see_another_frame(page: str) -> None:
    assert float(rows(page, "Training clips")["PySlowFast's way"][-1]) < 0.5
    assert float(re.search(r"one frame later would differ by (\d+\.\d+)", page)[1]) > 3


@pytest.mark.slow
def test_every_way_of_testing_has_a_time_or_a_reason(page: str) -> None:
    found = rows(page, "Testing")
    assert {"ours, pyav", "30 decodes, pyav", "ffmpeg"} <= found.keys()
    assert all(cells[0].startswith("n/a: ") or float(cells[0]) > 0 for cells in found.values())


@pytest.mark.slow
def test_the_parts_of_a_clip_add_up(page: str) -> None:
    (cells,) = rows(page, "Where the time").values()
    parts = [float(cell.split()[0]) for cell in cells]
    assert sum(parts[:-1]) == pytest.approx(parts[-1], abs=0.5)  # Each is rounded to 0.1 ms.
    assert all(part > 0 for part in parts)


@pytest.mark.slow
def test_memory_and_the_loader_are_measured(page: str) -> None:
    assert float(rows(page, "Memory")["ours, pyav"][0]) > 0
    assert float(rows(page, "Through the loader")["0"][0]) > 0


@pytest.mark.slow
def test_a_damaged_file_stops_it_with_the_cause(folder: Path, tmp_path: Path) -> None:
    video = tmp_path / "cut off.mp4"
    rng = np.random.default_rng(0)
    write_video(video, [frame + rng.integers(0, 9, frame.shape, np.uint8) for frame in numbered_frames(72)])
    data = bytearray(video.read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 4)
    video.write_bytes(data)
    done = run(folder, "--only", "split", "--videos", video)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "cut off.mp4" in done.stderr
    assert "cut off.mp4 |" not in done.stdout
