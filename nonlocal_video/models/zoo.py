"""Builds the networks: by name, from all their options, or from a file of weights."""

from dataclasses import fields, replace
from typing import Any, get_args

from torch import nn

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import NonLocalBlock, name_of
from nonlocal_video.models.options import DEPTHS, Activation, NetworkOptions, named_options
from nonlocal_video.models.placement import places_for, verify_places
from nonlocal_video.models.resnet3d import ResNet3d


def build_model(name: str, *, num_classes: int, **options: Any) -> Classifier:
    """The network of a name, such as nl_i3d_r50_32x2: see `named_options`.

    Args:
        options: fields of `NetworkOptions` to vary; None is what the name says.

    Raises:
        ValueError: an unknown name or option, or one that cannot be.
    """
    known = [item.name for item in fields(NetworkOptions) if item.name not in ("name", "num_classes")]
    unknown = sorted(options.keys() - set(known))
    if unknown:
        raise ValueError(f"got the option {', '.join(unknown)}, expected one of {', '.join(known)}")
    given = {key: value for key, value in options.items() if value is not None}
    return build_network(replace(named_options(name, num_classes=num_classes), **given))


def build_network(options: NetworkOptions) -> Classifier:
    """Builds a network from all its options.

    Raises:
        ValueError: an option that cannot be, places that do not exist, or a training clip too small for
            the strides.
    """
    if options.depth not in DEPTHS:
        raise ValueError(f"depth: got {options.depth!r}, expected one of {', '.join(DEPTHS)}")
    if options.num_classes < 1:
        raise ValueError(f"num_classes: got {options.num_classes}, expected 1 or more")
    if options.activation not in get_args(Activation):
        raise ValueError(f"activation: got {options.activation!r}, expected softmax or sigmoid")
    blocks, width = DEPTHS[options.depth]
    places = places_for(blocks, options.nonlocal_blocks)
    grouped = options.axes == "spacetime"  # Space alone is finer already, time alone is small.

    def make_nonlocal(stage: str, channels: int) -> nn.Module:
        return NonLocalBlock(
            channels,
            pairwise=options.pairwise,
            axes=options.axes,
            subsample=options.subsample,
            group_frames=options.res3_group_frames if stage == "res3" and grouped else 0,
            norm=options.nonlocal_norm,
            w_z_bias=options.w_z_bias,
            bn_eps=options.bn_eps,
        )

    backbone = ResNet3d(
        blocks,
        width=width,
        stem=options.stem,
        pool1_padding=options.pool1_padding,
        pool2=options.pool2,
        inflation=options.inflation,
        norm=options.norm,
        bn_eps=options.bn_eps,
        places=places,
        make_nonlocal=make_nonlocal,
    )
    verify_places(backbone, places, pairwise=name_of(options.pairwise), axes=options.axes)
    frames, *_ = backbone.final_map(options.clip_length, options.crop, options.crop)
    if "res3" in places and grouped and options.res3_group_frames and frames % options.res3_group_frames:
        raise ValueError(
            f"a clip of {options.clip_length} frames has {frames} positions in time in res3, "
            f"expected a multiple of res3_group_frames = {options.res3_group_frames}"
        )
    return Classifier(backbone, options)
