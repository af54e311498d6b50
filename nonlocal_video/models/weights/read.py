"""Files of weights of every kind: read as what they are said to be, or told apart by their content."""

import os
from collections.abc import Callable
from typing import Any

from nonlocal_video.models.weights.caffe2 import read_caffe2
from nonlocal_video.models.weights.file import FORMAT, check_whole, is_safetensors, read_model_file, read_tensors
from nonlocal_video.models.weights.mmaction2 import from_mmaction2
from nonlocal_video.models.weights.pyslowfast import from_pyslowfast, from_pytorchvideo, read_zoo_pickle
from nonlocal_video.models.weights.state import OURS, StoredNetwork, check_tensors, state_of
from nonlocal_video.models.weights.torch_file import read_torch_file
from nonlocal_video.models.weights.torchvision import from_torchvision
from nonlocal_video.settings.network import LATER

CODE_BASES: dict[str, tuple[Callable[..., StoredNetwork], str]] = {
    "pyslowfast": (from_pyslowfast, "a network of PySlowFast"),
    "pytorchvideo": (from_pytorchvideo, "a network of pytorchvideo"),
    "mmaction2": (from_mmaction2, "a network of mmaction2"),
    "torchvision": (from_torchvision, "a network of images by torchvision's names"),
}
"""The function that turns a `State` (and `where` it is from) into this project's names, and words for such a file."""
FORMATS = ("caffe2", *CODE_BASES)
KINDS = (
    "a checkpoint of a run, a .safetensors file that training or tools/import_weights.py wrote, a ResNet-50 or -101 of "
    "images by torchvision's names, a checkpoint of PySlowFast, pytorchvideo or mmaction2, or a released Caffe2 .pkl; "
    "tools/import_weights.py makes networks for testing of these"
)
_TORCH = (b"PK\x03\x04", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
"""The first bytes of a file by `torch.save`: a zip archive, or before PyTorch 1.6 its magic number."""


def read_foreign(code_base: str, path: str, part: str | None = None) -> StoredNetwork:
    """The network of a code base, one of `FORMATS`, in a file; no code in the file is run.

    Args:
        part: which network of a file that holds several, by its name in `StoredNetwork.copies`.

    Raises:
        ValueError: not such a file, or several networks of which none is named; says what it is and what to do.
    """
    if code_base == "caffe2":
        return read_caffe2(path, part)
    if code_base == "pyslowfast" and path.endswith(".pkl"):
        return read_zoo_pickle(path)
    content = read_tensors(path)[0] if is_safetensors(path) else read_torch_file(path, with_objects=True)
    expected = f"a network of {code_base}, alone or in a checkpoint"
    state = state_of(content, where=path, part=part, expected=expected)
    if (found := state.code_base) != code_base:
        then = f"python tools/import_weights.py {found} MODEL {path} OUT.safetensors"
        then = "init.weights takes it as it is" if found == OURS else then
        raise ValueError(f"{path}: not a network of {code_base}: its tensors have the names of {found}; {then}")
    return CODE_BASES[code_base][0](state, where=path)


def read_start(path: str, part: str | None = None) -> StoredNetwork:
    """The network of a file to start from, whatever the file's name; `part` and safety are those of `read_foreign`.

    A checkpoint with precise statistics of batch normalisation gives these instead of its running averages.

    Raises:
        ValueError: no such file, a damaged one, or one of another kind; says which kinds there are.
    """
    if not os.path.isfile(path):
        raise ValueError(f"{path}: no such file of weights")
    try:
        return _read(path, part)
    except ValueError as error:
        if "expected" in str(error):
            raise
        raise ValueError(f"{error}; expected {KINDS}") from error


def _read(path: str, part: str | None) -> StoredNetwork:
    if is_safetensors(path):
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != FORMAT:
            return _of_anybody(tensors, path, part)
        check_whole(path, part)
        check_tensors(tensors, where=path)
        head = read_model_file(path, with_weights=False)
        return StoredNetwork(tensors, {**LATER, **head.options}, kind=f"a network of this project ({head.origin})")
    with open(path, "rb") as file:
        if file.read(16).startswith(_TORCH):
            return _read_torch(path, part)
    weights = read_caffe2(path, part).weights
    of_images = weights["backbone.conv1.weight"].ndim == 4
    return StoredNetwork(weights, {}, kind=f"a Caffe2 network of {'images' if of_images else 'videos'}")


def _read_torch(path: str, part: str | None) -> StoredNetwork:
    content = read_torch_file(path, with_objects=True)
    if not isinstance(content, dict) or not {"format", "step", "model"} <= set(content):
        return _of_anybody(content, path, part)
    check_whole(path, part)
    precise, facts = content.get("precise_bn") or {}, content.get("facts", {})  # Format 1 has none.
    options: Any = facts.get("options", {}) if isinstance(facts, dict) else None
    if not all(isinstance(value, dict) for value in (content["model"], precise, options)):
        raise ValueError(f"{path}: damaged: a checkpoint whose model, precise_bn or options are no dictionary")
    weights = {**content["model"], **precise}
    check_tensors(weights, where=path)
    kind = f"a checkpoint after {content['step']} steps" + (", with its precise batch normalisation" if precise else "")
    return StoredNetwork(weights, {**LATER, **options}, kind=kind)


def _of_anybody(content: Any, path: str, part: str | None) -> StoredNetwork:
    """The network of another code base, or a state dict of this project's."""
    state = state_of(content, where=path, part=part, expected=KINDS)
    if state.code_base == OURS:
        kind = "a state dict of this project"
        return StoredNetwork(state.tensors, {}, state.left_out, copies=state.copies, kind=kind)
    translate, kind = CODE_BASES[state.code_base]
    network = translate(state, where=path)._replace(kind=kind)
    return network._replace(options={}) if state.code_base == "torchvision" else network  # It only guesses them.
