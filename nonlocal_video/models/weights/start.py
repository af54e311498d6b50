"""The start of a training from a file of weights, and what is told of it."""

import math
import re
from collections.abc import Iterator, Sequence

import torch

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.weights.file import examples
from nonlocal_video.models.weights.initialise import initialise
from nonlocal_video.models.weights.read import read_start
from nonlocal_video.models.weights.state import StoredNetwork
from nonlocal_video.system.plain import one_line

SHAPING = ("stem", "stride_in", "pool1_padding", "pool1_rounds_up", "pool2", "inflation", "bn_eps")
"""Options that no tensor shows, in which a network usually agrees with the one that its weights were trained in."""
BLOCK_SHAPING = ("pairwise", "axes", "subsample", "w_z_bias")
"""Options of non-local blocks that no tensor shows."""


def start_from(model: Classifier, path: str, *, part: str | None = None) -> list[str]:
    """Loads all but the classifier of a file that `read_start` knows (with `part`), and tells in lines what was done.

    Raises:
        ValueError: not such a file, or one of a network that does not fit.
    """
    start, before = read_start(path, part), torch.cat([model.mean, model.std])
    loaded = initialise(model, start.weights, where=path)
    after = torch.cat([model.mean, model.std])
    inflated = f", {loaded.num_inflated} inflated over time" if loaded.num_inflated else ""
    folded = f", {loaded.num_folded} batch normalisations became frozen affines" if loaded.num_folded else ""
    statistics = ", ".join(f"{x:.3f}" for x in after.flatten().tolist())
    titled = {
        **_fresh_blocks(loaded.fresh),
        "unused": _listed([name for name in loaded.unused if not name.startswith("fc.")]),
        "left out of the file": examples(start.left_out),
        "mean and standard deviation of pixels are the file's": "" if torch.equal(before, after) else statistics,
    }
    lines = [
        f"started from {path}, {start.kind}: {loaded.num_loaded} tensors{inflated}{folded}",
        *_choice_among_copies(start),
        f"fresh classifier: {model.options.num_classes} classes",
        *(f"{title}: {text}" for title, text in titled.items() if text),
        *(f"note: {note}" for note in _notes(model, start, path)),
    ]
    return [one_line(line) for line in lines]


def _choice_among_copies(start: StoredNetwork) -> Iterator[str]:
    """Yields which of several networks in a file was taken, and how to take another."""
    if len(start.copies) > 1:
        swapped = "ema_state_dict" in start.copies and "message_hub" in start.left_out
        average = "; mmengine writes the moving average to state_dict, and the weights without it to ema_state_dict"
        taken, *others = (name or "the file itself" for name in start.copies)
        told = f"of the networks in the file {taken} is taken, not {', '.join(others)}: init.part=NAME takes another"
        yield f"{told}{average if swapped else ''}"


def _fresh_blocks(fresh: Sequence[str]) -> dict[str, str]:
    """The added blocks that a file does not have, and what it lacks of those non-local ones that it has."""
    blocks = [name.removesuffix("w_z.weight") for name in fresh if name.endswith(".w_z.weight")]
    residual = [name.removesuffix("conv1.weight") for name in fresh if name.endswith(".conv1.weight")]
    lacking = [name for name in fresh if ".nonlocal" in name and not name.startswith(tuple(blocks))]
    places, of_residual = (
        ", ".join(re.sub(r"backbone\.(res\d\.)[a-z]+(\d+)\.", r"\1\2", name) for name in names)
        for names in (blocks, residual)
    )
    return {
        "fresh non-local blocks": places,
        "fresh residual blocks in place of non-local ones": of_residual,
        "fresh in other non-local blocks": _listed([name for name in lacking if "num_batches_tracked" not in name]),
    }


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} tensors ({examples(names)})" if names else ""


def _notes(model: Classifier, start: StoredNetwork, path: str) -> Iterator[str]:
    """Yields the options that the file's network has otherwise, and those for which the user's word is taken."""
    options, told = vars(model.options), start.told
    for name in SHAPING + (BLOCK_SHAPING if any(".nonlocal" in name for name in start.weights) else ()):
        here, there = options[name], told.get(name, options[name])
        floats = isinstance(here, float) and isinstance(there, float)  # The released bn_eps is 1.0000001e-5.
        if not (math.isclose(here, there, rel_tol=1e-3) if floats else here == there):
            yield f"model.{name} is {here}, but {there} in {path}"
    untold = (*start.untold, *start.unknown)
    if untold:
        values = {name: options[name] for name in untold}
        words = [f"model.{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in values.items()]
        caffe = "; Caffe's ResNets have stride_in=1x1 and pool1_rounds_up=true" if "stride_in" in untold else ""
        yield f"the file cannot tell how its network was built: it is taken for {' '.join(words)}{caffe}"
