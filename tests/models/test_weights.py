"""Checkpoints of every code base, made from random numbers: imported, they answer as their own network does."""

import json
import pickle
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.weights.caffe2 import read_blobs
from nonlocal_video.models.weights.file import load_model, read_model_file, save_model
from nonlocal_video.models.weights.initialise import Imported, build_imported
from nonlocal_video.models.weights.read import FORMATS, read_foreign, read_start
from nonlocal_video.runs.weights import hash_weights
from tests.models import caffe2_oracle, mmaction2_oracle
from tests.models.standins import (
    MMACTION2_PIXELS,
    SLOWFAST_PLACES,
    frame_by_frame,
    hub_network,
    normalised,
    pyslowfast_name,
    random_clips,
    randomise,
    save_frame_by_frame,
    slowfast_settings,
    zoo_blobs,
)
from tests.small_runs import tool

CLASSES = 11
NARROW = 16
"""The width of a r50_narrow, in place of 64: all layers of a ResNet-50, with a sixteenth of its weights."""
SIZES = {"crop": 64, "clip_length": 16}


def imported(format_: str, name: str, path: Path, **changes: Any) -> Imported:
    """Read, built, written to our own file and loaded from it."""
    done = build_imported(name, read_foreign(format_, str(path)), changes=changes, where=str(path))
    out = path.with_suffix(".safetensors")
    save_model(out, done.model, origin="a test")
    return done._replace(model=load_model(out))


@torch.no_grad()
def assert_same_answers(model: Classifier, clips: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the largest logit; leaving out a scale, a padding or a pooling order moves them by 1e-2 and more."""
    error = (model(clips) - expected).abs().max() / expected.abs().max()
    assert error < 1e-5


# The released Caffe2 pickles


CAFFE2 = [
    ("c2d_r50_narrow_32x2", "org", False, {}), ("i3d_r50_narrow_8x8", "new", False, {"clip_length": 8}),
    ("nl_c2d_r50_narrow_8x8", "new", False, {"clip_length": 8}), ("nl_i3d_r50_narrow_32x2", "org", False, {}),
    ("nl_c2d_r101_32x2", "org", False, {}), ("i3d_r50_narrow_32x4", "new", True, {}),
    ("nl_i3d_r50_narrow_32x4", "new", True, {}),
    ("nl_i3d_r50_narrow_128x1", "org", True, {"clip_length": 64, "crop": 32}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "stem", "affine", "sizes"), CAFFE2, ids=[case[0] for case in CAFFE2])
def test_caffe2_network_gives_the_same_logits(
    name: str, stem: str, affine: bool, sizes: dict[str, int], tmp_path: Path
) -> None:
    sizes = {**SIZES, **sizes}
    kind, (depth, width) = name.split("_r", maxsplit=1)[0], (101, 64) if "r101" in name else (50, NARROW)
    blobs = caffe2_oracle.random_blobs(kind, depth=depth, num_classes=CLASSES, affine=affine, width=width)
    # The widest file is without it: more of the same.
    path, content = tmp_path / "model.pkl", blobs if width == 64 else caffe2_oracle.with_training_state(blobs)
    caffe2_oracle.dump_python2(content, path, nested=not affine, protocol=2, unicode_keys=True)
    done = imported("caffe2", name, path, **sizes)
    assert done.num_matched == len(blobs)
    if content is not blobs:
        assert set(read_foreign("caffe2", str(path)).left_out) == content.keys() - blobs.keys()
    clips = random_clips(sizes["clip_length"], sizes["crop"], sizes["crop"])
    group = 4 if affine and kind.startswith("nl") else None
    with torch.no_grad():
        expected = caffe2_oracle.forward(blobs, normalised(clips), kind=kind, depth=depth, stem=stem, group_res3=group)
    assert_same_answers(done.model, clips, expected)
    for name_, parameter in done.model.named_parameters():
        if name_.endswith("phi.bias"):  # Under a softmax no logit shows it.
            stage, block = name_.split(".")[1:3]
            blob = blobs[f"nonlocal_conv{stage[3:]}_{block[8:]}_phi_b"]
            assert np.array_equal(parameter.detach().numpy(), blob)


def test_caffe2_network_gives_the_released_testing_scores_on_a_larger_clip(tmp_path: Path) -> None:
    blobs = caffe2_oracle.random_blobs("nl_i3d", num_classes=CLASSES, width=NARROW)
    path = tmp_path / "model.pkl"
    caffe2_oracle.dump_python2(blobs, path, nested=True, protocol=0)
    model = imported("caffe2", "nl_i3d_r50_narrow_8x8", path, crop=64, clip_length=8).model
    clips = random_clips(8, 112, 90)
    with torch.no_grad():
        expected = caffe2_oracle.scores(blobs, normalised(clips), kind="nl_i3d", stem="new", window=(4, 2, 2))
        torch.testing.assert_close(model.scores(clips), expected, rtol=1e-4, atol=1e-6)


def test_command_writes_a_file_that_the_plain_name_takes_strictly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blobs = caffe2_oracle.random_blobs("nl_c2d", num_classes=CLASSES, width=NARROW)
    path, out, classes = tmp_path / "model.pkl", tmp_path / "new" / "model.safetensors", tmp_path / "classes.txt"
    caffe2_oracle.dump_python2(caffe2_oracle.with_training_state(blobs), path, nested=True, protocol=2)
    names = [f"class {i}" for i in range(CLASSES)]
    classes.write_text("\n".join(names))
    tool("import_weights.py", "caffe2", "nl_c2d_r50_narrow_32x2", str(path), str(out), "--classes", str(classes))
    said = capsys.readouterr().out
    assert f"{len(blobs)} tensors, all matched (0 inflated over time)" in said
    assert "non-local blocks: 5" in said
    build_model("nl_c2d_r50_narrow_32x2", num_classes=CLASSES).load_state_dict(load_file(out))
    content = read_model_file(out)
    assert (content.classes, content.origin) == (names, "caffe2: model.pkl")
    assert load_model(out).options.clip_length == 32
    with pytest.raises(SystemExit, match=r"^error: .*unknown \(backbone\.res3\.nonlocal1\.bn\.bias"):
        tool("import_weights.py", "caffe2", "c2d_r50_narrow_32x2", str(path), str(out))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_of_python_3_are_read_too(protocol: int, tmp_path: Path) -> None:
    blobs = {
        "conv1_w": np.random.default_rng(0).random((2, 3), dtype=np.float32),
        "lr": np.float32(0.5),
        "model_iter": 3,
    }
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=protocol))
    assert np.array_equal(read_blobs(str(path))["conv1_w"], blobs["conv1_w"])


@pytest.mark.parametrize("protocol", [0, 2])
def test_pickle_with_code_in_it_is_refused_and_does_not_run(protocol: int, tmp_path: Path) -> None:
    path, marker = tmp_path / "model.pkl", tmp_path / "marker"
    caffe2_oracle.malicious_pickle(path, marker, protocol=protocol)
    with pytest.raises(ValueError, match=r"model\.pkl: cannot be read as a Caffe2 pickle: it wants to run"):
        read_foreign("caffe2", str(path))
    assert not marker.exists()


# PySlowFast and pytorchvideo, held against pytorchvideo's own networks


@pytest.mark.parametrize(
    ("kind", "instantiation"), [("c2d", None), ("i3d", None), ("i3d", "softmax"), ("c2d", "dot_product")]
)
def test_pyslowfast_network_gives_the_same_logits(kind: str, instantiation: str | None, tmp_path: Path) -> None:
    """One network, the largest, is of its full width."""
    places, width = (
        SLOWFAST_PLACES if instantiation else {},
        64 if (kind, instantiation) == ("i3d", "softmax") else NARROW,
    )
    oracle = hub_network(
        kind, num_classes=CLASSES, places=places, instantiation=instantiation or "softmax", width=width
    )
    state = {pyslowfast_name(name): tensor for name, tensor in oracle.state_dict().items()}
    path = tmp_path / "checkpoint_epoch_00196.pyth"
    content = {"epoch": 195, "model_state": state, "optimizer_state": {"state": {}}}
    torch.save({**content, "cfg": slowfast_settings(instantiation or "softmax")}, path)
    name = f"{'nl_' if places else ''}{kind}_{'r50' if width == 64 else 'r50_narrow'}_8x8"
    done = imported("pyslowfast", name, path, crop=64)
    assert done.num_matched == len(state) + 2  # Mean and standard deviation come from the settings.
    clips = random_clips(8)
    assert_same_answers(done.model, clips, oracle(normalised(clips)))
    if places and width == NARROW:
        torch.save(content, path)
        with pytest.raises(ValueError, match="does not tell its pairwise function; give --set pairwise"):
            imported("pyslowfast", name, path, crop=64)


@pytest.mark.parametrize(("arch", "pool2"), [("c2d", True), ("slow_c2d", False)])
def test_pyslowfast_network_without_pooling_over_time_is_recognised(arch: str, pool2: bool, tmp_path: Path) -> None:
    oracle = hub_network("c2d", num_classes=CLASSES, places={}, width=NARROW)
    state = {pyslowfast_name(name): tensor for name, tensor in oracle.state_dict().items()}
    path = tmp_path / "checkpoint.pyth"
    torch.save({"model_state": state, "cfg": slowfast_settings("softmax", arch)}, path)
    assert imported("pyslowfast", "c2d_r50_narrow_8x8", path).model.options.pool2 is pool2


def test_pyslowfast_pickle_of_its_model_zoo_gives_the_same_logits(tmp_path: Path) -> None:
    """The names of the released pickles, the network of PySlowFast."""
    oracle = hub_network("i3d", num_classes=CLASSES, places=SLOWFAST_PLACES, width=NARROW)
    blobs = zoo_blobs(oracle)
    path = tmp_path / "I3D_NLN_8x8_R50.pkl"
    caffe2_oracle.dump_python2(blobs, path, nested=True, protocol=2)
    model = imported("pyslowfast", "nl_i3d_r50_narrow_8x8", path, crop=64, pairwise="embedded_gaussian").model
    clips = random_clips(8)
    assert_same_answers(model, clips, oracle(normalised(clips)))


@pytest.mark.parametrize("kind", ["c2d", "i3d"])
def test_pytorchvideo_network_gives_the_same_logits(kind: str, tmp_path: Path) -> None:
    oracle = hub_network(kind, num_classes=CLASSES, places={}, width=NARROW)
    path = tmp_path / "8x8.pyth"
    torch.save({"model_state": oracle.state_dict()}, path)
    model = imported("pytorchvideo", f"{kind}_r50_narrow_8x8", path, crop=64).model
    clips = random_clips(8)
    assert_same_answers(model, clips, oracle(normalised(clips)))
    larger = random_clips(8, 96, 128)
    assert_same_answers(model, larger, oracle(normalised(larger)))


# mmaction2


@pytest.mark.parametrize("mode", [None, "gaussian", "dot_product", "embedded_gaussian"])
def test_mmaction2_network_gives_the_same_logits(mode: str | None, tmp_path: Path) -> None:
    state = mmaction2_oracle.random_state(mode, num_classes=CLASSES, width=NARROW)
    path = tmp_path / "best_acc_top1_epoch_100.pth"
    settings = f"model = dict(backbone=dict(non_local_cfg=dict(sub_sample=True, use_scale=False, mode='{mode}')))"
    torch.save({"meta": {"cfg": settings, "epoch": 100}, "state_dict": state}, path)
    name = f"{'nl_' if mode else ''}i3d_r50_narrow_32x2"
    model = imported("mmaction2", name, path, **SIZES).model
    assert model.options.pairwise == {"embedded_gaussian": "embedded_gaussian_unscaled", None: "embedded_gaussian"}.get(
        mode, mode
    )
    for clips in (random_clips(), random_clips(16, 96, 128)):
        pixels = normalised(clips, *MMACTION2_PIXELS)
        with torch.no_grad():
            expected = mmaction2_oracle.forward(state, pixels, mode=mode)
        assert_same_answers(model, clips, expected)
    if mode in ("dot_product", "embedded_gaussian"):
        torch.save({"state_dict": state}, path)
        with pytest.raises(ValueError, match="does not tell its pairwise function"):
            imported("mmaction2", name, path, **SIZES)


@pytest.mark.parametrize(("backbone", "pools"), [("C2D", True), ("ResNet", False)])
def test_mmaction2_c2d_gives_the_same_logits(backbone: str, pools: bool, tmp_path: Path) -> None:
    """Its 2-D kernels look at every frame by itself; only the pooling of C2D, and the head, look along time."""
    oracle = frame_by_frame(pools=pools, num_classes=CLASSES)
    path = tmp_path / "best_acc_top1_epoch_100.pth"
    save_frame_by_frame(oracle, path, settings=f"model = dict(backbone=dict(depth=50, type='{backbone}'), ...)")
    model = imported("mmaction2", "c2d_r50_8x8", path, crop=64).model
    clips = random_clips(8, 96, 129)  # Those of 64x64 are in test_published.py.
    assert_same_answers(model, clips, oracle(normalised(clips, *MMACTION2_PIXELS)))
    save_frame_by_frame(oracle, path, settings="")
    stored, changes = read_foreign("mmaction2", str(path)), {"crop": 64, "pool2": pools}
    with pytest.raises(ValueError, match="does not tell its backbone; give --set pool2="):
        build_imported("c2d_r50_8x8", stored, changes=changes, where=str(path))
    changes["pool1_padding"] = 0 if pools else 1
    told = build_imported("c2d_r50_8x8", stored, changes=changes, where=str(path))
    assert told.model.options == model.options


# ImageNet


def test_torchvision_network_answers_on_equal_frames_as_on_the_image(tmp_path: Path) -> None:
    oracle = torchvision.models.resnet50(num_classes=1000)
    randomise(oracle)
    path = tmp_path / "resnet50.pth"
    torch.save(oracle.state_dict(), path)
    done = imported("torchvision", "c2d_r50_32x2", path, **SIZES)
    image = random_clips(1)
    pixels = normalised(image, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))[:, :, 0]
    with torch.no_grad():
        expected = oracle.eval()(pixels)
    assert_same_answers(done.model, image.expand(-1, -1, 16, -1, -1), expected)
    stored = read_foreign("torchvision", str(path))
    inflated = build_imported("i3d_r50_32x2", stored, changes=SIZES, where=str(path))
    assert inflated.num_inflated == 1 + 3 + 2 + 3 + 1
    with pytest.raises(ValueError, match=r"missing .*nonlocal"):
        build_imported("nl_c2d_r50_32x2", stored, changes=SIZES, where=str(path))


def test_released_imagenet_pickle_is_inflated(tmp_path: Path) -> None:
    blobs = caffe2_oracle.random_imagenet_blobs(width=NARROW)
    path = tmp_path / "r50_pretrain_c2_model_iter450450_clean.pkl"
    caffe2_oracle.dump_python2({**blobs, "lr": 0.01}, path, nested=False, protocol=2)
    model = imported("caffe2", "i3d_r50_narrow_32x2", path, **SIZES).model
    kernel = model.backbone.conv1.weight
    assert kernel.shape == (NARROW, 3, 5, 7, 7)
    torch.testing.assert_close(kernel.sum(2), torch.tensor(blobs["conv1_w"]))
    assert model.fc.out_features == 1000


# Bad input


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint", b"\x80\x02}q\x00(X\x05"], ids=str)
def test_files_that_are_none_are_refused(format_: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.pkl: (cannot be read|not )"):
        read_foreign(format_, str(path))


@pytest.mark.parametrize("format_", ["pyslowfast", "pytorchvideo", "mmaction2", "torchvision"])
def test_checkpoints_of_another_code_base_are_refused(format_: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"model": {"a": torch.zeros(1)}}, path)
    with pytest.raises(ValueError, match=r"model\.pth: not "):
        read_foreign(format_, str(path))


def tiny_pickle(path: Path, **changes: Any) -> Path:
    blobs = caffe2_oracle.random_blobs("c2d", num_classes=CLASSES, width=NARROW)
    blobs = {name: blob for name, blob in {**blobs, **changes}.items() if blob is not None}
    caffe2_oracle.dump_python2(blobs, path, nested=True, protocol=2)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"res4_5_branch2c_w": None}, r"1 missing \(backbone\.res4\.block5\.conv3\.weight\)"),
        ({"res4_6_branch2c_w": np.zeros((256, 64, 1, 1, 1), np.float32)}, r"1 unknown \(backbone\.res4\.block6"),
        (
            {"res3_0_branch2b_w": np.zeros((32, 32, 1, 3, 5), np.float32)},
            r"1 of another shape \(.*res3\.block0\.conv2",
        ),
        ({"surprise": np.zeros(3, np.float32)}, r"1 unknown \(surprise\)"),
        ({"pred_w": None}, "has no classifier"),
        ({"conv1_w": None}, "there is no conv1_w"),
        ({"res3_0_branch2b_w": np.zeros(3, np.int64)}, "not the blobs of a ResNet: res3_0_branch2b_w"),
    ],
)
def test_tensors_that_do_not_fit_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tiny_pickle(tmp_path / "model.pkl", **changes)
    with pytest.raises(ValueError, match=message):
        imported("caffe2", "c2d_r50_narrow_32x2", path)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("num_classes=5", "num_classes are no options here"),
        ("pool2=maybe", "pool2: got 'maybe', expected bool"),
        ("pool3=false", "got the option pool3, expected one of"),
        ("pool2", "got 'pool2', expected OPTION=VALUE"),
    ],
)
def test_command_refuses_options_that_cannot_be(
    option: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_pickle(tmp_path / "model.pkl")
    with pytest.raises(SystemExit) as exit_:
        tool("import_weights.py", "caffe2", "c2d_r50_narrow_32x2", str(path), str(tmp_path / "out"), "--set", option)
    assert exit_.value.code not in (0, None)
    assert message in f"{exit_.value.code}{capsys.readouterr().err}"


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    path = tiny_pickle(tmp_path / "model.pkl")
    done = imported("caffe2", "c2d_r50_narrow_32x2", path)
    out = path.with_suffix(".safetensors")
    assert done.num_matched > 0
    for file in (path, out):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match="cannot be read as a Caffe2 pickle"):
        read_foreign("caffe2", str(path))
    with pytest.raises(ValueError, match="cannot be read as a safetensors file"):
        load_model(out)


# Our own files


def small(**options: Any) -> Classifier:
    return build_model("nl_i3d_small_8x2", num_classes=3, crop=48, **options).eval()


@pytest.mark.parametrize(
    "options",
    [
        {"pairwise": "concatenation", "axes": "space", "subsample": "none"},
        {"norm": "affine", "nonlocal_norm": "none", "nonlocal_blocks": ["res3.0", "res4.1"], "bn_eps": 1e-3},
        {"stem": "dense", "pool1_padding": 1, "pool2": False, "inflation": "3x3x3", "res3_group_frames": 4},
        {"stem": "skipping", "subsample": "after", "w_z_bias": False, "global_pool": True, "dropout": 0.1},
        {"added": "residual", "nonlocal_blocks": ["res3.0", "res4.1"]},
        {"depth": "r50_narrow", "nonlocal_blocks": 5},
        {"stem_width": 24, "stride_in": "1x1", "pool1_rounds_up": True},
    ],
)
def test_file_rebuilds_its_network_whatever_the_options(options: dict[str, Any], tmp_path: Path) -> None:
    model = small(**options)
    model.mean.uniform_(0.3, 0.5)
    randomise(model)
    save_model(tmp_path / "model.safetensors", model, origin="a test", classes=["a", "b", "c"])
    again = load_model(tmp_path / "model.safetensors")
    assert not again.training
    clips = random_clips(8, 50, 61)
    assert torch.equal(again(clips), model(clips))
    assert torch.equal(again.scores(clips), model.scores(clips))


def test_file_from_before_residual_blocks_could_be_added_still_loads(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", small()
    save_model(path, model, origin="a test")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    options = json.loads(metadata["options"])
    assert options.pop("added") == "nonlocal"
    save_file(load_file(path), path, {**metadata, "options": json.dumps(options)})
    clips = random_clips(8, 48, 48)
    assert torch.equal(load_model(path)(clips), model(clips))


PLACES = ["res3.1"] * 100_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 10**12}, "num_classes: got 1000000000000, expected 1 to 1000000"),
        ({"num_classes": 900_000}, r"says num_classes 900000, but its fc\.weight has 3"),
        ({"num_classes": 1 << 4000}, "num_classes: got a number of 4001 bits"),
        ({"stem_width": 10**9}, "stem_width: got 1000000000, expected 0 to 4096"),
        ({"stem_width": 4096}, r"says stem_width 4096, but its backbone\.conv1\.weight has 16"),
        ({"clip_length": 10**9}, "clip_length: got 1000000000"),
        ({"crop": -1}, "crop: got -1, expected 1 to 10000"),
        ({"clip_length": 9000, "crop": 9000}, "9000 frames of 9000x9000"),
        ({"res3_group_frames": 10**9}, "res3_group_frames: got 1000000000"),
        ({"nonlocal_blocks": PLACES}, "nonlocal_blocks: got 100000 places, expected different places from res2"),
        ({"nonlocal_blocks": 10**30}, "nonlocal_blocks: got 1000000000000"),
        ({"nonlocal_blocks": {"res3": [1]}}, "nonlocal_blocks: got {'res3': .*, expected a number or a list of places"),
        ({"depth": ["r50"]}, "depth: got .*, expected a word"),
        ({"depth": "r50" * 10**6}, r"depth: got 'r50r50.*\.\.\., expected"),
        ({"depth": "r50"}, "weights of another network: "),
        ({"pairwise": {"_target_": "os.system"}}, "its pairwise is no name of a function"),
        ({"pairwise": "p" * 10**6}, "its pairwise is no name of a function"),
        ({"bn_eps": float("nan")}, "bn_eps: got nan"),
        ({"x" * 10**6: 1}, "written by another version of this project"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_impossible_sizes_in_a_file_are_refused_before_anything_is_built(
    changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, builds = forged(tmp_path, options=changes), "another network" in message
    if not builds:
        monkeypatch.setattr("nonlocal_video.models.zoo.ResNet3d", lambda *_, **__: pytest.fail("it was built"))
    with pytest.raises(ValueError, match=rf"model\.safetensors: .*{message}") as error:
        load_model(path)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": "{"}, "damaged: what it says of itself cannot be read"),
        ({"options": "[" * 100_000}, "damaged: what it says of itself cannot be read"),
        ({"options": "[]"}, "damaged: expected options"),
        ({"classes": "[1, 2, 3]"}, "damaged: expected options, names of classes"),
        ({"classes": json.dumps(["a"] * 10**6)}, "damaged: has 1000000 names of classes, expected 3"),
        ({"published": "[1]"}, "damaged: expected options"),
        ({"published": '{"top1": "high"}'}, "damaged: expected options"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_files_that_say_impossible_things_of_themselves_are_refused(
    changes: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = forged(tmp_path, metadata=changes)
    with pytest.raises(ValueError, match=rf"model\.safetensors: {message}"):
        load_model(path)


def test_an_impossible_header_is_that_of_a_safetensors_file(tmp_path: Path) -> None:
    path = forged(tmp_path)
    path.write_bytes(b"\xff" * 6 + b"\0\0" + path.read_bytes()[8:])
    with pytest.raises(ValueError, match=r"model\.safetensors: cannot be read as a safetensors file: .*[Hh]eader"):
        read_start(str(path))


@cache
def small_file() -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a small network's file and what it says of itself."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(path, small(), origin="a test")
        with safe_open(path, framework="pt") as file:
            return load_file(path), file.metadata()


def forged(folder: Path, *, options: dict[str, Any] | None = None, metadata: dict[str, str] | None = None) -> Path:
    """A file of a small network that says something else of itself than is in it."""
    path, (tensors, said) = folder / "model.safetensors", small_file()
    own = {**json.loads(said["options"]), **(options or {})}
    save_file(tensors, path, {**said, "options": json.dumps(own), **(metadata or {})})
    return path


def test_hash_of_a_network_is_that_of_before_it_had_other_widths() -> None:
    def hash_of(**options: Any) -> str:
        model = build_model("c2d_small_8x2", num_classes=7, crop=48, **options)
        for tensor in model.state_dict().values():
            tensor.fill_(1)
        return hash_weights(model)

    assert hash_of() == "990589942ebf"
    assert hash_of(stride_in="1x1") != "990589942ebf"


class Mean(nn.Module):
    """A pairwise function of one's own."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        return g.mean(dim=1, keepdim=True).expand(-1, theta.shape[1], -1)


def test_file_of_a_network_with_a_function_of_ones_own_asks_for_it(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", small(pairwise=Mean)
    save_model(path, model, origin="a test")
    with pytest.raises(ValueError, match=r"model\.safetensors: pairwise: got '.*test_weights\.Mean'"):
        load_model(path)
    clips = random_clips(8, 48, 48)
    assert torch.equal(load_model(path, pairwise=Mean)(clips), model(clips))


def test_safetensors_files_of_others_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"not a file that this project wrote"):
        load_model(tmp_path / "model.safetensors")
