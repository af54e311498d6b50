"""Files of weights that people give to a tool: answers to one that is not there, or has to be brought in first."""

import re
import shlex
from pathlib import Path

from torch import Tensor

from nonlocal_video.models.weights.read import FORMATS, read_foreign

SOURCES = (
    "weights come from training (runs/NAME/model.safetensors), from a published model (python tools/import_weights.py "
    "--published list), or from a checkpoint of another code base (python tools/import_weights.py --help)"
)
PUBLISHED = Path(__file__).parents[3] / "configs" / "published"
_CLIP = re.compile(r"(?<!\d)(8x8|16x4|32x2|32x4|128x1)(?!\d)")


def check_there(path: Path) -> None:
    """Raises ValueError where a file of weights is not there, and says where weights come from."""
    if not path.is_file():
        raise ValueError(f"weights: got {path}, no such file; {SOURCES}")


def in_run(path: Path) -> Path:
    """The weights that a run ended with, where a path is the run's folder; any other path as it is."""
    return ended if (ended := path / "model.safetensors").is_file() else path


def check_network(path: Path) -> None:
    """Raises ValueError where a file of weights is no .safetensors file, which says its network; tells what to do."""
    run = path if path.is_dir() else path.parent.parent if path.parent.name == "checkpoints" else None
    if run is not None:
        expected = run / "model.safetensors"
        missing = "" if expected.exists() else ", which training writes at its end: it is not there yet"
        raise ValueError(f"weights: got {path}, expected a .safetensors file: {expected}{missing}")
    check_there(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights: got {path}, expected a .safetensors file; {how_to_bring_in(path)}")


def how_to_bring_in(path: Path) -> str:
    """The command that makes a file of this project of a checkpoint, as far as the checkpoint tells it."""
    made, tool = shlex.quote(f"{path.stem}.safetensors"), "python tools/import_weights.py"
    for file in sorted(PUBLISHED.glob("*.yaml")):
        if re.search(rf"^file: {re.escape(path.name)}$", file.read_text(), re.MULTILINE):
            return f"this published model is brought in by: {tool} --published {file.stem} {shlex.quote(str(path))}"
    for name in FORMATS:
        try:
            weights = read_foreign(name, str(path)).weights
        except ValueError:
            continue
        if name == "torchvision":
            return "these are weights of a network of images: training starts from them with init.weights=FILE"
        network = _network(weights, path)
        ask = "" if _CLIP.search(network) else ", with the frames and their stride for CLIP, such as 8x8 or 32x2"
        return f"bring it in by: {tool} {name} {network} {shlex.quote(str(path))} {made}{ask}"
    known = ", ".join(FORMATS)
    return f"a checkpoint of {known} is brought in by: {tool} FORMAT NETWORK {shlex.quote(str(path))} {made}"


def _network(weights: dict[str, Tensor], path: Path) -> str:
    """The name of the network: its kind and depth by its tensors, its clips by the name of the file."""
    blocks = "nl_" if any(".nonlocal" in name for name in weights) else ""
    conv1 = weights.get("backbone.conv1.weight")
    over_time = conv1 is not None and conv1.ndim == 5 and conv1.shape[2] > 1
    depth = "r101" if any(".res4.block22." in name for name in weights) else "r50"
    clip = _CLIP.search(path.name)
    return f"{blocks}{'i3d' if over_time else 'c2d'}_{depth}_{clip[1] if clip else 'CLIP'}"
