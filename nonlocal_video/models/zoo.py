"""Builds the networks: by name, from all their options, or from a file of weights."""

from typing import Any, get_args

from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import pairwise_name
from nonlocal_video.models.placement import places_for, verify_places
from nonlocal_video.models.resnet3d import STEMS, ResNet3d, group_frames
from nonlocal_video.settings.network import DEPTHS, NetworkOptions, options_of
from nonlocal_video.settings.vocabulary import Activation, Added, Inflation, Norm, StrideIn


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
        ValueError: an option that cannot be, places that do not exist, or a training clip too small for the strides.
    """
    _check(options)
    places = places_for(DEPTHS[options.depth].blocks, options.nonlocal_blocks)
    if options.added == "residual" and not places:
        raise ValueError("added: got residual with nonlocal_blocks 0, expected blocks to add")
    backbone = ResNet3d(options, places=places)
    verify_places(backbone, places, added=options.added, pairwise=pairwise_name(options.pairwise), axes=options.axes)
    frames, *_ = backbone.final_map(options.clip_length, options.crop, options.crop)
    group = group_frames("res3", options)
    if "res3" in places and options.added == "nonlocal" and group and frames % group:
        raise ValueError(
            f"a clip of {options.clip_length} frames has {frames} positions in time in res3, "
            f"expected a multiple of res3_group_frames = {group}"
        )
    return Classifier(backbone, options)


def _check(options: NetworkOptions) -> None:
    """Raises: ValueError: an option is none of its words. Those of non-local blocks are checked there."""
    for name, words, expected in (
        ("depth", tuple(DEPTHS), f"one of {', '.join(DEPTHS)}"),
        ("activation", get_args(Activation), "softmax or sigmoid"),
        ("added", get_args(Added), "nonlocal or residual"),
        ("inflation", get_args(Inflation), "none, 3x1x1 or 3x3x3"),
        ("stem", tuple(STEMS), f"one of {', '.join(STEMS)}"),
        ("stride_in", get_args(StrideIn), "3x3 or 1x1, the convolution that has the stride"),
        ("pool1_padding", (0, 1), "0 or 1"),
        ("norm", get_args(Norm), "batch or affine"),
    ):
        if getattr(options, name) not in words:
            raise ValueError(f"{name}: got {getattr(options, name)!r}, expected {expected}")
