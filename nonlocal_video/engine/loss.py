"""What training minimises, for clips of one class and for clips of several."""

from torch import Tensor
from torch.nn import functional as F


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over the clips: logits (B, K) float32, labels as in `Batch` -> ().

    Of one class, (B,), the cross entropy of the softmax. Of several, (B, K), the binary cross entropy of each class's
    sigmoid, the mean over the classes, too: as PySlowFast's bce_logit and Caffe2's SigmoidCrossEntropyLoss, which
    long-term feature banks train with.
    """
    if labels.is_floating_point():
        return F.binary_cross_entropy_with_logits(logits, labels)
    return F.cross_entropy(logits, labels)


def count_right(logits: Tensor, labels: Tensor) -> Tensor:
    """How many clips have their best-scored class for a label, (): top-1 of one class, hit@1 of several."""
    best = logits.argmax(dim=1)
    if labels.is_floating_point():
        return labels.gather(1, best[:, None]).sum().long()
    return (best == labels).sum()
