"""A detector from uint8 images to losses and detections."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, KeypointRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from nonlocal_video.models.capture import full_precision
from nonlocal_video.models.classifier import parameter_groups
from nonlocal_video.models.detection.body import Body, Pyramid
from nonlocal_video.models.nonlocal_block import pairwise_name, plain_options
from nonlocal_video.models.placement import verify_places
from nonlocal_video.models.resnet3d import STAGES, Bottleneck, make_added
from nonlocal_video.settings.detector import DetectorOptions
from nonlocal_video.types import ParameterGroup

Target = dict[str, Tensor]
"""The objects of an image: `boxes` (n, 4) float32 as x1, y1, x2, y2 in pixels, `labels` (n,) int64 from 1 on, perhaps
`masks` (n, H, W) uint8 or `keypoints` (n, K, 3) float32."""
RATIOS = (0.5, 1.0, 2.0)
_HEADS = {"mask_rcnn": "mask_head", "keypoint_rcnn": "keypoint_head"}


class _RegionHead(RPNHead):
    """torchvision's, with scores and boxes in float32 at any precision: perfect boxes in bfloat16 have an AP of 93."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        seen = [self.conv(level) for level in x]
        with full_precision(x[0]):
            wide = [level.float() for level in seen]
            return [self.cls_logits(level) for level in wide], [self.bbox_pred(level) for level in wide]


class _BoxPredictor(FastRCNNPredictor):
    """torchvision's, in float32 at any precision, as the predictors of masks and keypoints."""

    def forward(self, x: Tensor) -> Any:
        with full_precision(x):
            return super().forward(x.float())


class _MaskPredictor(MaskRCNNPredictor):
    def forward(self, x: Tensor) -> Tensor:
        with full_precision(x):
            return super().forward(x.float())


class _KeypointPredictor(KeypointRCNNPredictor):
    def forward(self, x: Tensor) -> Tensor:
        with full_precision(x):
            return super().forward(x.float())


class Detector(nn.Module):
    """Faster, Mask or Keypoint R-CNN with a feature pyramid, of torchvision's parts, on a residual network of ours.

    In training it takes images (3, H, W) uint8 of any sizes and their targets and gives a dictionary of losses. In
    evaluation it takes images alone and gives for each a dictionary of `boxes` (n, 4), `labels` (n,), `scores` (n,),
    and perhaps `masks` (n, 1, H, W) or `keypoints` (n, K, 3) and `keypoints_scores` (n, K), in the image's pixels, the
    best first.
    """

    bias_lr = 1.0
    """Factor of the learning rate of biases; they do not decay where it is not 1 (Detectron: 2)."""

    def __init__(self, options: DetectorOptions) -> None:
        super().__init__()
        self.options = options
        self.training_sides: tuple[int, ...] = (options.short_side,)
        """Short sides of images in training, of which one is drawn for each."""
        body = Body(options.body(), levels=options.levels, frozen_stages=options.frozen_stages)
        self.rcnn = _rcnn(options, Pyramid(body, out_channels=options.pyramid_width))
        if places := options.head_places():
            name, roi_heads = _HEADS[options.kind], self.rcnn.roi_heads
            # After torchvision's constructors, which initialise every convolution that they find.
            roi_heads.add_module(name, _with_blocks(roi_heads.get_submodule(name), places, options))
            function = pairwise_name(options.pairwise)
            verify_places(roi_heads, {name: places}, added=options.added, pairwise=function, axes="spacetime")

    @property
    def body(self) -> Body:
        """The residual network."""
        return cast(Body, self.rcnn.backbone.body)

    def lay_out(self, *, channels_last: bool) -> None:
        """Sets the memory format of the residual network."""
        self.body.lay_out(channels_last=channels_last)

    def groups(self, *, backbone_lr: float = 1.0) -> list[ParameterGroup]:
        """The parameters by how they are trained; `backbone_lr` is the factor of the rate of the residual network."""
        return parameter_groups(self, backbone=self.body, backbone_lr=backbone_lr, bias_lr=self.bias_lr)

    def train_mode(self) -> None:
        """Training mode; what is frozen stays in evaluation mode."""
        self.train()

    def compiled(self, _call: Callable[..., Any]) -> Callable[..., Any]:
        """Raises ValueError: every image has another size, and each would be compiled anew."""
        raise ValueError("runtime.compile: got true, expected false: a detector's images have many sizes")

    def plain_options(self) -> dict[str, Any]:
        """The fields of `DetectorOptions` in values that any file can hold."""
        return plain_options(self.options)

    def smallest_side(self) -> int:
        """The smallest side of images, in pixels, that leaves 2x2 positions in the last stage."""
        return 64

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> Any:
        """Losses by their names in training, detections of each image in evaluation.

        Raises:
            ValueError: other tensors than images (3, H, W) uint8.
        """
        for image in images:
            if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
                got = f"an image of shape {tuple(image.shape)} and {image.dtype}"
                raise ValueError(f"got {got}, expected (3, H, W) of torch.uint8")
        self.rcnn.transform.min_size = self.training_sides if self.training else (self.options.short_side,)
        with full_precision(images[0]):
            prepared = [self.body.normalise(image) for image in images]
        return self.rcnn(prepared, None if targets is None else list(targets))


def _rcnn(options: DetectorOptions, backbone: Pyramid) -> FasterRCNN:
    """Builds torchvision's detector of the given options; our residual network normalises pixels before it."""
    width, sizes = options.pyramid_width, [(size,) for size in options.anchor_sizes]
    common: dict[str, Any] = {
        "min_size": options.short_side,
        "max_size": options.long_side,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
        "rpn_anchor_generator": AnchorGenerator(tuple(sizes), (RATIOS,) * len(sizes)),
        "rpn_head": _RegionHead(width, len(RATIOS)),
        "rpn_pre_nms_top_n_train": 2 * options.proposals,
        "rpn_pre_nms_top_n_test": options.proposals,
        "rpn_post_nms_top_n_train": 2 * options.proposals,
        "rpn_post_nms_top_n_test": options.proposals,
        "box_roi_pool": _pool(options, 7),
        "box_head": TwoMLPHead(width * 7**2, options.box_width),
        "box_predictor": _BoxPredictor(options.box_width, options.num_classes + 1),
        "box_batch_size_per_image": options.rois,
        "box_detections_per_img": options.detections,
    }
    if options.kind == "faster_rcnn":
        return FasterRCNN(backbone, **common)
    channels, layers = options.channels, (options.channels,) * options.convs
    if options.kind == "mask_rcnn":
        return MaskRCNN(
            backbone,
            mask_roi_pool=_pool(options, 14),
            mask_head=MaskRCNNHeads(width, layers, 1),
            mask_predictor=_MaskPredictor(channels, channels, options.num_classes + 1),
            **common,
        )
    return KeypointRCNN(
        backbone,
        keypoint_roi_pool=_pool(options, 14),
        keypoint_head=KeypointRCNNHeads(width, layers),
        keypoint_predictor=_KeypointPredictor(channels, options.num_keypoints),
        **common,
    )


def _pool(options: DetectorOptions, size: int) -> MultiScaleRoIAlign:
    """Cuts regions out of the levels. It keeps the scales of the first image it sees, so it is shown an exact one."""
    pool = MultiScaleRoIAlign(list(options.levels), output_size=size, sampling_ratio=2)
    sides = {level: 1024 // 4 // 2 ** STAGES.index(level) for level in options.levels}
    with torch.device("cpu"):  # Whatever the network is made on.
        maps = {level: torch.zeros(1, 1, side, side) for level, side in sides.items()}
        pool(maps, [torch.tensor([[0.0, 0.0, 9.0, 9.0]])], [(1024, 1024)])
    return pool


def _with_blocks(head: nn.Module, places: Sequence[int], options: DetectorOptions) -> nn.Sequential:
    """A head with blocks after some of its convolutions and their ReLUs, counted from 1; other names stay."""
    layers, number = OrderedDict[str, nn.Module](), 0
    for name, layer in head.named_children():
        layers[name] = layer
        if not isinstance(layer, nn.Conv2d):  # A ReLU, or a convolution with its own.
            number += 1
            if number in places:
                layers[f"{options.added}{number}"] = _added(options)
    return nn.Sequential(layers)


class _ImageBottleneck(Bottleneck):
    """A residual block on maps (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :, None])[:, :, 0]


def _added(options: DetectorOptions) -> nn.Module:
    """The block that is added to a head; it starts as the identity on what a ReLU gives."""
    if options.added == "nonlocal":
        return make_added("head", options.channels, options.body())
    block = _ImageBottleneck(options.channels, options.channels // 4, options=options.body())
    for name, conv in block.named_children():
        if isinstance(conv, nn.Conv3d):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            if options.norm == "affine" and name == "conv3":
                nn.init.zeros_(conv.weight)
    return block
