"""Multiply-adds of a detector for an image, by its parts."""

from contextlib import ExitStack
from functools import partial

import torch
from torch import nn

from nonlocal_video.models.complexity import Cost, count_layer
from nonlocal_video.models.detection.detector import Detector

PARTS = ("body", "fpn", "rpn", "box head", "mask or keypoint head")


def detector_costs(model: Detector, *, height: int, width: int) -> dict[str, Cost]:
    """The cost of each of `PARTS` for a padded image of this size, with all proposals and detections that there may be.

    On the meta device it costs no time and memory. What selects boxes is not counted.
    """
    costs = {part: Cost() for part in PARTS}
    rcnn, options = model.rcnn, model.options
    for name, parameter in model.named_parameters():
        costs[_part(name)].parameters += parameter.numel()
    with torch.no_grad(), ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv3d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                costs[_part(name)].weights += module.weight.numel()
                hooks.enter_context(module.register_forward_hook(partial(count_layer, costs[_part(name)])))
            elif hasattr(module, "macs"):
                hooks.enter_context(module.register_forward_hook(partial(count_layer, costs[_part(name)])))
        device, channels = next(model.parameters()).device, options.pyramid_width
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
