"""The places of non-local blocks, or of what stands instead of them, and the proof that they stand there."""

import re
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import NamedTuple

from tabulate import tabulate
from torch import nn

from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.models.resnet3d import STAGES, Bottleneck
from nonlocal_video.settings.vocabulary import Added

SMALL = (1, 2, 2, 1)
"""The residual blocks of res2..res5 of the small network. Its one block was always in res3."""
DEEP: dict[tuple[int, int], dict[int, dict[str, tuple[int, ...]]]] = {
    (4, 6): {5: {"res3": (1, 3), "res4": (1, 3, 5)}, 10: {"res3": (0, 1, 2, 3), "res4": (0, 1, 2, 3, 4, 5)}},
    (4, 23): {5: {"res3": (1, 3), "res4": (6, 13, 20)}, 10: {"res3": (0, 1, 2, 3), "res4": (3, 7, 11, 14, 18, 22)}},
}
"""The places of 5 and 10 blocks, by the residual blocks of res3 and res4: the paper has them in R50 and R101."""


class Place(NamedTuple):
    """One non-local block of a built network."""

    stage: str
    """res2 to res5, or the head of a detector."""
    block: int
    """The residual block that it follows, from 0; in a head the convolution, from 1."""
    channels: int
    pairwise: str
    axes: str
    subsample: str
    group_frames: int


def places_for(blocks: Sequence[int], nonlocal_blocks: int | Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The residual blocks of each stage that a non-local block follows.

    Args:
        blocks: residual blocks of res2..res5.
        nonlocal_blocks: 0, 1, 5 or 10 blocks as the paper places them (Sec. 4.1, Table 2c), or the
            places themselves: ["res3.1", "res3.3", "res4.5"].
            1: before the last residual block of res4; in the small network after the last one of res3.
            5: every second block of res3 and res4; in R101's res4 after 6, 13 and 20, as released.
            10: every block of res3 and res4; in R101's res4, which the paper leaves open, six spread evenly.

    Raises:
        ValueError: the network has no such places.
    """
    if not isinstance(nonlocal_blocks, int):
        return _explicit_places(blocks, nonlocal_blocks)
    res3, res4 = blocks[1], blocks[2]
    deep = DEEP.get((res3, res4), {})
    if nonlocal_blocks == 0 or nonlocal_blocks in deep:
        return deep.get(nonlocal_blocks, {})
    if nonlocal_blocks == 1 and tuple(blocks) == SMALL:
        return {"res3": (res3 - 1,)}
    if nonlocal_blocks == 1 and res4 >= 2:
        return {"res4": (res4 - 2,)}
    numbers = "0, 1, 5 or 10" if deep else "0 or 1 (5 and 10 are for R50 and R101 only)"
    raise ValueError(
        f"nonlocal_blocks: got {nonlocal_blocks}, expected {numbers}, or places such as [res3.1, res4.0]; the residual "
        f"blocks of {', '.join(STAGES)} are {', '.join(map(str, blocks))}, and the first of each has the number 0"
    )


def _explicit_places(blocks: Sequence[int], places: Sequence[str]) -> dict[str, tuple[int, ...]]:
    existing = {f"{stage}.{i}": (stage, i) for stage, num in zip(STAGES, blocks, strict=True) for i in range(num)}
    wrong = [place for place in places if place not in existing]
    if wrong or isinstance(places, str) or len(set(places)) != len(places):
        shown = str(places) if len(places) < 100 else f"{len(places)} places"
        raise ValueError(
            f"nonlocal_blocks: got {shown}, expected different places from res2.0 to res5.{blocks[3] - 1} "
            f"(residual blocks of {', '.join(STAGES)}: {', '.join(map(str, blocks))})"
        )
    chosen = sorted(existing[place] for place in places)
    return {stage: tuple(i for s, i in chosen if s == stage) for stage in STAGES if any(s == stage for s, _ in chosen)}


def built_places(model: nn.Module) -> list[Place]:
    """The non-local blocks that a network really contains, in the order of the data."""
    return [
        Place(stage, number, block.channels, block.pairwise_name, block.axes, block.subsample, block.group_frames)
        for stage, number, block in _added_blocks(model, "nonlocal")
        if isinstance(block, NonLocalBlock)
    ]


def residual_places(model: nn.Module) -> list[tuple[str, int, int]]:
    """Stage or head, number of what comes before and channels of each block in place of a non-local one."""
    return [
        (stage, number, block.conv3.out_channels)
        for stage, number, block in _added_blocks(model, "residual")
        if isinstance(block, Bottleneck)
    ]


def _added_blocks(model: nn.Module, added: Added) -> list[tuple[str, int, nn.Module]]:
    """Stage or head, number of what comes before it, and module of each added block."""
    place = rf"(res\d|\w+_head)\.{added}(\d+)$"
    found = [(re.search(place, name), module) for name, module in model.named_modules()]
    return [(match[1], int(match[2]), module) for match, module in found if match]


def verify_places(
    model: nn.Module, asked: Mapping[str, Sequence[int]], *, added: Added, pairwise: str, axes: str
) -> None:
    """Raises RuntimeError unless the built network has exactly the added blocks asked for: places, function and axes.

    A published network was once trained as "non-local" without a single block.
    """
    places = [(stage, number) for stage, numbers in asked.items() for number in numbers]
    expected = [(*place, pairwise, axes) if added == "nonlocal" else (*place, "residual") for place in places]
    nonlocal_ = [(place.stage, place.block, place.pairwise, place.axes) for place in built_places(model)]
    built = [*nonlocal_, *((stage, block, "residual") for stage, block, _ in residual_places(model))]
    if built != expected:
        raise RuntimeError(f"the network's added blocks are {built}, asked for {expected}")


def format_places(model: nn.Module) -> str:
    """The table of non-local blocks, or of what is in their place, that a run prints after building its network."""
    residual = [(_after(stage, block), channels) for stage, block, channels in residual_places(model)]
    if residual:
        return _table("residual blocks in place of non-local ones", [("after", "channels"), *residual])
    rows: list[tuple[object, ...]] = [("after", "channels", "pairwise", "axes", "keys")]
    for place in built_places(model):
        axes = place.axes + (f" in groups of {place.group_frames} frames" if place.group_frames else "")
        pooled = {"before": "pooled 2x2", "after": "pooled 2x2 after phi and g", "none": "all"}[place.subsample]
        rows.append((_after(place.stage, place.block), place.channels, place.pairwise, axes, pooled))
    return _table("non-local blocks", rows) if len(rows) > 1 else "non-local blocks: none"


def _after(stage: str, number: int) -> str:
    """The layer before an added block, in words."""
    return f"{stage} block {number}" if stage in STAGES else f"{stage.replace('_', ' ')} convolution {number}"


def _table(title: str, rows: Sequence[tuple[object, ...]]) -> str:
    text = tabulate(rows, tablefmt="plain", disable_numparse=True, numalign="left")
    return f"{title}: {len(rows) - 1}\n{indent(text, '  ')}"
