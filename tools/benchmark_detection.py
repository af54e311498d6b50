"""Times our residual network in a Mask R-CNN beside torchvision's: python tools/benchmark_detection.py

ResNet-50 with a feature pyramid, batch normalisation frozen, conv1 and res2, too; float32; the same weights and images.
"""

import nonlocal_video.system.waiting  # noqa: F401  # Before PyTorch.

# isort: split
import argparse
import tempfile
from collections.abc import Callable

import torch
from benchmarks.costs import Turn, interleaved
from benchmarks.page import machine
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.models.detection.weights import start_detector
from nonlocal_video.reports.texts import table
from nonlocal_video.settings.detector import named_detector

NUM_CLASSES, OBJECTS = 80, 5


def networks(side: int) -> tuple[Detector, MaskRCNN]:
    """Ours and torchvision's with the same weights."""
    body = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=3)
    theirs = MaskRCNN(body, NUM_CLASSES + 1, min_size=side).train()
    for name, tensor in theirs.named_buffers():
        if name.endswith("bn3.weight"):
            tensor.fill_(0.2)  # Else the maps of random weights would grow from block to block.
    ours = Detector(named_detector("mask_rcnn_r50", num_classes=NUM_CLASSES)).train()
    ours.training_sides = (side,)
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save(theirs.state_dict(), file.name)
        start_detector(ours, file.name)
    return ours, theirs


def objects(batch: int, height: int, width: int) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Images of noise (3, height, width) uint8, and their objects of several sizes."""
    torch.manual_seed(0)
    images, targets = list(torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)), []
    for _ in range(batch):
        corners = torch.rand(OBJECTS, 2) * torch.tensor([width, height]) * 0.6
        boxes = torch.cat([corners, corners + height * (0.05 + 0.3 * torch.rand(OBJECTS, 2))], dim=1)
        masks = torch.ones(OBJECTS, height, width, dtype=torch.uint8)
        targets.append({"boxes": boxes, "labels": torch.randint(1, NUM_CLASSES + 1, (OBJECTS,)), "masks": masks})
    return images, targets


def step(network: nn.Module, *inputs: object) -> float:
    """One pass forward and backward, in which the same proposals are drawn each time; the sum of the losses or maps."""
    torch.manual_seed(0)
    network.zero_grad()
    total = torch.stack([value.square().mean().sqrt() for value in network(*inputs).values()]).sum()
    total.backward()
    return total.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=480, help="short side of the images in pixels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    sizes = parser.parse_args()
    torch.set_num_threads(sizes.threads)
    ours, theirs = networks(sizes.side)
    images, targets = objects(sizes.batch, sizes.side, sizes.side * 4 // 3)
    pixels, x = [image / 255 for image in images], torch.stack([ours.body.normalise(image) for image in images])
    parts: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
        "residual network": (lambda: step(ours.body, x), lambda: step(theirs.backbone.body, x)),
        "whole Mask R-CNN": (lambda: step(ours, images, targets), lambda: step(theirs, pixels, targets)),
    }
    print(machine("benchmark_detection.py", packages=("torch", "torchvision"), threads=sizes.threads))
    rows = []
    for part, (mine, other) in parts.items():
        print(f"{part}: ours gives {mine():.5f}, torchvision's {other():.5f}", flush=True)
        turns = {"ours": Turn(lambda: None, [mine]), "torchvision": Turn(lambda: None, [other])}
        costs = interleaved(turns, repeats=sizes.repeats)
        for unit in ("cpu_s", "wall_s"):
            seconds, against = (getattr(costs[name], unit) for name in turns)
            rows.append([part, unit, f"{seconds:.2f}", f"{against:.2f}", f"{seconds / against:.2f}"])
    print(table(["", "", "ours", "torchvision", "ours / torchvision"], rows, texts=range(2)))


if __name__ == "__main__":
    main()
