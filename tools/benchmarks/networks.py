"""The networks whose training steps are timed: ours, pytorchvideo's and, where its source is at hand, PySlowFast's."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_video.engine.optim import build_optimizer
from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import parameter_groups
from nonlocal_video.settings import OptimConfig
from nonlocal_video.system.distributed import at_precision

NUM_CLASSES = 400


class Way(NamedTuple):
    """A network and how its step is taken."""

    network: str
    """A name of `build_model`, pytorchvideo, or pyslowfast."""
    frames: int = 8
    precision: str = "fp32"
    channels_last: bool = True
    compile: bool = False
    recompute: bool = False
    fused: bool = True


def prepare(way: Way, *, batch: int, crop: int, slowfast: Path | None) -> Callable[[], None]:
    """A training step, ready to run: forward, backward, and SGD with Nesterov momentum.

    Our network gets uint8 clips and normalises them in the step; the others get them normalised, in their layout.
    """
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clips = torch.randint(0, 256, (batch, 3, way.frames, crop, crop), dtype=torch.uint8, device=device)
    labels = torch.randint(0, NUM_CLASSES, (batch,), device=device)
    model, x = _peer(way, clips, slowfast=slowfast) if way.network.startswith("py") else _ours(way, clips, crop=crop)
    model.train()
    call = at_precision(torch.compile(model) if way.compile else model, way.precision)
    optimizer = build_optimizer(
        parameter_groups(model),
        OptimConfig(lr=0.01, reference_batch=1, clips_per_device=1, steps=1),
        lr=0.01,
        fused=way.fused,
    )

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(call(x).float(), labels).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def _ours(way: Way, clips: Tensor, *, crop: int) -> tuple[nn.Module, Tensor]:
    model = build_model(way.network, num_classes=NUM_CLASSES, crop=crop, dropout=0.0)
    model.lay_out(channels_last=way.channels_last)
    model.backbone.recompute = way.recompute
    return model.to(clips.device), clips


def _peer(way: Way, clips: Tensor, *, slowfast: Path | None) -> tuple[nn.Module, Tensor]:
    model = _pytorchvideo() if way.network == "pytorchvideo" else _pyslowfast(slowfast)
    layout = torch.channels_last_3d if way.channels_last else torch.contiguous_format
    x = ((clips.float() / 255 - 0.45) / 0.225).contiguous(memory_format=layout)
    return model.to(clips.device, memory_format=layout), x


def _pytorchvideo() -> nn.Module:
    """I3D R50 8x8; at 32 frames its head pools 4 of 16 positions at a time and averages."""
    from pytorchvideo.models.hub import i3d_r50

    network: nn.Module = i3d_r50(pretrained=False, dropout_rate=0.0)
    return network


def _pyslowfast(folder: Path | None) -> nn.Module:
    """I3D_NLN_8x8_R50 as its model zoo defines it (configs/Kinetics/c2): the other configs of that name have no blocks.

    What the network does not need, but its package imports, is left out.
    """
    assert folder is not None
    sys.path.insert(0, str(folder))
    for name in (
        "detectron2",
        "detectron2.layers",
        "simplejson",
        "slowfast.utils.logging",
        "slowfast.utils.distributed",
    ):
        sys.modules.setdefault(name, mock.MagicMock())
    package = types.ModuleType("slowfast.models")  # Its own file imports every model that there is.
    package.__path__ = [str(folder / "slowfast/models")]
    import slowfast

    sys.modules[f"{slowfast.__name__}.models"] = package
    from slowfast.config.defaults import get_cfg
    from slowfast.models.nonlocal_helper import Nonlocal
    from slowfast.models.video_model_builder import ResNet

    cfg = get_cfg()
    cfg.merge_from_file(str(folder / "configs/Kinetics/c2/I3D_NLN_8x8_R50.yaml"))
    cfg.NUM_GPUS, cfg.MODEL.DROPOUT_RATE = 0, 0.0
    network = ResNet(cfg)
    blocks = sum(isinstance(layer, Nonlocal) for layer in network.modules())
    if blocks != 5:
        raise ValueError(f"{folder}: its I3D_NLN_8x8_R50 has {blocks} non-local blocks, expected 5")
    return _Listed(network)


class _Listed(nn.Module):
    """A network that takes a list of pathways."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> Tensor:
        return self.network([clips])
