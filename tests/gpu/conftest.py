"""What only a GPU can show: `python -m pytest -m gpu`. Elsewhere these tests are skipped."""

import pytest
import torch


@pytest.fixture(autouse=True)
def gpus(request: pytest.FixtureRequest) -> None:
    """Skips a test where fewer GPUs are here than its `gpu` mark asks for, which is 1 unless it says so."""
    mark = request.node.get_closest_marker("gpu")
    asked, there = (*mark.args, 1)[0], torch.cuda.device_count()
    if there < asked:
        pytest.skip(f"needs {asked} GPUs, {there} are here")
