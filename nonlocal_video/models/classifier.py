"""A network from uint8 clips to logits and scores: normalisation, backbone, head."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.models.resnet3d import ResNet3d


class Classifier(nn.Module):
    """normalise -> backbone -> average pool -> dropout -> fc.

    The pooling window is the whole final map of a training clip. On a larger clip the network is
    fully convolutional: the window slides with stride 1 and the fc answers at every position, as in
    the released code's testing head.

    Args:
        window: (T, S), the final map of a training clip.
        mean, std: of pixel values from 0 to 1; stored with the weights (released code: 114.75 and
            57.375 of 255, for every channel).
        freeze_bn: batch normalisation keeps its statistics and its parameters are not trained, but
            for that of the non-local blocks: with its gamma of 0 frozen they would stay the identity.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: ResNet3d,
        *,
        num_classes: int,
        window: tuple[int, int],
        dropout: float,
        freeze_bn: bool,
        mean: float = 0.45,
        std: float = 0.225,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.backbone = backbone
        self.window, self.freeze_bn = window, freeze_bn
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(backbone.channels, num_classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)
        if freeze_bn:
            for norm in self._norms():
                norm.requires_grad_(False)
        for conv in self.modules():
            # A 1x1x1 kernel is the same in both formats; told otherwise, DDP warns of its strides.
            if isinstance(conv, nn.Conv3d) and conv.kernel_size != (1, 1, 1):
                conv.to(memory_format=torch.channels_last_3d)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) uint8 -> logits (B, K), averaged over the positions of the final map."""
        return self._logits(clips).mean(dim=1)

    def scores(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) uint8 -> scores (B, K): softmax at each position of the map, then the mean."""
        return self._logits(clips).float().softmax(dim=2).mean(dim=1)

    def train(self, mode: bool = True) -> "Classifier":
        super().train(mode)
        if self.freeze_bn:
            for norm in self._norms():
                norm.eval()
        return self

    def _logits(self, clips: Tensor) -> Tensor:
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
        x = self.backbone((clips.float() / 255 - self.mean) / self.std)  # (B, C, T, H, W)
        t, s = (min(window, size) for window, size in zip(self.window, x.shape[2:4], strict=True))
        x = F.avg_pool3d(x, (t, min(s, x.shape[3]), min(s, x.shape[4])), stride=1)
        return self.fc(self.dropout(x.flatten(2).mT))  # (B, positions, K)

    def _norms(self) -> list[nn.BatchNorm3d]:
        blocks = [block.bn for block in self.modules() if isinstance(block, NonLocalBlock)]
        return [norm for norm in self.modules() if isinstance(norm, nn.BatchNorm3d) and norm not in blocks]
