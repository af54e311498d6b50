"""The networks against the paper's counts and sizes, and against torchvision's 2-D ResNet."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.initialise import inflate, initialise
from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.models.placement import built_places, format_places, places_for, verify_places
from nonlocal_video.models.resnet3d import inflated_blocks
from nonlocal_video.models.weights.torchvision import read_torchvision


def small(**options: object) -> Classifier:
    return build_model("c2d_small_8x2", num_classes=7, **{"crop": 48, **options})


@pytest.mark.parametrize(
    ("depth", "inflation", "blocks", "millions"),
    [
        ("r50", "none", 0, 24.27), ("r50", "none", 1, 26.37), ("r50", "none", 5, 31.61), ("r50", "none", 10, 38.95),
        ("r50", "3x1x1", 0, 27.99), ("r50", "3x1x1", 5, 35.33),
        ("r101", "none", 0, 43.21), ("r101", "none", 5, 50.55),
        ("r101", "3x1x1", 0, 51.65), ("r101", "3x1x1", 5, 58.99),
    ],
)  # fmt: skip
def test_networks_have_the_papers_number_of_weights(depth: str, inflation: str, blocks: int, millions: float) -> None:
    with torch.device("meta"):
        model = build_model(f"c2d_{depth}_32x2", num_classes=400, inflation=inflation, nonlocal_blocks=blocks)
    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv3d | nn.Linear))
    assert weights / 1e6 == pytest.approx(millions, abs=0.005)


def test_stage_sizes_are_those_of_the_released_code() -> None:
    with torch.device("meta"):
        backbone = build_model("c2d_r50_32x2", num_classes=400).backbone
        sizes = {}
        for name in ("conv1", "pool1", "pool2", "res3", "res4", "res5"):
            backbone.get_submodule(name).register_forward_hook(
                lambda _m, _i, output, name=name: sizes.update({name: tuple(output.shape[1:])})
            )
        backbone(torch.empty(1, 3, 32, 224, 224))
    assert sizes == {
        "conv1": (64, 16, 112, 112),
        "pool1": (64, 8, 55, 55),
        "pool2": (256, 4, 55, 55),
        "res3": (512, 4, 28, 28),
        "res4": (1024, 4, 14, 14),
        "res5": (2048, 4, 7, 7),
    }


@pytest.mark.parametrize(("length", "crop"), [(32, 48), (8, 64), (7, 5), (9, 61), (17, 55)])
def test_final_map_is_what_the_backbone_gives(length: int, crop: int) -> None:
    output = small().eval().backbone(torch.zeros(1, 3, length, crop, crop))
    assert tuple(output.shape[2:]) == small().backbone.final_map(length, crop, crop)


@pytest.mark.parametrize(("length", "crop"), [(6, 224), (32, 4)])
def test_final_map_rejects_clips_too_small_for_the_strides(length: int, crop: int) -> None:
    with pytest.raises(ValueError, match="too small"):
        small().backbone.final_map(length, crop, crop)


def test_inflated_blocks_are_the_released_ones() -> None:
    r101 = {
        stage: inflated_blocks(stage, n)
        for stage, n in zip(("res2", "res3", "res4", "res5"), (3, 4, 23, 3), strict=True)
    }
    assert r101 == {"res2": (0, 1, 2), "res3": (0, 2), "res4": tuple(range(0, 23, 2)), "res5": (1,)}


@pytest.mark.parametrize("inflation", ["none", "3x1x1"])
@pytest.mark.parametrize("pairwise", ["gaussian", "embedded_gaussian", "dot_product", "concatenation"])
def test_nonlocal_network_starts_as_the_network_without_blocks(inflation: str, pairwise: str) -> None:
    plain = small(inflation=inflation).eval()
    nonlocal_ = small(inflation=inflation, nonlocal_blocks=["res3.1", "res4.0"], pairwise=pairwise).eval()
    missing = nonlocal_.load_state_dict(plain.state_dict(), strict=False)
    assert all("nonlocal" in name for name in missing.missing_keys)
    clips = torch.randint(0, 256, (2, 3, 8, 48, 48), dtype=torch.uint8)
    torch.testing.assert_close(nonlocal_(clips), plain(clips), rtol=1e-5, atol=1e-6)


def test_c2d_cannot_tell_a_clip_from_its_reverse() -> None:
    """Why the miniature's motion question is closed to it: only the order within pooled frames is lost."""
    model = small(nonlocal_blocks=["res3.1"]).eval()
    for block in model.modules():
        if isinstance(block, NonLocalBlock):
            nn.init.ones_(block.bn.weight)
    frames = torch.randint(0, 256, (1, 3, 4, 48, 48), dtype=torch.uint8)
    clip = frames.repeat_interleave(2, dim=2)  # conv1 sees every second frame, from the first.
    torch.testing.assert_close(model(clip), model(clip.flip(2)), rtol=1e-4, atol=1e-5)


# Head


def test_scores_on_a_larger_clip_are_the_mean_of_softmax_at_each_position() -> None:
    model = small(nonlocal_blocks=["res3.1"], crop=64).eval()
    nn.init.normal_(model.fc.weight)
    clips = torch.randint(0, 256, (1, 3, 8, 96, 128), dtype=torch.uint8)
    features = model.backbone((clips / 255 - 0.45) / 0.225)
    assert features.shape[2:] == (1, 3, 4)
    positions = [features[:, :, :, i : i + 2, j : j + 2].mean(dim=(2, 3, 4)) for i in range(2) for j in range(3)]
    logits = torch.stack([model.fc(position) for position in positions])
    torch.testing.assert_close(model.scores(clips), logits.softmax(-1).mean(0))
    torch.testing.assert_close(model(clips), logits.mean(0))
    assert not torch.allclose(model.scores(clips), model(clips).softmax(-1), atol=1e-4)


# Placement


@pytest.mark.parametrize(
    ("blocks", "number", "places"),
    [
        ((3, 4, 6, 3), 0, {}),
        ((3, 4, 6, 3), 1, {"res4": (4,)}),
        ((3, 4, 23, 3), 1, {"res4": (21,)}),
        ((3, 4, 6, 3), 5, {"res3": (1, 3), "res4": (1, 3, 5)}),
        ((3, 4, 23, 3), 5, {"res3": (1, 3), "res4": (6, 13, 20)}),
        ((3, 4, 6, 3), 10, {"res3": (0, 1, 2, 3), "res4": (0, 1, 2, 3, 4, 5)}),
        ((3, 4, 6, 3), ["res4.5", "res2.0", "res4.1"], {"res2": (0,), "res4": (1, 5)}),
    ],
)
def test_blocks_stand_where_the_paper_puts_them(blocks: tuple, number: object, places: dict) -> None:
    assert places_for(blocks, number) == places


def test_ten_blocks_of_r101_are_ten() -> None:
    assert sum(len(indices) for indices in places_for((3, 4, 23, 3), 10).values()) == 10


@pytest.mark.parametrize("number", [2, ["res6.0"], ["res3.4"], ["res3.-1"], ["res3.1", "res3.1"], ["res3"], "res3.1"])
def test_places_that_do_not_exist_are_rejected(number: object) -> None:
    with pytest.raises(ValueError, match="nonlocal_blocks: got"):
        places_for((3, 4, 6, 3), number)


def test_built_blocks_are_counted_in_the_network_itself() -> None:
    model = small(nonlocal_blocks=["res3.1", "res4.0"], axes="time", pairwise="dot_product")
    assert [(place.stage, place.block, place.axes) for place in built_places(model)] == [
        ("res3", 1, "time"),
        ("res4", 0, "time"),
    ]
    assert "res4 block 0" in format_places(model)
    with pytest.raises(RuntimeError, match="asked for"):
        verify_places(small(), {"res3": (1,)}, pairwise="dot_product", axes="time")


# Weights


def test_inflated_kernel_answers_on_equal_frames_as_the_flat_one() -> None:
    kernel, image = torch.randn(5, 3, 7, 7), torch.randn(2, 3, 20, 20)
    video = image[:, :, None].expand(-1, -1, 6, -1, -1)
    answer = F.conv3d(video, inflate(kernel, 5), padding=(0, 3, 3))
    torch.testing.assert_close(answer[:, :, 0], F.conv2d(image, kernel, padding=3), rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A torchvision ResNet-50 with random weights and statistics, and its file."""
    torch.manual_seed(0)
    resnet = torchvision.models.resnet50(num_classes=1000).eval()
    for module in resnet.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.1)
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    old = {name: tensor for name, tensor in resnet.state_dict().items() if "num_batches_tracked" not in name}
    torch.save(old, path)
    return resnet, path


def test_c2d_from_imagenet_weights_answers_as_torchvisions_resnet(imagenet: tuple[nn.Module, Path]) -> None:
    """On equal frames, with the one difference that pool1 has no padding in the released video code."""
    resnet, path = imagenet
    model = build_model("nl_c2d_r50_8x2", num_classes=400, crop=64).eval()
    loaded = initialise(model, read_torchvision(str(path)), where=str(path))
    assert sorted(loaded.unused) == ["fc.bias", "fc.weight"]
    assert {name.split(".")[0] for name in loaded.fresh} == {"backbone", "fc"}
    assert all("nonlocal" in n or n.startswith("fc.") or "num_batches" in n for n in loaded.fresh)
    resnet.maxpool.padding = 0
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(image))))
        expected = resnet.layer4(resnet.layer3(resnet.layer2(resnet.layer1(x))))
        actual = model.backbone(image[:, :, None].expand(-1, -1, 8, -1, -1))
    torch.testing.assert_close(actual[:, :, 0], expected, rtol=1e-3, atol=1e-3)


def test_i3d_from_imagenet_weights_holds_each_kernel_divided_by_its_length(imagenet: tuple[nn.Module, Path]) -> None:
    resnet, path = imagenet
    model = build_model("i3d_r50_8x2", num_classes=400, crop=64)
    loaded = initialise(model, read_torchvision(str(path)), where=str(path))
    assert loaded.num_inflated == 1 + 3 + 2 + 3 + 1
    for kernel, flat in (
        (model.backbone.conv1.weight, resnet.conv1.weight),
        (model.backbone.get_submodule("res4.block2").conv1.weight, resnet.layer3[2].conv1.weight),
    ):
        t = kernel.shape[2]
        assert t > 1
        for plane in kernel.unbind(2):
            torch.testing.assert_close(plane, flat / t)


def test_weights_of_another_depth_are_rejected(imagenet: tuple[nn.Module, Path]) -> None:
    model = build_model("c2d_r101_8x2", num_classes=400, crop=64)
    with pytest.raises(ValueError, match=r"tensors are missing, such as backbone\.res4\.block6"):
        initialise(model, read_torchvision(str(imagenet[1])), where="file")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_files_that_are_no_resnet_are_rejected(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content) if content is not None else torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"file\.pth"):
        read_torchvision(str(path))
