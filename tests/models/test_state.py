"""Checkpoints that people have: wrapped, averaged, with objects beside the weights, by other code bases' names."""

import argparse
import re
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.weights.file import save_model
from nonlocal_video.models.weights.read import read_foreign, read_start
from nonlocal_video.models.weights.start import start_from
from nonlocal_video.models.weights.torch_file import read_torch_file
from tests.models.others import named_by
from tests.models.standins import random_clips, randomise, slowfast_settings

State = dict[str, Tensor]


def network(name: str = "c2d_small_8x2", **options: Any) -> Classifier:
    model = build_model(name, num_classes=3, crop=48, **options)
    randomise(model)
    return model.eval()


@pytest.fixture(scope="module")
def image_network() -> Classifier:
    return network()


@pytest.fixture(scope="module")
def image_state(image_network: Classifier) -> State:
    """By torchvision's names."""
    return named_by("torchvision", image_network)


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def kernel_of(path: Path, part: str | None = None) -> Tensor:
    return read_start(str(path), part).weights["backbone.res3.block1.conv2.weight"]


# Wrappers

WRAPPED: dict[str, Callable[[State], Any]] = {
    "DDP": lambda s: prefixed("module.", s),
    "compiled": lambda s: prefixed("_orig_mod.", s),
    "DDP of a compiled one": lambda s: prefixed("module._orig_mod.", s),
    "compiled stages": lambda s: {name.replace("layer1.", "layer1._orig_mod."): tensor for name, tensor in s.items()},
    "FSDP": lambda s: prefixed("_fsdp_wrapped_module.", s),
    "torchvision's reference": lambda s: {"model": s, "optimizer": {"state": {}, "param_groups": []}, "epoch": 1},
    "the ImageNet example": lambda s: {"epoch": 90, "arch": "resnet50", "state_dict": prefixed("module.", s)},
    "Lightning": lambda s: {"epoch": 3, "state_dict": {**prefixed("model.", s), "loss.weight": torch.ones(3)}},
    "two deep": lambda s: {"checkpoint": {"model_state_dict": s}},
    "a detector": lambda s: {"model": {**prefixed("backbone.body.", s), "rpn.head.weight": torch.ones(3)}},
    "mmpretrain": lambda s: {"state_dict": {**prefixed("backbone.", s), "head.fc.weight": torch.ones(3, 3)}},
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_network_is_found_in_its_wrappings(
    wrapped: str, image_network: Classifier, image_state: State, tmp_path: Path
) -> None:
    torch.save(WRAPPED[wrapped](image_state), tmp_path / "w.pth")
    start = read_start(f"{tmp_path}/w.pth")
    for name, tensor in image_network.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(start.weights[name], tensor.squeeze(2) if tensor.ndim == 5 else tensor)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}], ids=["bare", "timm"])
def test_safetensors_of_anybody_is_read(metadata: dict[str, str] | None, image_state: State, tmp_path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in image_state.items()}, tmp_path / "w.safetensors", metadata)
    assert torch.equal(kernel_of(tmp_path / "w.safetensors"), image_state["layer2.1.conv2.weight"])
    weights = read_foreign("torchvision", f"{tmp_path}/w.safetensors").weights
    assert weights.keys() >= {"fc.weight", "backbone.conv1.weight"}


def test_state_dict_of_this_project_starts_one(tmp_path: Path) -> None:
    trained, model = network("nl_i3d_small_8x2"), build_model("nl_i3d_small_8x2", num_classes=5, crop=48).eval()
    torch.save({"state_dict": prefixed("module.", trained.state_dict())}, tmp_path / "w.pth")
    lines = start_from(model, f"{tmp_path}/w.pth")
    clips = random_clips(8, 48, 48)
    assert torch.equal(model.features(clips), trained.features(clips))
    assert lines[0].startswith(f"started from {tmp_path}/w.pth, a state dict of this project: ")


# Copies


def average(state: State) -> State:
    return {name: tensor * 2 for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("content", "taken", "other"),
    [
        (lambda s: {"model": s, "model_ema": {"n_averaged": torch.tensor(3), **prefixed("module.", average(s))}},
         "model", "model_ema"),
        (lambda s: {"state_dict_ema": average(s), "state_dict": s, "arch": "resnet50"}, "state_dict", "state_dict_ema"),
        (lambda s: {"state_dict": {**prefixed("ema_model.", average(s)), **prefixed("model.", s)}},
         "state_dict.model", "state_dict.ema_model"),
    ],
    ids=["torchvision", "timm", "Lightning"],
)  # fmt: skip
def test_average_beside_the_weights_is_told_and_can_be_taken(
    content: Callable[[State], Any], taken: str, other: str, image_state: State, tmp_path: Path
) -> None:
    torch.save(content(image_state), tmp_path / "w.pth")
    kernel, path = image_state["layer2.1.conv2.weight"], f"{tmp_path}/w.pth"
    assert torch.equal(kernel_of(tmp_path / "w.pth"), kernel)
    assert torch.equal(kernel_of(tmp_path / "w.pth", other), 2 * kernel)
    lines = start_from(network(), path)
    assert f"of the networks in the file {taken} is taken, not {other}: init.part=NAME takes another" in lines
    lines = start_from(network(), path, part=other)
    assert f"of the networks in the file {other} is taken, not {taken}: init.part=NAME takes another" in lines
    with pytest.raises(ValueError, match=rf"got the part 'emma', expected one of its networks: .*{other}.*--part NAME"):
        read_start(path, "emma")


def test_average_alone_is_taken_and_of_equals_one_has_to_be_named(image_state: State, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model_ema": average(image_state)}, path)
    assert torch.equal(kernel_of(path), 2 * image_state["layer2.1.conv2.weight"])
    both = {**prefixed("module.encoder_q.", image_state), **prefixed("module.encoder_k.", average(image_state))}
    torch.save({"state_dict": both}, path)
    names = "state_dict.encoder_q, state_dict.encoder_k"
    with pytest.raises(
        ValueError, match=rf"holds 2 networks: {names}; choose one by init\.part=NAME in training, --part"
    ):
        read_start(str(path))
    assert torch.equal(kernel_of(path, "state_dict.encoder_k"), 2 * image_state["layer2.1.conv2.weight"])


def test_files_of_one_network_have_no_parts(tmp_path: Path, image_state: State) -> None:
    torch.save({"format": 2, "step": 7, "model": network().state_dict(), "precise_bn": None}, tmp_path / "step.pt")
    with pytest.raises(ValueError, match="got the part 'model', expected none: the file holds one network"):
        read_start(f"{tmp_path}/step.pt", "model")


# What cannot be weights

KERNEL = "layer1.0.conv2.weight"
NO_WEIGHTS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "codes of a quantised network": (lambda x: (20 * x).to(torch.int8), "got numbers of torch.int8"),
    "float8": (lambda x: x.to(torch.float8_e4m3fn), "got numbers of torch.float8_e4m3fn"),
    "complex": (lambda x: x.to(torch.complex64), "got numbers of torch.complex64"),
    "sparse": (lambda x: x.to_sparse(), "torch.sparse_coo"),
    "without numbers": (lambda x: x.to("meta"), "on meta"),
    "one number for terabytes": (lambda x: torch.zeros(1).expand(10**6, 10**6, 3, 3), "holds fewer numbers"),
    "not finite": (lambda x: x * torch.nan, "expected finite weights"),
}


@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_numbers_that_cannot_be_weights_are_refused(kind: str, image_state: State, tmp_path: Path) -> None:
    change, message = NO_WEIGHTS[kind]
    torch.save({"model": {**image_state, KERNEL: change(image_state[KERNEL])}}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=rf"w\.pth: {KERNEL}: .*{re.escape(message)}"):
        read_start(f"{tmp_path}/w.pth")


@pytest.mark.parametrize(
    "damage",
    [{"model": None}, {"precise_bn": 3}, {"facts": []}, {"facts": {"options": 5}}, {"model": {"a": "b"}}],
    ids=str,
)
def test_checkpoint_with_parts_of_another_kind_is_named(damage: dict[str, Any], tmp_path: Path) -> None:
    whole = {"format": 2, "step": 3, "model": network().state_dict(), "precise_bn": None, "facts": {"options": {}}}
    torch.save({**whole, **damage}, tmp_path / "step.pt")
    with pytest.raises(ValueError, match=r"step\.pt: (damaged: a checkpoint whose|a: got str, expected a tensor)"):
        read_start(f"{tmp_path}/step.pt")


@pytest.mark.parametrize("beside", ["grads", "momentum_buffer", "exp_avg"])
def test_what_lies_beside_an_average_is_not_taken_for_the_network(
    beside: str, image_state: State, tmp_path: Path
) -> None:
    torch.save({"model_ema": image_state, beside: average(image_state)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=f"holds 2 networks: model_ema, {beside}; choose one"):
        read_start(f"{tmp_path}/w.pth")


def test_words_of_a_file_do_not_reach_the_terminal_as_they_are(tmp_path: Path) -> None:
    model = build_model("nl_i3d_small_8x2", num_classes=5, crop=48)
    save_model(tmp_path / "w.safetensors", model, origin="x\n\x1b[1A\x1b[2Kunused: 0")
    assert all(line.isprintable() for line in start_from(model, f"{tmp_path}/w.safetensors"))


# Objects beside the weights


@pytest.fixture
def somebody() -> Iterator[types.ModuleType]:
    """A package with classes of all kinds, which is gone when the file is read."""
    module = types.ModuleType("somebody")
    for name, bases in {"History": (), "Settings": (dict,), "Slots": ()}.items():
        content = {"__slots__": ("a",)} if name == "Slots" else {}
        setattr(module, name, type(name, bases, {**content, "__module__": "somebody", "__qualname__": name}))
    sys.modules["somebody"] = module
    yield module
    sys.modules.pop("somebody", None)


def save_with_objects(path: Path, state: State, somebody: Any, *, zipped: bool) -> None:
    history = somebody.History()
    history.values, history.lr = np.arange(3.0), np.float64(0.1)
    content = {
        "state_dict": state,
        "message_hub": {"loss": history, "best": np.float64(0.7), "seen": defaultdict(list, a=[1])},
        "args": argparse.Namespace(model="resnet50", path=Path("x")),
        "settings": somebody.Settings(a=somebody.Settings(b=1)),
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    del sys.modules["somebody"]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_objects_beside_the_weights_are_left_out_and_told(
    zipped: bool, image_state: State, somebody: Any, tmp_path: Path
) -> None:
    save_with_objects(tmp_path / "w.pth", image_state, somebody, zipped=zipped)
    start = read_start(f"{tmp_path}/w.pth")
    assert torch.equal(start.weights["backbone.conv1.weight"], image_state["conv1.weight"])
    assert {"message_hub", "objects of somebody.History", "objects of argparse.Namespace"} <= set(start.left_out)
    assert "somebody" not in sys.modules
    assert "left out of the file: message_hub, args, settings, ..." in start_from(network(), f"{tmp_path}/w.pth")


def test_objects_that_cannot_be_left_out_are_named_with_what_to_do(
    image_state: State, somebody: Any, tmp_path: Path
) -> None:
    """An object with slots takes no items, a dictionary of a class of its own no state: one file of both."""
    slots = somebody.Slots()
    slots.a = 1
    torch.save({"state_dict": image_state, "a": slots, "b": somebody.Settings(c=1)}, tmp_path / "w.pth")
    del sys.modules["somebody"]
    line = r"it holds objects \(.*somebody\.S.*python -c \"import torch; torch\.save\(torch\.load\('.*w\.pth'"
    with pytest.raises(ValueError, match=line) as error:
        read_start(f"{tmp_path}/w.pth")
    assert "two options" not in str(error.value)


def test_reader_of_tensors_alone_names_the_object(image_state: State, somebody: Any, tmp_path: Path) -> None:
    torch.save({"state_dict": image_state, "a": somebody.History()}, tmp_path / "w.pth")
    message = r"w\.pth: cannot be read as a file of weights: it holds an object of somebody\.History, which cannot be"
    with pytest.raises(ValueError, match=message):
        read_torch_file(tmp_path / "w.pth")


class Starts:
    def __init__(self, call: Callable[..., Any], *arguments: str) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return self.call, self.arguments


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_nothing_that_a_file_names_is_called(zipped: bool, image_state: State, tmp_path: Path) -> None:
    import os
    import subprocess

    marker = tmp_path / "marker"
    save = {"_use_new_zipfile_serialization": zipped}
    torch.save({"a": Starts(os.system, f"touch {marker}"), "model": image_state}, tmp_path / "w.pth", **save)
    with pytest.raises(ValueError, match=r"w\.pth: cannot be read as a file of weights: it wants to run \w+\.system"):
        read_start(f"{tmp_path}/w.pth")
    for call, text in ((exec, f"open({str(marker)!r}, 'w')"), (subprocess.getoutput, f"touch {marker}")):
        torch.save({"a": Starts(call, text), "model": image_state}, tmp_path / "w.pth", **save)
        assert torch.equal(kernel_of(tmp_path / "w.pth"), image_state["layer2.1.conv2.weight"])
    assert not marker.exists()


class Wrapper(nn.Module):
    def __init__(self, state: State) -> None:
        super().__init__()
        for name, tensor in state.items():
            *parts, last = name.split(".")
            module: nn.Module = self
            for part in parts:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module._modules[part]
            kind = nn.Parameter(tensor.clone()) if last in ("weight", "bias") else tensor
            module.register_parameter(last, kind) if isinstance(kind, nn.Parameter) else module.register_buffer(
                last, kind
            )


def test_module_that_was_saved_as_an_object_is_read_as_its_state_dict(image_state: State, tmp_path: Path) -> None:
    torch.save({"model": Wrapper(image_state), "epoch": 3}, tmp_path / "w.pth")
    start = read_start(f"{tmp_path}/w.pth")
    expected = {"mean", "std", *(f"backbone.{name}" for name in ("conv1.weight", "res5.block0.bn3.running_var"))}
    assert start.weights.keys() >= expected
    assert torch.equal(start.weights["backbone.bn1.running_mean"], image_state["bn1.running_mean"])


# Other code bases


def test_trained_mmaction2_file_with_its_history_starts_a_network(somebody: Any, tmp_path: Path) -> None:
    """As mmengine writes it with an EMA hook: the average in state_dict, the weights without it in ema_state_dict."""
    options = {"subsample": "after", "pairwise": "dot_product", "stem": "skipping", "pool1_padding": 1}
    trained, model = network("nl_i3d_small_8x2", **options), build_model("nl_i3d_small_8x2", num_classes=5, crop=48)
    state = named_by("mmaction2", trained)
    settings = "model = dict(backbone=dict(non_local_cfg=dict(sub_sample=True, use_scale=False, mode='dot_product')))"
    hub = {"log_scalars": {"train/loss": somebody.History()}}
    content = {"meta": {"cfg": settings, "epoch": 100}, "message_hub": hub, "state_dict": state, "optimizer": {}}
    torch.save({**content, "ema_state_dict": {"steps": torch.tensor(9), **prefixed("module.", average(state))}},
               tmp_path / "epoch_100.pth")  # fmt: skip
    del sys.modules["somebody"]
    lines = start_from(model, f"{tmp_path}/epoch_100.pth")
    assert torch.equal(model.backbone.conv1.weight, trained.backbone.conv1.weight)
    assert "mmengine writes the moving average to state_dict" in lines[1]
    notes = [line.partition(f" in {tmp_path}")[0] for line in lines if line.startswith("note")]
    assert notes == [
        "note: model.stem is strided, but skipping", "note: model.pool1_padding is 0, but 1",
        "note: model.pairwise is embedded_gaussian, but dot_product", "note: model.subsample is before, but after",
        "note: model.w_z_bias is True, but False",
    ]  # fmt: skip


def test_pyslowfast_file_starts_a_network(tmp_path: Path) -> None:
    trained, model = network("nl_i3d_small_8x8"), build_model("nl_i3d_small_8x8", num_classes=5, crop=48)
    content: dict[str, Any] = {"epoch": 9, "model_state": named_by("pyslowfast", trained), "optimizer_state": {}}
    torch.save(content, tmp_path / "w.pyth")
    lines = start_from(model, f"{tmp_path}/w.pyth")
    assert torch.equal(model.backbone.conv1.weight, trained.backbone.conv1.weight)
    assert lines[0].startswith(f"started from {tmp_path}/w.pyth, a network of PySlowFast: ")
    assert lines[-1].endswith("it is taken for model.pairwise=embedded_gaussian")
    settings = slowfast_settings("softmax") + "RESNET: {STRIDE_1X1: true}\n"
    torch.save({**content, "cfg": settings}, tmp_path / "w.pyth")
    (note,) = [line for line in start_from(model, f"{tmp_path}/w.pyth") if "stride_in" in line]
    assert note == f"note: model.stride_in is 3x3, but 1x1 in {tmp_path}/w.pyth"


def test_import_of_a_file_as_another_code_bases_says_the_line_to_type(image_state: State, tmp_path: Path) -> None:
    torch.save({"model": image_state}, tmp_path / "w.pth")
    line = rf"python tools/import_weights\.py torchvision MODEL {tmp_path}/w\.pth OUT\.safetensors"
    for format_ in ("mmaction2", "pyslowfast", "pytorchvideo"):
        with pytest.raises(ValueError, match=line):
            read_foreign(format_, f"{tmp_path}/w.pth")


@pytest.mark.parametrize("best", [False, True])
def test_file_of_which_only_a_tensor_is_left_is_read_as_far_as_it_goes(
    best: bool, somebody: Any, tmp_path: Path
) -> None:
    content: dict[str, Any] = {
        "meta": {"cfg": "x"},
        "state_dict": {"backbone.conv1.conv.weight": torch.ones(64, 3, 5, 7, 7)},
    }
    content |= {"best": np.float64(0.7)} if best else {"message_hub": {"log_scalars": {"loss": somebody.History()}}}
    torch.save(content, tmp_path / "epoch_100.pth")
    del sys.modules["somebody"]
    weights = read_foreign("mmaction2", f"{tmp_path}/epoch_100.pth").weights
    assert weights.keys() == {"backbone.conv1.weight", "mean", "std"}
    with pytest.raises(ValueError, match=r"epoch_100\.pth: .*missing, such as backbone\."):
        start_from(build_model("i3d_r50_32x2", num_classes=3), f"{tmp_path}/epoch_100.pth")


def test_weights_of_another_kind_say_which(tmp_path: Path) -> None:
    torch.save(network("i3d_small_8x2").state_dict(), tmp_path / "w.pth")
    message = r"has shape \(16, 3, 5, 7, 7\), expected \(16, 3, 1, 7, 7\); their kernels differ over time only: .*I3D"
    with pytest.raises(ValueError, match=message):
        start_from(network("c2d_small_8x2"), f"{tmp_path}/w.pth")


# Files that are no such network


def without(state: State, *names: str) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(names)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda s: {}, "not a network: it is empty"),
        (lambda s: [1, 2], "not a dictionary of tensors but a list"),
        (lambda s: {"epoch": 3, "lr": 0.1}, "it holds epoch, lr and no tensors by name"),
        (lambda s: {"state": {0: {"momentum_buffer": torch.ones(1)}}, "param_groups": []}, "the state of an optimiser"),
        (lambda s: {"stem.0.weight": torch.ones(4, 3)}, r"there are stem\.0\.weight \(4, 3\); expected a checkpoint"),
        (lambda s: {name: tensor for name, tensor in s.items() if "3.weight" not in name}, "as ResNet-18 and -34"),
        (lambda s: {**without(s, "conv1."), "conv1.0.weight": torch.ones(3)}, "as that of ResNet-D"),
        (lambda s: {**s, "layer1.0.se.fc1.weight": torch.ones(3)}, "its residual blocks also have se"),
        (lambda s: {**s, "layer1.0.conv2.weight": torch.ones(16, 4, 3, 3)}, "in 4 groups, as in ResNeXt"),
        (lambda s: {**s, "layer1.0.conv3.weight": torch.ones(64, 32, 1, 1)}, "from 32 to 64 channels"),
        (lambda s: {name: tensor[..., None] for name, tensor in s.items()}, "have 5 dimensions, not the 4"),
        (lambda s: {**s, "layer2.2.conv1.weight": torch.ones(32, 128, 1, 1)}, "got 1, 3, 2, 1 residual blocks"),
        (lambda s: {**s, "layer2.1.conv2.bias": torch.ones(32)}, r"1 tensors of its residual .*such as .*conv2\.bias"),
    ],
    ids=["empty", "list", "numbers", "optimiser", "r3d_18", "resnet18", "resnet50d", "SE", "resnext", "wide", "3-D",
         "deeper", "biases"],
)  # fmt: skip
def test_other_networks_are_named(
    content: Callable[[State], Any], message: str, image_state: State, tmp_path: Path
) -> None:
    torch.save(content(image_state), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=rf"w\.pth: .*{message}") as error:
        start_from(network(), f"{tmp_path}/w.pth")
    assert str(error.value).count("expected") == 1 or "bias" in message


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_program_is_refused_with_the_line_that_takes_its_weights(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "w.pt")
    line = r"TorchScript archive.*python -c \"import torch; torch\.save\(torch\.jit\.load\('.*w\.pt'\)\.state_dict\(\)"
    with pytest.raises(ValueError, match=line):
        read_start(f"{tmp_path}/w.pt")
