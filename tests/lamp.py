"""Asks detectors of the miniature of COCO what they look at: python -m tests.lamp RUN [RUN ...]

Of the shapes that a detector finds in 100 new images: how many have the class of the lamp's colour; how many have the
other class when the lamp has the other colour and nothing else is changed; and whether the gradient of the features of
one shape's region reaches the pixels of the lamp.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torchvision.ops import nms

from nonlocal_video.data.prepare.miniature_coco import LAMP_RADIUS, SIDE, Scene, draw_image, draw_scene
from nonlocal_video.models.detection.detector import Detector
from nonlocal_video.models.detection.weights import build_detector, read_detector_file

FIRST, NUMBER = 10**6, 100
"""The scenes that are shown; no training has seen them."""
SCORE, OVERLAP = 0.3, 0.5


def tensor(scene: Scene, *, colour: int) -> torch.Tensor:
    """The scene (3, H, W) uint8 with a lamp of this colour."""
    return torch.from_numpy(draw_image(scene, noise=FIRST, colour=colour)).permute(2, 0, 1).contiguous()


@torch.inference_mode()
def share_right(detector: Detector, scenes: Sequence[Scene], *, swapped: bool) -> float:
    """The share of the shapes that are found whose best class is the colour of the lamp, in percent."""
    right = []
    for scene in scenes:
        colour = 1 - scene.colour if swapped else scene.colour
        found = detector([tensor(scene, colour=colour)])[0]
        best = nms(found["boxes"], found["scores"], OVERLAP)  # A shape may be found as both classes.
        labels, scores = found["labels"][best], found["scores"][best]
        right += [label == colour + 1 for label in labels[scores > SCORE].tolist()]
    return 100 * float(np.mean(right))


def reaches_lamp(detector: Detector, scene: Scene) -> bool:
    """Whether the features of the first shape's region depend on a pixel of the lamp."""
    shape = scene.shapes[0]
    box = torch.tensor([[shape.left, shape.top, shape.left + shape.side, shape.top + shape.side]], dtype=torch.float32)
    image = detector.body.normalise(tensor(scene, colour=scene.colour)).requires_grad_()
    features = detector.rcnn.roi_heads.box_roi_pool(detector.rcnn.backbone(image[None]), [box], [(SIDE, SIDE)])
    features.square().sum().backward()
    y, x = np.mgrid[:SIDE, :SIDE]
    lamp = torch.from_numpy(np.hypot(x - scene.lamp[0], y - scene.lamp[1]) <= LAMP_RADIUS)
    assert image.grad is not None
    return bool(image.grad[:, lamp].abs().max() > 0)


def main() -> None:
    scenes = [draw_scene(FIRST + k, seed=0) for k in range(NUMBER)]
    scenes = [scene for scene in scenes if scene.shapes]
    for run in sys.argv[1:]:
        path = Path(run) / "model.safetensors"
        detector = build_detector(read_detector_file(path), where=path)
        as_drawn, swapped = (share_right(detector, scenes, swapped=swapped) for swapped in (False, True))
        reached = sum(reaches_lamp(detector, scene) for scene in scenes[:20])
        print(f"{run}: class of the lamp {as_drawn:.1f}%, of the swapped lamp {swapped:.1f}%, "
              f"reached by the gradient in {reached} of 20 images")  # fmt: skip


if __name__ == "__main__":
    main()
