"""ResNets of other code bases: conv1 wider than res2, strides in the first 1x1, pool1 rounding up.

The same rendition in plain PyTorch is held against a synthetic file, and against real weights where these are.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.layers import MaxPool
from nonlocal_video.models.weights.file import load_model, save_model
from nonlocal_video.models.weights.initialise import build_imported
from nonlocal_video.models.weights.read import read_foreign
from nonlocal_video.models.weights.start import start_from
from tests.models.others import named_by
from tests.models.standins import randomise

REAL = Path(__file__).parents[3] / "shared" / "real" / "resnet50_half.pth"
CAFFE = {"stem_width": 24, "stride_in": "1x1", "pool1_rounds_up": True}


def rendition(state: dict[str, Tensor], x: Tensor, *, stride_in: str = "1x1", rounds_up: bool = True) -> Tensor:
    """The output of the last stage of a ResNet of images by torchvision's names, X (B, 3, H, W) normalised."""

    def normalised(x: Tensor, name: str) -> Tensor:
        statistics = (state[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *statistics)

    x = F.conv2d(x, state["conv1.weight"], stride=2, padding=3)
    x = F.max_pool2d(F.relu(normalised(x, "bn1")), 3, 2, ceil_mode=rounds_up)
    blocks = sorted({match[0] for name in state if (match := re.match(r"layer\d\.\d+", name))})
    for block in blocks:
        stride = 2 if block[-1] == "0" and block[5] > "1" else 1
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        y = F.relu(normalised(F.conv2d(x, state[f"{block}.conv1.weight"], stride=first), f"{block}.bn1"))
        y = F.relu(normalised(F.conv2d(y, state[f"{block}.conv2.weight"], stride=second, padding=1), f"{block}.bn2"))
        y = normalised(F.conv2d(y, state[f"{block}.conv3.weight"]), f"{block}.bn3")
        if f"{block}.downsample.0.weight" in state:
            x = normalised(F.conv2d(x, state[f"{block}.downsample.0.weight"], stride=stride), f"{block}.downsample.1")
        x = F.relu(x + y)
    return x


@torch.no_grad()
def error_of(model: Classifier, state: dict[str, Tensor], *, size: int, **how: Any) -> float:
    """The largest difference of res5 on equal frames of an image, relative to the largest value; 1 for another size."""
    images = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 4 - 2
    expected = rendition(state, images, **how)
    got = model.eval().backbone(images[:, :, None].expand(-1, -1, model.options.clip_length, -1, -1))
    if got.shape[3:] != expected.shape[2:]:
        return 1.0
    return float((got - expected[:, :, None]).abs().max() / expected.abs().max())


def caffe_file(path: Path) -> dict[str, Tensor]:
    """A small ResNet of images with random weights; its conv1 is wider than res2."""
    model = build_model("c2d_small_4x8", num_classes=2, crop=64, stem_width=24)
    randomise(model)
    state = named_by("torchvision", model)
    torch.save(state, path)
    return state


def test_res5_is_that_of_a_plain_rendition(tmp_path: Path) -> None:
    state = caffe_file(tmp_path / "w.pth")
    model = build_model("c2d_small_4x8", num_classes=2, crop=64, **CAFFE)
    lines = start_from(model, f"{tmp_path}/w.pth")
    assert lines[-1].startswith(
        "note: the file cannot tell how its network was built: it is taken for model.stride_in=1x1 "
        "model.pool1_rounds_up=true"
    )
    assert error_of(model, state, size=64) < 1e-4


@pytest.mark.parametrize("left_out", ["stride_in", "pool1_rounds_up"])
def test_each_option_is_needed(left_out: str, tmp_path: Path) -> None:
    state = caffe_file(tmp_path / "w.pth")
    options = {key: value for key, value in CAFFE.items() if key != left_out}
    model = build_model("c2d_small_4x8", num_classes=2, crop=64, **options)
    start_from(model, f"{tmp_path}/w.pth")
    assert error_of(model, state, size=64) > 1e-3
    how = {"stride_in": {"stride_in": "3x3"}, "pool1_rounds_up": {"rounds_up": False}}[left_out]
    assert error_of(model, state, size=64, **how) < 1e-4


@pytest.mark.skipif(not REAL.is_file(), reason="the real weights are not here")
def test_res5_of_real_weights_is_that_of_a_plain_rendition() -> None:
    state = torch.load(REAL, weights_only=True)
    model = build_model("c2d_r50_half_4x8", num_classes=5, **{**CAFFE, "stem_width": 64})
    start_from(model, str(REAL))
    assert error_of(model, state, size=160) < 1e-4
    assert error_of(model, state, size=160, stride_in="3x3") > 1e-2


def test_file_of_another_width_says_which_settings_fit(tmp_path: Path) -> None:
    caffe_file(tmp_path / "w.pth")
    message = (
        r"w\.pth: a network of another shape: got 1, 2, 2, 1 residual blocks, 24 channels in conv1 and 16 in res2, "
        r"expected 3, 4, 6, 3 residual blocks, 16 channels in conv1 and 16 in res2; ask for model=i3d_small "
        r"model\.stem_width=24\. No tensor shows .* model\.stride_in=3x3 or 1x1, model\.pool1_rounds_up=false or true"
    )
    model = build_model("i3d_r50_narrow_8x8", num_classes=5, crop=64)
    with pytest.raises(ValueError, match=message):
        start_from(model, f"{tmp_path}/w.pth")
    foreign = read_foreign("torchvision", f"{tmp_path}/w.pth")
    with pytest.raises(
        ValueError, match=r"ask for c2d_small_4x8 --set stem_width=24\. No tensor .* stride_in=3x3 or 1x1"
    ):
        build_imported("c2d_r50_narrow_4x8", foreign, changes={"crop": 64}, where=f"{tmp_path}/w.pth")


def test_import_of_such_a_file_is_rebuilt_from_what_it_says(tmp_path: Path) -> None:
    state = caffe_file(tmp_path / "w.pth")
    changes = {**CAFFE, "pool1_padding": 0, "crop": 64}
    foreign = read_foreign("torchvision", f"{tmp_path}/w.pth")
    done = build_imported("c2d_small_4x8", foreign, changes=changes, where="w.pth")
    save_model(tmp_path / "w.safetensors", done.model, origin="a test")
    assert error_of(load_model(tmp_path / "w.safetensors"), state, size=64) < 1e-4


@pytest.mark.parametrize("size", [(8, 48, 48), (9, 61, 50), (13, 85, 66)])
@pytest.mark.parametrize("padding", [0, 1])
def test_map_has_the_size_that_is_said(padding: int, size: tuple[int, int, int]) -> None:
    options = {"crop": 48, "stem": "dense", "pool1_padding": padding, **CAFFE}
    model = build_model("i3d_small_8x2", num_classes=2, **options).eval()
    assert tuple(model.backbone(torch.zeros(1, 3, *size)).shape[2:]) == model.backbone.final_map(*size)


def test_windows_over_time_do_not_reach_over_the_end() -> None:
    """As without rounding up: only the windows in space do."""
    x = torch.rand(2, 3, 7, 8, 8, generator=torch.Generator().manual_seed(0))
    pooled = MaxPool((2, 3, 3), (2, 2, 2), rounds_up=True)(x)
    frames = torch.maximum(x[:, :, 0:6:2], x[:, :, 1:6:2])
    expected = torch.stack([F.max_pool2d(frame, 3, 2, ceil_mode=True) for frame in frames.unbind(2)], dim=2)
    assert torch.equal(pooled, expected)
