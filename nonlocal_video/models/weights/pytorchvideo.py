"""pytorchvideo's hub models C2D and I3D: {"model_state": ...}, or the state dict alone."""

from nonlocal_video.models.weights.foreign import Foreign, Rule, rename
from nonlocal_video.models.weights.state import State, read_state

_STAGE = {"1": "res2", "3": "res3", "4": "res4", "5": "res5"}  # blocks.2 pools over time and has no parameters.
_LAYER = {"a": "1", "b": "2", "c": "3"}

RULES: list[Rule] = [
    (r"blocks\.0\.conv\.weight", "backbone.conv1.weight"),
    (r"blocks\.0\.norm\.(\w+)", r"backbone.bn1.\1"),
    (
        r"blocks\.([1345])\.res_blocks\.(\d+)\.branch1_(conv|norm)\.(\w+)",
        lambda m: f"backbone.{_STAGE[m[1]]}.block{m[2]}.shortcut.{'0' if m[3] == 'conv' else '1'}.{m[4]}",
    ),
    (
        r"blocks\.([1345])\.res_blocks\.(\d+)\.branch2\.(conv|norm)_([abc])\.(\w+)",
        lambda m: f"backbone.{_STAGE[m[1]]}.block{m[2]}.{m[3].replace('norm', 'bn')}{_LAYER[m[4]]}.{m[5]}",
    ),
    (r"blocks\.6\.proj\.(weight|bias)", r"fc.\1"),
]
OPTIONS = {"stem": "dense", "pool1_padding": 1, "norm": "batch"}


def read_pytorchvideo(path: str, part: str | None = None) -> Foreign:
    """A network of pytorchvideo's hub; `part` as in `read_state`.

    Raises:
        ValueError: not such a file, or one of a network without the pooling after res2 (Slow, SlowFast, ...).
    """
    return from_pytorchvideo(read_state(path, "pytorchvideo", part), where=path)


def from_pytorchvideo(state: State, *, where: str) -> Foreign:
    """The network in this project's names.

    Raises:
        ValueError: one without the pooling after res2 (Slow, SlowFast, ...).
    """
    if "blocks.6.proj.weight" not in state.tensors:
        raise ValueError(f"{where}: not a C2D or I3D of pytorchvideo: it has no blocks.6.proj")
    weights = {rename(name, RULES): tensor for name, tensor in state.tensors.items()}
    return Foreign(weights, OPTIONS, state.left_out, copies=state.copies)
