"""The networks against the paper's counts and sizes, and against torchvision's 2-D ResNet."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.layers import FrozenAffine
from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.models.placement import built_places, format_places, places_for, residual_places, verify_places
from nonlocal_video.models.resnet3d import inflated_blocks
from nonlocal_video.models.weights.initialise import inflate, initialise
from nonlocal_video.models.weights.read import read_foreign


def small(**options: object) -> Classifier:
    return build_model("c2d_small_8x2", num_classes=7, **{"crop": 48, **options})


@pytest.mark.parametrize("clip", ["32x2", "128x1", "8x8", "32x4"])
@pytest.mark.parametrize("depth", ["r50", "r101"])
@pytest.mark.parametrize("kind", ["c2d", "i3d", "nl_c2d", "nl_i3d"])
def test_every_name_builds_what_it_says(kind: str, depth: str, clip: str) -> None:
    with torch.device("meta"):
        model = build_model(f"{kind}_{depth}_{clip}", num_classes=400)
    long, nonlocal_ = clip in ("128x1", "32x4"), kind.startswith("nl_")
    blocks = [module for module in model.modules() if isinstance(module, NonLocalBlock)]
    assert len(blocks) == (5 if nonlocal_ else 0)
    assert [block.group_frames for block in blocks] == ([4, 4, 0, 0, 0] if long and nonlocal_ else [0] * len(blocks))
    norms = {FrozenAffine} if long else {nn.BatchNorm3d}
    assert {type(m) for m in model.modules() if isinstance(m, FrozenAffine | nn.BatchNorm3d)} == norms
    # Released long-clip models: nothing after W_z, which starts from 0.
    assert all(isinstance(block.bn, nn.Identity if long else nn.BatchNorm3d) for block in blocks)
    assert model.backbone.conv1.kernel_size[0] == (5 if "i3d" in kind else 1)
    # Positions in time after pool2: 8 times fewer with the strided stem, half with the dense one.
    frames, stride = map(int, clip.split("x"))
    assert model.window == (frames // (8 if stride <= 2 else 2), 7, 7)
    assert (model.options.clip_length, model.options.clip_stride) == (frames, stride)
    assert sum(m.kernel_size == (3, 1, 1) for m in model.modules() if isinstance(m, nn.Conv3d)) == (
        0 if "i3d" not in kind else {"r50": 3 + 2 + 3 + 1, "r101": 3 + 2 + 12 + 1}[depth]
    )


def test_inflation_3x3x3_has_the_pattern_of_3x1x1() -> None:
    with torch.device("meta"):
        one, three = (build_model("i3d_r50_32x2", num_classes=4, inflation=kind) for kind in ("3x1x1", "3x3x3"))
    first = [name for name, m in one.named_modules() if isinstance(m, nn.Conv3d) and m.kernel_size == (3, 1, 1)]
    second = [name for name, m in three.named_modules() if isinstance(m, nn.Conv3d) and m.kernel_size == (3, 3, 3)]
    assert second == [name.replace("conv1", "conv2") for name in first]
    assert not any(m.kernel_size == (3, 1, 1) for m in three.modules() if isinstance(m, nn.Conv3d))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nl_i3d_r50", {}, "got the network 'nl_i3d_r50', expected a name such as nl_i3d_r50_32x2"),
        ("i3d_r18_32x2", {}, r"\(tiny\|small\|r50_narrow\|r50_half\|r50\|r101\|x152\)"),
        ("c2d_r50_32x2", {"pairwise": "softmax", "nonlocal_blocks": 1}, "pairwise: got 'softmax'"),
        ("c2d_r50_32x2", {"axes": "frames", "nonlocal_blocks": 1}, "axes: got 'frames'"),
        ("c2d_r50_32x2", {"nonlocal_blocks": ["res6.0"]}, r"nonlocal_blocks: got \['res6.0'\]"),
        ("c2d_r50_32x2", {"nonlocal_blocks": 7}, "nonlocal_blocks: got 7"),
        ("c2d_r50_32x2", {"inflation": "5x1x1"}, "inflation: got '5x1x1'"),
        ("c2d_r50_32x2", {"stem": "fast"}, "stem: got 'fast'"),
        ("c2d_r50_32x2", {"norm": "layer"}, "norm: got 'layer'"),
        ("c2d_r50_32x2", {"nonlocal_norm": "layer", "nonlocal_blocks": 1}, "norm: got 'layer'"),
        ("c2d_r50_32x2", {"pool1_padding": 2}, "pool1_padding: got 2"),
        ("c2d_r50_32x2", {"clip_length": 6}, "6 frames of 224x224 is too small"),
        ("c2d_r50_32x2", {"crop": 4}, "32 frames of 4x4 is too small"),
        ("c2d_r50_32x2", {"pairwize": "gaussian"}, "got the option pairwize, expected one of name, depth"),
        ("nl_c2d_r50_32x4", {"clip_length": 28}, "has 14 positions in time in res3, expected a multiple of"),
        ("c2d_r50_32x2", {"pool2": "false"}, "pool2: got 'false', expected bool"),
        ("c2d_r50_32x2", {"crop": True}, "crop: got True, expected int"),
        ("c2d_r50_32x2", {"activation": "tanh"}, "activation: got 'tanh'"),
        ("c2d_r50_32x2", {"num_classes": 0}, "num_classes: got 0"),
        ("nl_c2d_r50_32x2", {"added": "plain"}, "added: got 'plain', expected nonlocal or residual"),
        ("c2d_r50_32x2", {"added": "residual"}, "added: got residual with nonlocal_blocks 0"),
        ("c2d_r50_32x2", {"stride_in": "conv1"}, "stride_in: got 'conv1', expected 3x3 or 1x1"),
        ("c2d_r50_32x2", {"stem_width": -1}, "stem_width: got -1, expected 0 to 4096"),
        ("c2d_r50_32x2", {"pool1_rounds_up": 1}, "pool1_rounds_up: got 1, expected bool"),
        ("c2d_r50_32x2", {"stem": ["strided"]}, r"stem: got \['strided'\], expected a word"),
        ("c2d_r50_32x2", {"nonlocal_blocks": True}, "nonlocal_blocks: got True, expected a number or a list of places"),
        ("c2d_r50_32x2", {"nonlocal_blocks": [["res3.1"]]}, "expected a number or a list of places"),
        ("c2d_r50_32x2", {"clip_length": 10**9}, "clip_length: got 1000000000, expected 1 to 10000"),
        ("c2d_r50_32x2", {"clip_length": 9999, "crop": 9999}, "clip_length, crop: got 9999 frames of 9999x9999"),
        ("c2d_r50_32x2", {"bn_eps": float("nan")}, "bn_eps: got nan"),
        ("c2d_r50_32x2", {"dropout": 2}, "dropout: got 2, expected a share from 0 to 1"),
    ],
)
def test_networks_that_cannot_be_are_refused(name: str, options: dict, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        build_model(name, **{"num_classes": 4, **options})


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (torch.zeros(1, 4, 8, 48, 48, dtype=torch.uint8), r"got clips of shape \(1, 4, 8, 48, 48\)"),
        (torch.zeros(1, 3, 8, 48, 48), "torch.float32, expected"),
        (torch.zeros(3, 8, 48, 48, dtype=torch.uint8), "expected"),
        (torch.zeros(1, 3, 6, 48, 48, dtype=torch.uint8), "6 frames of 48x48 is too small"),
        (torch.zeros(1, 3, 8, 4, 48, dtype=torch.uint8), "8 frames of 4x48 is too small"),
    ],
)
def test_clips_that_do_not_fit_are_refused(clips: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small()(clips)
    with pytest.raises(ValueError, match=message):
        small().scores(clips)


def test_long_clips_whose_frames_do_not_fill_the_groups_are_refused() -> None:
    model = build_model("nl_c2d_small_32x4", num_classes=4, crop=48)
    assert model(torch.zeros(1, 3, 32, 48, 48, dtype=torch.uint8)).shape == (1, 4)
    with pytest.raises(ValueError, match="got 14 frames, expected a multiple of group_frames = 4"):
        model(torch.zeros(1, 3, 28, 48, 48, dtype=torch.uint8))


@pytest.mark.parametrize("size", [(8, 48, 48), (9, 61, 50), (13, 85, 64)])
@pytest.mark.parametrize(
    "options",
    [{}, {"stem": "dense", "pool1_padding": 1}, {"stem": "dense", "pool2": False}, {"stem": "skipping"}],
    ids=lambda options: "-".join(map(str, options.values())) or "plain",
)
def test_any_size_that_the_strides_allow_goes_through(options: dict, size: tuple[int, int, int]) -> None:
    model = small(nonlocal_blocks=["res3.1"], inflation="3x1x1", **options).eval()
    assert tuple(model.backbone(torch.zeros(1, 3, *size)).shape[2:]) == model.backbone.final_map(*size)
    clips = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    assert model(clips).shape == (2, 7)
    torch.testing.assert_close(model.scores(clips).sum(1), torch.ones(2))


def test_network_compiles_in_one_graph() -> None:
    model = small(nonlocal_blocks=["res3.1"], inflation="3x1x1").eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    clips = torch.randint(0, 256, (2, 3, 8, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(compiled(clips), model(clips), rtol=1e-5, atol=1e-6)


def test_scores_for_several_labels_are_sigmoids_at_each_position() -> None:
    model = small(activation="sigmoid").eval()
    nn.init.normal_(model.fc.weight)
    clips = torch.randint(0, 256, (1, 3, 8, 96, 128), dtype=torch.uint8)
    features = F.avg_pool3d(model.backbone((clips / 255 - 0.45) / 0.225), model.window, stride=1).flatten(2).mT
    torch.testing.assert_close(model.scores(clips), model.fc(features).sigmoid().mean(1), rtol=1e-4, atol=1e-5)


def test_global_pool_takes_the_whole_map_of_any_clip() -> None:
    model = small(global_pool=True).eval()
    nn.init.normal_(model.fc.weight)
    clips = torch.randint(0, 256, (1, 3, 8, 96, 128), dtype=torch.uint8)
    features = model.backbone((clips / 255 - 0.45) / 0.225).mean(dim=(2, 3, 4))
    torch.testing.assert_close(model(clips), model.fc(features), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.scores(clips), model.fc(features).softmax(1), rtol=1e-4, atol=1e-5)


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


@pytest.mark.parametrize(
    "options",
    [
        {"added": "residual"},
        {"added": "residual", "inflation": "3x1x1", "norm": "affine"},
        {"nonlocal_norm": "none", "w_z_bias": False},
    ],
)
def test_whatever_is_added_starts_as_the_identity(options: dict) -> None:
    """Also where no batch normalisation has a gamma of 0. The network's own blocks are made to do something."""
    added = small(nonlocal_blocks=["res3.1", "res4.0"], **options).eval()
    plain = small(**{key: value for key, value in options.items() if key in ("inflation", "norm")}).eval()
    for name, module in plain.named_modules():
        if name.endswith("bn3"):
            nn.init.constant_(module.weight, 0.5)
    missing = added.load_state_dict(plain.state_dict(), strict=False)
    assert {name.split(".")[2].rstrip("01") for name in missing.missing_keys} == {options.get("added", "nonlocal")}
    clips = torch.randint(0, 256, (2, 3, 8, 48, 48), dtype=torch.uint8)
    torch.testing.assert_close(added(clips), plain(clips), rtol=1e-5, atol=1e-6)
    added(clips).square().sum().backward()
    learns = {n.split(".")[2] for n, p in added.backbone.named_parameters("backbone") if p.grad.abs().max() > 0}
    assert learns >= {name.split(".")[2] for name in missing.missing_keys}


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
    # The clips of the model are channels-last, those above are not: sums in another order.
    torch.testing.assert_close(model.scores(clips), logits.softmax(-1).mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(clips), logits.mean(0), rtol=1e-4, atol=1e-5)
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
        ((1, 2, 2, 1), 1, {"res3": (1,)}),
    ],
)
def test_blocks_stand_where_the_paper_puts_them(blocks: tuple, number: object, places: dict) -> None:
    assert places_for(blocks, number) == places


@pytest.mark.parametrize("kind", ["c2d", "i3d"])
def test_one_block_of_the_small_network_is_the_same_by_its_name_and_by_its_number(kind: str) -> None:
    with torch.device("meta"):
        named = build_model(f"nl_{kind}_small_8x2", num_classes=7, crop=48)
        numbered = build_model(f"{kind}_small_8x2", num_classes=7, crop=48, nonlocal_blocks=1)
    assert built_places(named) == built_places(numbered)
    assert named.options.nonlocal_blocks == numbered.options.nonlocal_blocks == 1


@pytest.mark.parametrize(
    ("blocks", "expected", "residual"),
    [
        ((1, 2, 2, 1), "expected 0 or 1 (5 and 10 are for R50 and R101 only), or places", "are 1, 2, 2, 1,"),
        ((3, 4, 6, 3), "expected 0, 1, 5 or 10, or places", "are 3, 4, 6, 3,"),
    ],
)
def test_a_number_of_blocks_that_a_network_has_no_places_for_is_answered_with_its_own(
    blocks: tuple, expected: str, residual: str
) -> None:
    with pytest.raises(ValueError, match="nonlocal_blocks: got 7") as error:
        places_for(blocks, 7)
    assert expected in str(error.value)
    assert residual in str(error.value)


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
        verify_places(small(), {"res3": (1,)}, added="nonlocal", pairwise="dot_product", axes="time")


@pytest.mark.parametrize("number", [1, 5, 10])
@pytest.mark.parametrize("depth", ["r50", "r101"])
def test_control_has_residual_blocks_where_non_local_ones_would_be(depth: str, number: int) -> None:
    with torch.device("meta"):
        nonlocal_ = build_model(f"c2d_{depth}_32x2", num_classes=4, nonlocal_blocks=number)
        control = build_model(f"i3d_{depth}_32x2", num_classes=4, nonlocal_blocks=number, added="residual")
    assert built_places(control) == residual_places(nonlocal_) == []
    places = [(place.stage, place.block, place.channels) for place in built_places(nonlocal_)]
    assert residual_places(control) == places
    assert len(places) == number
    layers = dict(control.backbone.named_modules())
    for stage, block, _ in places:  # As those of the network that have no stride and no kernel over time.
        like = {name: tensor.shape for name, tensor in layers[f"{stage}.block3"].state_dict().items()}
        own = {name: tensor.shape for name, tensor in layers[f"{stage}.residual{block}"].state_dict().items()}
        assert own == like
        assert list(layers[stage]._modules).index(f"residual{block}") == (
            list(layers[stage]._modules).index(f"block{block}") + 1
        )
    assert format_places(control).startswith(f"residual blocks in place of non-local ones: {number}\n")
    assert format_places(control).splitlines()[-1].split() == [places[-1][0], "block", str(places[-1][1]), "1024"]


def test_blocks_of_another_kind_than_asked_for_are_noticed() -> None:
    control, asked = small(nonlocal_blocks=["res3.1"], added="residual"), {"res3": (1,)}
    verify_places(control, asked, added="residual", pairwise="dot_product", axes="time")
    with pytest.raises(RuntimeError, match=r"added blocks are \[\('res3', 1, 'residual'\)\], asked for"):
        verify_places(control, asked, added="nonlocal", pairwise="dot_product", axes="time")
    with pytest.raises(RuntimeError, match="asked for"):
        verify_places(control, {"res3": (0,)}, added="residual", pairwise="dot_product", axes="time")


# Weights


def test_inflated_kernel_answers_on_equal_frames_as_the_flat_one() -> None:
    kernel, image = torch.randn(5, 3, 7, 7), torch.randn(2, 3, 20, 20)
    video = image[:, :, None].expand(-1, -1, 6, -1, -1)
    answer = F.conv3d(video, inflate(kernel, 5), padding=(0, 3, 3))
    torch.testing.assert_close(answer[:, :, 0], F.conv2d(image, kernel, padding=3), rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, dict[str, Tensor]]:
    """A torchvision ResNet-50 with random weights and statistics, and what is read of its file."""
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
    return resnet, read_foreign("torchvision", str(path)).weights


def test_c2d_from_imagenet_weights_answers_as_torchvisions_resnet(
    imagenet: tuple[nn.Module, dict[str, Tensor]],
) -> None:
    """On equal frames, with the one difference that pool1 has no padding in the released video code."""
    resnet, weights = imagenet
    model = build_model("nl_c2d_r50_8x2", num_classes=400, crop=64).eval()
    loaded = initialise(model, weights, where="file")
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


def test_i3d_from_imagenet_weights_holds_each_kernel_divided_by_its_length(
    imagenet: tuple[nn.Module, dict[str, Tensor]],
) -> None:
    """And the pixel statistics come along with the weights."""
    resnet, weights = imagenet
    model = build_model("i3d_r50_8x2", num_classes=400, crop=64)
    loaded = initialise(model, weights, where="file")
    torch.testing.assert_close(model.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(model.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))
    assert loaded.num_inflated == 1 + 3 + 2 + 3 + 1
    for kernel, flat in (
        (model.backbone.conv1.weight, resnet.conv1.weight),
        (model.backbone.get_submodule("res4.block2").conv1.weight, resnet.layer3[2].conv1.weight),
    ):
        t = kernel.shape[2]
        assert t > 1
        for plane in kernel.unbind(2):
            torch.testing.assert_close(plane, flat / t)


def test_weights_of_another_depth_are_rejected(imagenet: tuple[nn.Module, dict[str, Tensor]]) -> None:
    with torch.device("meta"):
        model = build_model("c2d_r101_8x2", num_classes=400, crop=64)
    with pytest.raises(ValueError, match=r"file: a network of another shape: got 3, 4, 6, 3 .*; ask for model=c2d_r50"):
        initialise(model, imagenet[1], where="file")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_files_that_are_no_resnet_are_rejected(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content) if content is not None else torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"file\.pth"):
        read_foreign("torchvision", str(path))


def test_frozen_affines_answer_as_the_batch_normalisations_that_they_come_from() -> None:
    """Also those of non-local blocks, which go into W_z: the way from a 32x2 network to a long-clip one."""
    torch.manual_seed(0)
    model = small(nonlocal_blocks=["res3.1"]).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.1)
    frozen = small(nonlocal_blocks=["res3.1"], norm="affine", nonlocal_norm="none").eval()
    loaded = initialise(frozen, model.state_dict(), where="file")
    assert sorted(loaded.unused) == sorted(loaded.fresh) == ["fc.bias", "fc.weight"]
    frozen.fc.load_state_dict(model.fc.state_dict())
    clips = torch.randint(0, 256, (2, 3, 8, 48, 48), dtype=torch.uint8)
    torch.testing.assert_close(frozen(clips), model(clips), rtol=1e-4, atol=1e-5)
    mixed = small(nonlocal_blocks=["res3.1"], norm="affine").eval()  # Its block keeps its batch normalisation.
    initialise(mixed, model.state_dict(), where="file")
    mixed.fc.load_state_dict(model.fc.state_dict())
    torch.testing.assert_close(mixed(clips), model(clips), rtol=1e-4, atol=1e-5)


def test_frozen_affines_are_not_trained() -> None:
    model = small(norm="affine", nonlocal_norm="none", nonlocal_blocks=["res3.1"]).train()
    assert not any(".bn" in name for name, _ in model.named_parameters())
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(torch.randint(0, 256, (2, 3, 8, 48, 48), dtype=torch.uint8)).sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert model.get_submodule("backbone.res3.nonlocal1.w_z").weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, "(8, axes=spacetime, subsample=before"),
        ({"axes": "time", "pairwise": "dot_product"}, "(8, axes=time, subsample=none"),
        ({"group_frames": 4, "subsample": "after"}, "axes=spacetime, subsample=after, group_frames=4"),
    ],
)
def test_a_printed_block_says_which_positions_see_which(options: dict, shown: str) -> None:
    assert shown in " ".join(str(NonLocalBlock(8, **options)).split()).replace("( ", "(")
