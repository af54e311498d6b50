"""Training starts from files of every kind, made from random numbers; the file is told by its content, not its name."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.weights.file import save_model
from nonlocal_video.models.weights.read import read_start
from nonlocal_video.models.weights.start import start_from
from tests.models import caffe2_oracle


def small(name: str = "nl_i3d_small_8x2", *, num_classes: int = 3, **options: object) -> Classifier:
    """A network whose every tensor is random, so that no branch is zero and no two networks are equal."""
    model = build_model(name, num_classes=num_classes, crop=48, **options).eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if tensor.is_floating_point() and key not in ("mean", "std"):
                tensor.uniform_(0.5, 1.5) if key.endswith("running_var") else tensor.normal_(std=0.1)
    return model


def checkpoint(path: Path, model: nn.Module, *, precise_bn: dict[str, Tensor] | None = None, **options: bool) -> str:
    content = {"format": 2, "step": 7, "model": model.state_dict(), "precise_bn": precise_bn, "optimizer": {}}
    torch.save(content, path, **options)
    return str(path)


@torch.no_grad()
def features(model: Classifier, length: int = 8) -> Tensor:
    """Of all but the classifier, in testing mode, for a fixed clip."""
    clips = torch.randint(0, 256, (2, 3, length, 48, 48), generator=torch.Generator().manual_seed(0)).float()
    return model.eval().backbone((clips / 255 - model.mean) / model.std)


# Each kind of file


def test_checkpoint_gives_all_but_the_classifier(tmp_path: Path) -> None:
    trained, model = small(), small(num_classes=5)
    fresh = model.fc.weight.clone()
    lines = start_from(model, checkpoint(tmp_path / "weights.bin", trained))
    assert torch.equal(features(model), features(trained))
    assert torch.equal(model.fc.weight, fresh)
    num_tensors = len(trained.state_dict()) - 2
    assert lines == [
        f"started from {tmp_path}/weights.bin, a checkpoint after 7 steps: {num_tensors} tensors",
        "fresh classifier: 5 classes",
    ]


def test_checkpoint_with_precise_statistics_gives_these(tmp_path: Path) -> None:
    trained, model = small(), small()
    statistics = {
        name: tensor + 0.25
        for name, tensor in trained.state_dict().items()
        if name.endswith(("running_mean", "running_var"))
    }
    (line, *_) = start_from(model, checkpoint(tmp_path / "step.pt", trained, precise_bn=statistics))
    assert "with its precise batch normalisation" in line
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in statistics.items())
    assert torch.equal(state["backbone.conv1.weight"], trained.state_dict()["backbone.conv1.weight"])


def test_file_of_this_project_is_known_by_its_content(tmp_path: Path) -> None:
    trained, model = small(), small(num_classes=5)
    save_model(tmp_path / "weights.pkl", trained, origin="run x")
    start = read_start(f"{tmp_path}/weights.pkl")
    assert (start.kind, start.options["subsample"]) == ("a network of this project (run x)", "before")
    start_from(model, f"{tmp_path}/weights.pkl")
    assert torch.equal(features(model), features(trained))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_torchvision_file_is_inflated_with_its_own_pixel_statistics(tmp_path: Path, zipped: bool) -> None:
    resnet = torchvision.models.resnet50()
    path = tmp_path / "weights.pkl"
    torch.save(resnet.state_dict(), path, _use_new_zipfile_serialization=zipped)
    model = build_model("nl_i3d_r50_8x8", num_classes=5, crop=64)
    lines = start_from(model, str(path))
    kernel = model.backbone.get_submodule("res4.block2").conv1.weight
    torch.testing.assert_close(kernel.sum(dim=2), resnet.layer3[2].conv1.weight[:, :, None].sum(dim=2))
    assert kernel.shape[2] == 3
    assert lines == [
        # 53 convolutions, 53 batch normalisations of 5 tensors, mean and standard deviation; conv1 and the nine first
        # kernels of I3D's blocks are longer than a frame.
        f"started from {path}, a network of images by torchvision's names: {53 * 6 + 2} tensors, 10 inflated over time",
        "fresh classifier: 5 classes",
        "fresh non-local blocks: res3.1, res3.3, res4.1, res4.3, res4.5",
        "mean and standard deviation of pixels are the file's: 0.485, 0.456, 0.406, 0.229, 0.224, 0.225",
        "note: the file cannot tell how its network was built: it is taken for model.stride_in=3x3 "
        "model.pool1_rounds_up=false; Caffe's ResNets have stride_in=1x1 and pool1_rounds_up=true",
    ]


def test_released_imagenet_pickle_is_inflated(tmp_path: Path) -> None:
    blobs, path = caffe2_oracle.random_imagenet_blobs(), tmp_path / "weights.pth"
    caffe2_oracle.dump_python2({**blobs, "lr": 0.01}, path, nested=False, protocol=2)
    model = build_model("i3d_r50_8x8", num_classes=5, crop=64)
    lines = start_from(model, str(path))
    torch.testing.assert_close(model.backbone.conv1.weight.sum(dim=2), torch.tensor(blobs["conv1_w"]))
    assert model.mean.unique().tolist() == pytest.approx([0.45])
    assert lines == [
        f"started from {path}, a Caffe2 network of images: {53 * 5} tensors, 10 inflated over time",
        "fresh classifier: 5 classes",
    ]


def test_released_video_pickle_starts_a_long_clip_network(tmp_path: Path) -> None:
    blobs, path = caffe2_oracle.random_blobs("i3d", num_classes=11), tmp_path / "weights"
    caffe2_oracle.dump_python2(caffe2_oracle.with_training_state(blobs), path, nested=True, protocol=2)
    model = build_model("nl_i3d_r50_32x4", num_classes=5, crop=64)
    lines = start_from(model, str(path))
    layer = model.backbone.get_submodule("res5.block1.bn3")
    head = "res5_1_branch2c_bn"
    scale = blobs[f"{head}_s"] / (blobs[f"{head}_riv"] + 1e-5) ** 0.5
    torch.testing.assert_close(layer.weight, torch.tensor(scale))
    torch.testing.assert_close(layer.bias, torch.tensor(blobs[f"{head}_b"] - blobs[f"{head}_rm"] * scale))
    assert lines[0].endswith(f": {53 * 3} tensors, 53 batch normalisations became frozen affines")
    assert lines[2] == "fresh non-local blocks: res3.1, res3.3, res4.1, res4.3, res4.5"


# What is told


def test_long_clip_network_with_fresh_blocks_starts_as_the_one_without(tmp_path: Path) -> None:
    """As the released scripts start it: W_z = 0 makes each block the identity. To 1e-5 of the largest feature."""
    trained, model = small("i3d_small_8x8"), build_model("nl_i3d_small_32x4", num_classes=3, crop=48)
    start_from(model, checkpoint(tmp_path / "step.pt", trained))
    expected = features(trained, length=32)
    assert (features(model, length=32) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("clip", ["8x2", "32x4"])
def test_residual_blocks_in_place_of_non_local_ones_are_fresh_and_told(clip: str, tmp_path: Path) -> None:
    """The control starts as its parent does, from a network without blocks, and as that one answers."""
    trained = small(f"i3d_small_{clip}" if clip == "8x2" else "i3d_small_8x8")
    options = {"nonlocal_blocks": ["res3.1", "res4.0"], "added": "residual"}
    model = build_model(f"i3d_small_{clip}", num_classes=3, crop=48, **options)
    lines = start_from(model, checkpoint(tmp_path / "step.pt", trained))
    assert "fresh residual blocks in place of non-local ones: res3.1, res4.0" in lines
    length = int(clip.partition("x")[0])
    expected = features(trained, length=length)
    assert (features(model, length=length) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_tensors_without_a_place_are_told(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "step.pt", small())
    lines = start_from(small("i3d_small_8x2"), path)
    assert lines[2].startswith("unused: ")
    assert "backbone.res3.nonlocal1." in lines[2]
    # A block with a batch normalisation of its own that the file lacks: its gamma of 0 would switch the block off.
    without = checkpoint(tmp_path / "without.pt", small(nonlocal_norm="none"))
    assert "fresh in other non-local blocks: 4 tensors (backbone.res3.nonlocal1.bn.weight," in " ".join(
        start_from(small(), without)
    )


def test_options_that_no_tensor_shows_are_compared(tmp_path: Path) -> None:
    path = f"{tmp_path}/model.safetensors"
    save_model(path, small(bn_eps=1.0000001e-5, dropout=0.1), origin="a test")
    assert not [line for line in start_from(small(), path) if "note" in line]
    other = small(subsample="after", pool1_padding=1)
    assert [line for line in start_from(other, path) if "note" in line] == [
        f"note: model.pool1_padding is 1, but 0 in {path}",
        f"note: model.subsample is after, but before in {path}",
    ]
    save_model(
        path, small("i3d_small_8x2"), origin="a test"
    )  # Its options of blocks that it does not have say nothing.
    assert not [line for line in start_from(small(subsample="after"), path) if "note" in line]


# Files that are none


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a Caffe2 pickle"),
        (b"not weights", "cannot be read as a Caffe2 pickle"),
        (b"PK\x03\x04 but no archive", "cannot be read as a file of weights"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "not a network: it is empty"),
        ({"state_dict": {"a": torch.zeros(1)}, "meta": {}}, r"not a network that .*: there are a \(1,\) in state_dict"),
        ([torch.zeros(1)], "not a dictionary of tensors but a list"),
    ],
    ids=["empty", "text", "zip", "safetensors of others", "another code base", "a list"],
)
def test_other_files_are_refused_with_what_is_accepted(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    expected = rf"weights\.pth: {message}.*; expected a checkpoint of a run.*tools/import_weights\.py"
    with pytest.raises(ValueError, match=expected):
        read_start(str(path))


@pytest.mark.parametrize("kind", ["checkpoint", "safetensors", "legacy"])
def test_truncated_files_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights"
    if kind == "safetensors":
        save_model(path, small(), origin="a test")
    else:
        checkpoint(path, small(), _use_new_zipfile_serialization=kind == "checkpoint")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="weights: cannot be read as a"):
        read_start(str(path))


def test_absent_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.pt"):
        with pytest.raises(ValueError, match="no such file of weights"):
            read_start(str(path))


@pytest.mark.parametrize("protocol", [0, 2])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, protocol: int) -> None:
    path, marker = tmp_path / "weights.pt", tmp_path / "marker"
    caffe2_oracle.malicious_pickle(path, marker, protocol=protocol)
    with pytest.raises(ValueError, match="it wants to run"):
        read_start(str(path))
    assert not marker.exists()
