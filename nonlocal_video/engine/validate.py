"""Single-clip validation: one random clip a video, as the released code does while it trains.

Not the accuracy of videos, which `evaluate` measures with many views: the released 32x2 network had an error of 38.6%
here, and of 25.1% there.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from nonlocal_video.engine.loss import loss_of
from nonlocal_video.engine.step import autocast
from nonlocal_video.metrics.average_precision import AveragePrecision
from nonlocal_video.metrics.topk import TopK
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.system.distributed import all_reduce_sum, gather, is_main, local_device
from nonlocal_video.types import Batch, Failure

NUM_NAMED = 5
"""Videos that could not be decoded and are named; the rest are counted."""


def validate(
    model: Classifier,
    loader: Iterable[Batch],
    *,
    precision: str,
    stopped: Callable[[], bool],
    note: Callable[[str], None] = print,
) -> dict[str, float] | None:
    """Scores one clip of every video; leaves the network's mode and the random state as they were.

    Args:
        model: the plain network.
        loader: this rank's share of the videos, in batches of any size.
        precision: fp32, bf16 or fp16.
        stopped: whether to give up.
        note: on the main process, hears which videos could not be decoded.

    Returns:
        Of the videos of all ranks: `clip_loss`, `videos` (scored), `failed` (not decoded), and in percent, of one class
        a video, `clip_top1` and, with more than 5 classes, `clip_top5`; of several, `clip_map`. None if a rank was
        stopped.

    Raises:
        ValueError: no video could be decoded, or a score is not finite.
    """
    device, gave_up, loss, failures = local_device(), False, 0.0, list[Failure]()
    metric = _metric_for(model)
    with in_evaluation_mode(model), torch.inference_mode(), torch.random.fork_rng(devices=[]):
        for batch in loader:
            if stopped():
                gave_up = True
                break
            failures.extend(batch.failures)
            if len(batch.labels):
                with autocast(device, precision):
                    logits = model(batch.clips.to(device, non_blocking=True))
                logits = logits.float().cpu()  # (B, K)
                loss += len(batch.labels) * loss_of(logits, batch.labels).item()
                metric.update(logits, batch.labels)
    # A rank that was stopped meets the others here, too: they would wait for it.
    loss, num_stopped = all_reduce_sum(torch.tensor([loss, gave_up], dtype=torch.float64)).tolist()
    metric.reduce()
    if num_stopped:
        return None
    return _summary(loss, metric, failures, note=note)


def _metric_for(model: Classifier) -> TopK | AveragePrecision:
    if model.options.activation == "sigmoid":
        return AveragePrecision()
    return TopK((1, 5) if model.options.num_classes > 5 else (1,))


def _summary(
    loss: float, metric: TopK | AveragePrecision, failures: list[Failure], *, note: Callable[[str], None]
) -> dict[str, float]:
    everywhere = sorted(failure for part in gather(failures) for failure in part)
    num_failed = int(all_reduce_sum(torch.tensor(len(failures))))
    num_videos = metric.count
    if not num_videos:
        raise ValueError(f"single-clip validation: none of {num_failed} videos can be decoded{_named(everywhere)}")
    if everywhere and is_main():
        note(f"single-clip validation: {num_failed} videos could not be decoded{_named(everywhere)}")
    accuracies = {f"clip_{name}": value for name, value in metric.compute().items() if value is not None}
    return {"clip_loss": loss / num_videos, **accuracies, "videos": num_videos, "failed": num_failed}


def _named(failures: list[Failure]) -> str:
    causes = [failure.cause for failure in failures[:NUM_NAMED]]
    if len(failures) > NUM_NAMED:
        causes.append(f"and {len(failures) - NUM_NAMED} more")
    return "".join(f"\n  {cause}" for cause in causes)


@contextmanager
def in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    """While this lasts; afterwards every layer is in the mode that it was in."""
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
