"""Depth and widths of the network in a file, and the settings that build one of its shape."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from nonlocal_video.settings.network import DEPTHS, NetworkOptions

UNTOLD = (
    "no tensor shows which convolution has the strides of res3 to res5 and whether pool1 rounds up; who knows the code "
    "base names them"
)


class Shape(NamedTuple):
    """The sizes by which residual networks of one kind differ."""

    blocks: tuple[int, ...]
    """Residual blocks of res2..res5."""
    width: int
    """Channels of res2's convolutions in the middle."""
    stem_width: int
    """Channels of conv1."""

    def __str__(self) -> str:
        blocks = ", ".join(map(str, self.blocks))
        return f"{blocks} residual blocks, {self.stem_width} channels in conv1 and {self.width} in res2"


def misfit(weights: Mapping[str, Tensor], options: NetworkOptions, *, for_import: bool) -> str | None:
    """Tells how the network in a file and the one to be filled differ in shape, and what to ask for instead.

    Args:
        weights: in this project's names.
        for_import: whether to speak as tools/import_weights.py does, or as training does.
    """
    there, (blocks, width) = shape_of(weights), DEPTHS[options.depth]
    here = Shape(blocks, width, options.stem_width or width)
    if there is None or there == here:
        return None
    told = f"a network of another shape: got {there}, expected {here}"
    depths = [depth for depth, shape in DEPTHS.items() if shape == (there.blocks, there.width)]
    if not depths:
        return f"{told}; such a depth is one line of DEPTHS in nonlocal_video/settings/network.py"
    named = re.match(r"((?:nl_)?(?:c2d|i3d))_.*?_?(\d+x\d+)?$", options.name)
    kind, clip = (named[1], named[2]) if named else ("c2d", None)
    network = f"{kind}_{depths[0]}"
    words = [f"{network}_{clip or '8x8'}" if for_import else f"model={network}"]
    if there.stem_width == there.width:
        return f"{told}; ask for {words[0]}"
    set_, before = (" --set", "") if for_import else ("", "model.")
    return (
        f"{told}; ask for {words[0]}{set_} {before}stem_width={there.stem_width}. {UNTOLD[0].upper()}{UNTOLD[1:]}: "
        f"{before}stride_in=3x3 or 1x1, {before}pool1_rounds_up=false or true (Caffe's ResNets: 1x1 and true)"
    )


def shape_of(weights: Mapping[str, Tensor]) -> Shape | None:
    """The shape of the network whose tensors these are, if they are of one."""
    found = [re.fullmatch(r"backbone\.res([2345])\.block\d+\.conv1\.weight", name) for name in weights]
    stages = [match[1] for match in found if match]
    conv1, first = weights.get("backbone.conv1.weight"), weights.get("backbone.res2.block0.conv1.weight")
    if conv1 is None or first is None or not conv1.ndim or not first.ndim:
        return None
    return Shape(tuple(stages.count(stage) for stage in "2345"), first.shape[0], conv1.shape[0])
