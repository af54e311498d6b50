"""Builds the networks: by name, from all their options, or from a file of weights."""

from functools import partial
from typing import Any, get_args

from torch import nn

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import NonLocalBlock, name_of
from nonlocal_video.models.norm import make_norm
from nonlocal_video.models.placement import places_for, residual_places, verify_places
from nonlocal_video.models.resnet3d import Bottleneck, ResNet3d
from nonlocal_video.settings.network import DEPTHS, NetworkOptions, options_of
from nonlocal_video.settings.vocabulary import Activation, Added


def build_model(name: str, *, num_classes: int, **options: Any) -> Classifier:
    """The network of a name, such as nl_i3d_r50_32x2: see `named_options`.

    Args:
        options: fields of `NetworkOptions` to vary; None is what the name says.

    Raises:
        ValueError: an unknown name or option, or one that cannot be.
    """
    return build_network(options_of({"name": name, "num_classes": num_classes, **options}))


def build_network(options: NetworkOptions) -> Classifier:
    """Builds a network from all its options.

    Raises:
        ValueError: an option that cannot be, places that do not exist, or a training clip too small for
            the strides.
    """
    _check(options)
    blocks, width = DEPTHS[options.depth]
    places = places_for(blocks, options.nonlocal_blocks)
    if options.added == "residual" and not places:
        raise ValueError("added: got residual with nonlocal_blocks 0, expected blocks to add")
    backbone = ResNet3d(
        blocks,
        width=width,
        stem_width=options.stem_width or width,
        stem=options.stem,
        stride_in=options.stride_in,
        pool1_padding=options.pool1_padding,
        pool1_rounds_up=options.pool1_rounds_up,
        pool2=options.pool2,
        inflation=options.inflation,
        norm=options.norm,
        bn_eps=options.bn_eps,
        places=places,
        added=options.added,
        make_added=partial(_make_added, options=options),
    )
    verify_places(backbone, places, added=options.added, pairwise=name_of(options.pairwise), axes=options.axes)
    if options.norm == "affine":  # Without a gamma that is 0 they would not start as the identity.
        for stage, block, _ in residual_places(backbone):
            nn.init.zeros_(backbone.get_parameter(f"{stage}.residual{block}.conv3.weight"))
    frames, *_ = backbone.final_map(options.clip_length, options.crop, options.crop)
    group = _group_frames("res3", options)
    if "res3" in places and options.added == "nonlocal" and group and frames % group:
        raise ValueError(
            f"a clip of {options.clip_length} frames has {frames} positions in time in res3, "
            f"expected a multiple of res3_group_frames = {group}"
        )
    return Classifier(backbone, options)


def _check(options: NetworkOptions) -> None:
    if options.depth not in DEPTHS:
        raise ValueError(f"depth: got {options.depth!r}, expected one of {', '.join(DEPTHS)}")
    if options.activation not in get_args(Activation):
        raise ValueError(f"activation: got {options.activation!r}, expected softmax or sigmoid")
    if options.added not in get_args(Added):
        raise ValueError(f"added: got {options.added!r}, expected nonlocal or residual")


def _make_added(stage: str, channels: int, *, options: NetworkOptions) -> nn.Module:
    """The block that stands after a chosen residual block of this stage."""
    if options.added == "residual":
        norm = partial(make_norm, options.norm, eps=options.bn_eps)
        return Bottleneck(channels, channels // 4, inflation="none", stride=1, norm=norm)
    return NonLocalBlock(
        channels,
        pairwise=options.pairwise,
        axes=options.axes,
        subsample=options.subsample,
        group_frames=_group_frames(stage, options),
        norm=options.nonlocal_norm,
        w_z_bias=options.w_z_bias,
        bn_eps=options.bn_eps,
    )


def _group_frames(stage: str, options: NetworkOptions) -> int:
    """Of a non-local block in this stage. Space alone is finer already, time alone is small."""
    return options.res3_group_frames if stage == "res3" and options.axes == "spacetime" else 0
