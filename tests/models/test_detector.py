"""Detectors: their size, where blocks stand, what fresh blocks change, and torchvision's weights in our network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.resnet import Bottleneck, ResNet

from nonlocal_video.models.detection.complexity import detector_cost
from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.models.detection.weights import build_detector, read_detector_file, save_detector, start_detector
from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.models.placement import built_places, format_places
from nonlocal_video.settings.detector import DetectorOptions, named_detector
from nonlocal_video.settings.network import DEPTHS

TINY = {
    "depth": "tiny", "num_classes": 2, "short_side": 96, "long_side": 160, "norm": "batch", "frozen_stages": 0,
    "levels": ["res3", "res4"], "pyramid_width": 16, "anchor_sizes": [16, 32, 64], "box_width": 32, "head_width": 16,
    "proposals": 30, "rois": 16, "detections": 10,
}  # fmt: skip


def tiny(kind: str = "mask_rcnn", **changes: Any) -> DetectorOptions:
    return DetectorOptions(kind=kind, **{**TINY, **changes})


def images(number: int = 2) -> list[Tensor]:
    return [torch.randint(0, 256, (3, 96, 96 + 32 * k), dtype=torch.uint8) for k in range(number)]


def targets(number: int, kind: str, *, objects: int = 2) -> list[dict[str, Tensor]]:
    found = []
    for k in range(number):
        box = torch.tensor([[10.0, 10.0, 50.0, 60.0], [30.0, 20.0, 90.0, 80.0]])[:objects]
        target = {"boxes": box.reshape(-1, 4), "labels": torch.ones(objects, dtype=torch.int64)}
        if kind == "mask_rcnn":
            target["masks"] = torch.ones(objects, 96, 96 + 32 * k, dtype=torch.uint8)
        if kind == "keypoint_rcnn":
            target["keypoints"] = torch.tensor([[[20.0, 20.0, 2.0]] * 17] * objects).reshape(objects, 17, 3)
        found.append(target)
    return found


def found_by(detector: Detector, image: Tensor) -> dict[str, Tensor]:
    detector.eval()
    with torch.inference_mode():
        return detector([image])[0]


@pytest.mark.parametrize(
    ("name", "changes", "parameters"),
    [
        ("mask_rcnn_r50", {"num_classes": 90}, 44_401_393),
        ("mask_rcnn_r50_nl", {"num_classes": 90}, 44_401_393 + 2_099_712),
        ("mask_rcnn_r101", {"num_classes": 90}, 63_341_000),
        ("mask_rcnn_x152", {"num_classes": 90}, 140_975_000),
        ("mask_rcnn_x152_nl", {"num_classes": 90}, 143_075_000),
        ("keypoint_rcnn_r101", {"num_classes": 1}, 78_077_000),
        ("keypoint_rcnn_r101", {"num_classes": 1, "head_blocks": 4}, 80_179_000),
        ("keypoint_rcnn_r101_nl", {"num_classes": 1, "head_blocks": 4}, 82_279_000),
    ],
)
def test_parameters_are_those_of_the_known_networks(name: str, changes: dict[str, Any], parameters: int) -> None:
    """torchvision counts the 90 numbers of COCO's categories; rounded to thousands where only these are known."""
    options = replace(named_detector(name, num_classes=90), **changes)
    with torch.device("meta"):
        detector = Detector(options)
    counted = sum(parameter.numel() for parameter in detector.parameters())
    assert abs(counted - parameters) < (1 if parameters % 1000 else 1000)


@pytest.mark.parametrize(
    ("name", "changes", "gmacs"),
    [
        ("mask_rcnn_r50", {}, 269.2),
        ("mask_rcnn_r50_nl", {}, 279.2),
        ("mask_rcnn_r101", {}, 348.7),
        ("mask_rcnn_r101_nl", {}, 358.8),
        ("mask_rcnn_x152", {}, 704.1),
        ("mask_rcnn_x152_nl", {}, 714.1),
        ("keypoint_rcnn_r101", {"num_classes": 1}, 644.6),
        ("keypoint_rcnn_r101", {"num_classes": 1, "head_blocks": 4}, 672.3),
        ("keypoint_rcnn_r101_nl", {"num_classes": 1, "head_blocks": 4}, 682.3),
    ],
)
def test_multiply_adds_are_those_of_the_known_networks(name: str, changes: dict[str, Any], gmacs: float) -> None:
    """Of 800x1344 pixels, 1000 proposals and 100 detections, to 0.1%."""
    with torch.device("meta"):
        cost = detector_cost(Detector(replace(named_detector(name, num_classes=90), **changes)))
    assert cost.macs / 1e9 == pytest.approx(gmacs, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "changes", "places"),
    [
        ("mask_rcnn_r50_nl", {}, [("res4", 4)]),
        ("mask_rcnn_r101_nl", {}, [("res4", 21)]),
        ("mask_rcnn_x152_nl", {}, [("res4", 34)]),
        ("keypoint_rcnn_r101", {"head_blocks": 4}, [("keypoint_head", n) for n in (2, 4, 6, 8)]),
        ("mask_rcnn_r50", {"head_blocks": [1, 4]}, [("mask_head", 1), ("mask_head", 4)]),
    ],
)
def test_blocks_stand_where_the_paper_has_them(name: str, changes: dict[str, Any], places: list[Any]) -> None:
    with torch.device("meta"):
        detector = Detector(replace(named_detector(name, num_classes=1), **changes))
    assert [(place.stage, place.block) for place in built_places(detector)] == places
    assert f"non-local blocks: {len(places)}" in format_places(detector)
    assert all(isinstance(m.bn, nn.Identity) for m in detector.modules() if isinstance(m, NonLocalBlock))


@pytest.mark.parametrize("added", ["nonlocal", "residual"])
@pytest.mark.parametrize(("kind", "head"), [("mask_rcnn", 2), ("keypoint_rcnn", 4)])
def test_fresh_blocks_change_nothing_until_they_are_trained(kind: str, head: int, added: str) -> None:
    """Bit by bit, since a block is added right after a ReLU and starts as the identity."""
    plain = Detector(tiny(kind, norm="affine"))
    with_blocks = Detector(tiny(kind, norm="affine", nonlocal_blocks=1, head_blocks=head, added=added))
    own = plain.state_dict()
    left = with_blocks.load_state_dict(own, strict=False)
    assert all(f".{added}" in name for name in left.missing_keys)
    assert not left.unexpected_keys
    image = images(1)[0]
    before = found_by(plain, image)
    assert len(before["boxes"])
    after = found_by(with_blocks, image)
    assert all(torch.equal(before[name], after[name]) for name in before)
    last = "w_z.weight" if added == "nonlocal" else "conv3.weight"
    for name, parameter in with_blocks.named_parameters():
        if f".{added}" in name and name.endswith(last):
            nn.init.normal_(parameter, std=0.5)
    moved = found_by(with_blocks, image)
    assert any(moved[name].shape != after[name].shape or not torch.equal(moved[name], after[name]) for name in after)


@pytest.mark.parametrize("kind", ["faster_rcnn", "mask_rcnn", "keypoint_rcnn"])
@pytest.mark.parametrize("objects", [2, 0])
def test_every_parameter_has_a_gradient_with_and_without_objects(kind: str, objects: int) -> None:
    """Without objects a head gets no regions at all, and two ranks would wait for a gradient that never comes."""
    detector = Detector(tiny(kind, nonlocal_blocks=1, head_blocks=0 if kind == "faster_rcnn" else 2))
    detector.train_mode()
    losses = detector(images(), targets(2, kind, objects=objects))
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    assert [name for name, p in detector.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("kind", ["mask_rcnn", "keypoint_rcnn"])
def test_boxes_scores_and_losses_are_float32_in_half_precision(kind: str) -> None:
    detector, image = Detector(tiny(kind)), images(1)[0]
    whole = found_by(detector, image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = found_by(detector, image)
    assert {name: tensor.dtype for name, tensor in half.items()} == {name: t.dtype for name, t in whole.items()}
    corners = half["boxes"]
    assert not torch.equal(corners, corners.bfloat16().float())
    detector.train_mode()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = detector([image], targets(1, kind))
    assert all(loss.dtype == torch.float32 for loss in losses.values())


def test_regions_do_not_depend_on_the_first_image_that_was_seen() -> None:
    """torchvision's pooling keeps the scales that it infers from the first one, and of a tiny image wrong ones."""
    detector, image = Detector(tiny()), images(1)[0]
    before = found_by(detector, image)
    other = Detector(tiny())
    other.load_state_dict(detector.state_dict())
    found_by(other, torch.zeros(3, 33, 39, dtype=torch.uint8))
    after = found_by(other, image)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert detector.rcnn.roi_heads.box_roi_pool.scales == [1 / 8, 1 / 16]


def test_weights_of_torchvision_give_torchvisions_detections(tmp_path: Path) -> None:
    """Random weights by torchvision's names, with the epsilon of 0 of its detectors; maps to 1e-5 of their largest."""
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=96, max_size=160).eval()
    for name, tensor in theirs.state_dict().items():
        if "running_var" in name:
            tensor.uniform_(0.8, 1.2)
        elif name.endswith("bn3.weight"):
            tensor.uniform_(0.1, 0.2)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    nn.init.normal_(theirs.roi_heads.box_predictor.cls_score.weight, std=1.0)  # Else all scores are nearly equal.
    weights = {name: tensor for name, tensor in theirs.state_dict().items() if "num_batches" not in name}
    path = tmp_path / "maskrcnn.pth"
    torch.save(weights, path)
    options = replace(named_detector("mask_rcnn_r50", num_classes=90), short_side=96, long_side=160)
    ours = Detector(options).eval()
    lines = start_detector(ours, str(path))
    assert lines[0] == f"started from {path}, a detector of torchvision: {len(ours.state_dict()) - 2} tensors"
    assert lines[1].startswith("note: frozen batch normalisation is taken with an epsilon of 0")
    image, batch = images(1)[0], torch.rand(1, 3, 96, 128)
    theirs.roi_heads.score_thresh = ours.rcnn.roi_heads.score_thresh = 0.0
    with torch.inference_mode():
        maps = [network.backbone(batch) for network in (theirs, ours.rcnn)]
        expected = theirs([image / 255])[0]
    for one, other in zip(maps[0].values(), maps[1].values(), strict=True):
        assert (one - other).abs().max() < 1e-5 * one.abs().max()
    got = found_by(ours, image)
    assert len(expected["boxes"]) > 5
    torch.testing.assert_close(got["scores"][:5], expected["scores"][:5], atol=1e-3, rtol=0)
    torch.testing.assert_close(got["boxes"][:5], expected["boxes"][:5], atol=1e-2, rtol=0)
    assert torch.equal(got["labels"][:5], expected["labels"][:5])
    fewer = Detector(replace(options, num_classes=3, nonlocal_blocks=1))
    fresh = start_detector(fewer, str(path))[-1]
    assert fresh.startswith("fresh: 14 tensors"), "8 of the block, classes, boxes and masks"
    broken = {name: tensor for name, tensor in weights.items() if "fpn.layer_blocks.1" not in name}
    torch.save(broken, path)
    with pytest.raises(ValueError, match=r"of another network: 2 missing \(rcnn.backbone.fpn.layer_blocks.1"):
        start_detector(fewer, str(path))


def test_a_resnext_of_images_starts_x152(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one residual block a stage; maps to 1e-5 of their largest."""
    monkeypatch.setitem(DEPTHS, "x152", DEPTHS["x152"]._replace(blocks=(1, 1, 1, 1)))
    theirs = ResNet(Bottleneck, [1, 1, 1, 1], groups=32, width_per_group=8).eval()
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    ours = Detector(replace(named_detector("mask_rcnn_x152", num_classes=2), short_side=96, long_side=160)).eval()
    lines = start_detector(ours, str(tmp_path / "net.pth"))
    assert lines[0].startswith(f"started from {tmp_path}/net.pth, ")
    image = torch.rand(1, 3, 96, 128)
    with torch.inference_mode():
        expected = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        maps = ours.body(image)
        for stage, layer in zip(maps, (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), strict=True):
            expected = layer(expected)
            assert (maps[stage] - expected).abs().max() < 1e-5 * expected.abs().max(), stage


def test_a_saved_detector_is_the_same_again(tmp_path: Path) -> None:
    detector, image = Detector(tiny("keypoint_rcnn", head_blocks=2, nonlocal_blocks=["res4.0"])), images(1)[0]
    path = tmp_path / "model.safetensors"
    save_detector(path, detector, origin="a test", categories=[(3, "a"), (9, "b")], keypoints=["x"])
    content = read_detector_file(path)
    loaded = build_detector(content, where=path)
    assert content.categories == [(3, "a"), (9, "b")]
    assert content.keypoints == ["x"]
    assert loaded.plain_options() == detector.plain_options()
    before, after = found_by(detector, image), found_by(loaded, image)
    assert all(torch.equal(before[name], after[name]) for name in before)
    lines = start_detector(Detector(tiny("keypoint_rcnn")), str(path))
    assert lines[0].startswith(f"started from {path}, a detector of this project")
    save_detector(path, detector, origin="a test", categories=[(3, "a")])
    with pytest.raises(ValueError, match=r"damaged: .* categories: got 1, expected 2"):
        build_detector(read_detector_file(path), where=path)


def test_frozen_stages_are_not_trained_and_biases_have_their_own_rate() -> None:
    detector = Detector(tiny(frozen_stages=2))
    frozen = {name.split(".")[4] for name, p in detector.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "res2"}
    detector.bias_lr = 2.0
    groups = detector.groups(backbone_lr=0.5)
    biases = {id(p) for name, p in detector.named_parameters() if name.endswith(".bias") and "rpn" in name}
    (of_heads,) = [group for group in groups if biases & {id(p) for p in group.parameters}]
    assert (of_heads.rate, of_heads.decays) == (2.0, False)
    trained = [p for p in detector.parameters() if p.requires_grad]
    assert sorted(id(p) for group in groups for p in group.parameters) == sorted(map(id, trained))
    detector.train_mode()
    assert not detector.body.backbone.bn1.training
    assert detector.body.backbone.res3.block0.bn1.training


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "yolo"}, "kind: got 'yolo', expected one of faster_rcnn"),
        ({"head_blocks": 3}, "head_blocks: got 3, expected 0, a divisor of its 4"),
        ({"head_blocks": [5]}, r"head_blocks: got \[5\]"),
        ({"kind": "faster_rcnn", "head_blocks": 2}, "head_blocks: got 2"),
        ({"levels": ["res4", "res3"]}, "levels: got"),
        ({"anchor_sizes": [8]}, r"anchor_sizes: got \[8\], expected 3"),
        ({"frozen_stages": 6}, "frozen_stages: got 6"),
        ({"short_side": 500}, "short_side: got 500, expected up to long_side=160"),
        ({"num_classes": True}, "num_classes: got True"),
        ({"anchor_sizes": [8.5, 9, 10]}, "anchor_sizes: got"),
    ],
)
def test_options_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Detector(DetectorOptions(**{"kind": "mask_rcnn", **TINY, **changes}))


def test_other_tensors_than_images_are_refused() -> None:
    detector = Detector(tiny()).eval()
    for image in (torch.zeros(3, 96, 96), torch.zeros(1, 3, 96, 96, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"expected \(3, H, W\) of torch.uint8"):
            detector([image])
