"""Parameters and multiply-adds of a detector."""

import torch

from nonlocal_video.models.complexity import Cost, counting
from nonlocal_video.models.detection.detector import Detector

PADDED = 32
"""The sides of images are padded to multiples of it."""


def detector_cost(model: Detector) -> Cost:
    """The cost for an image of its short and long side, with all proposals and detections.

    On the meta device it costs no time and memory. What selects boxes is not counted.

    Raises:
        ValueError: a pairwise function of one's own does not say what it costs.
    """
    cost, rcnn, options = Cost(), model.rcnn, model.options
    with counting(model, {"detector": cost}, part_of=lambda _: "detector"):
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
    return cost
