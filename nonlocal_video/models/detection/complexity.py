"""Multiply-adds of a detector for an image, by its parts."""

import torch

from nonlocal_video.models.complexity import Cost, counting
from nonlocal_video.models.detection.detector import Detector

PARTS = ("body", "fpn", "rpn", "box head", "mask or keypoint head")
PADDED = 32
"""The sides of images are padded to multiples of it."""


def detector_costs(model: Detector) -> dict[str, Cost]:
    """The cost of each of `PARTS` for an image of its short and long side, with all proposals and detections.

    On the meta device it costs no time and memory. What selects boxes is not counted.

    Raises:
        ValueError: a pairwise function of one's own does not say what it costs.
    """
    costs = {part: Cost() for part in PARTS}
    rcnn, options = model.rcnn, model.options
    with counting(model, costs, part_of=_part):
        device, channels = next(model.parameters()).device, options.pyramid_width
        height, width = (-(-side // PADDED) * PADDED for side in (options.short_side, options.long_side))
        model.eval()
        maps = rcnn.backbone(torch.zeros(1, 3, height, width, device=device))
        rcnn.rpn.head(list(maps.values()))
        regions = torch.zeros(options.proposals, channels, 7, 7, device=device)
        rcnn.roi_heads.box_predictor(rcnn.roi_heads.box_head(regions))
        if options.kind != "faster_rcnn":
            kind = options.kind.removesuffix("_rcnn")
            head, predictor = (rcnn.roi_heads.get_submodule(f"{kind}_{part}") for part in ("head", "predictor"))
            predictor(head(torch.zeros(options.detections, channels, 14, 14, device=device)))
    return costs


def _part(name: str) -> str:
    """The key of `PARTS` for a parameter or a module with parameters."""
    for words, part in ((".body.", "body"), (".fpn.", "fpn"), (".rpn.", "rpn"), (".box_", "box head")):
        if words in name:
            return part
    return "mask or keypoint head"
