"""What the tests share: random numbers that repeat, and videos that they make themselves."""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
from pathlib import Path

import numpy as np
import pytest
import torch

from nonlocal_video.data.prepare.encode import write_video
from nonlocal_video.data.prepare.miniature import make_miniature
from tests import forked

forked.serve()
torch.set_num_threads(1)
"""Small networks spend more time on sharing their work among threads than on the work; the cores run other tests."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """A test that passes once passes always, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller miniature: 24 training and 9 testing videos."""
    folder = tmp_path_factory.mktemp("miniature")
    make_miniature(folder, num_train=24, num_val=9, processes=1)
    return folder


def numbered_frames(num_frames: int, *, height: int = 64, width: int = 64) -> list[np.ndarray]:
    """Frame k is of grey level 3 k + 20."""
    return [np.full((height, width, 3), 3 * k + 20, np.uint8) for k in range(num_frames)]


def numbers_in(frames: np.ndarray) -> list[int]:
    """The numbers k of numbered frames (U, H, W, 3)."""
    return [round((float(frame.mean()) - 20) / 3) for frame in frames]


@pytest.fixture(scope="session")
def numbered_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """75 frames, a key frame every 30, B-frames between."""
    path = tmp_path_factory.mktemp("numbered") / "numbered video.mp4"
    write_video(path, numbered_frames(75))
    return path
