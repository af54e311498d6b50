"""The public names of the package."""

import subprocess
import sys

import pytest

import nonlocal_video


def test_public_names_are_there() -> None:
    assert nonlocal_video.__version__
    assert nonlocal_video.build_model("c2d_small_8x2", num_classes=2, crop=48).fc.out_features == 2
    assert all(callable(getattr(nonlocal_video, name)) for name in nonlocal_video.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Predicter'"):
        nonlocal_video.Predicter  # noqa: B018


def test_the_package_alone_loads_no_pytorch() -> None:
    words = "import sys, nonlocal_video; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
