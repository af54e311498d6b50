"""The testing loop: every listed video once, all its views together."""

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from nonlocal_video.distributed import gather, is_main, local_device
from nonlocal_video.engine.train import autocast
from nonlocal_video.metrics.topk import TopK
from nonlocal_video.metrics.views import average_views
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.types import Evaluation, Failure, Prediction, Sample


@torch.inference_mode()
def evaluate(model: Classifier, loader: DataLoader[Sample], *, chunk: int, precision: str) -> Evaluation:
    """Scores every video of this rank's loader; the numbers are reduced over the ranks once, at the end.

    Args:
        chunk: views of one video that run through the network together. Views of different videos
            never share a chunk, so the scores do not depend on the number of ranks.
    """
    device = local_device()
    model.eval()
    ks = (1, 5) if model.fc.out_features > 5 else (1,)
    video_metric, clip_metric = TopK(ks), TopK(ks)
    predictions: list[Prediction] = []
    failures: list[Failure] = []
    bar = tqdm(total=len(loader), unit="video", desc="test", disable=None if is_main() else True)
    for sample in loader:
        bar.update()
        if len(sample.clips) == 0:
            failures.extend(sample.failures)
            continue
        with autocast(device, precision):
            parts = [model.scores(views.to(device, non_blocking=True)) for views in sample.clips.split(chunk)]
        views = torch.cat(parts).double().cpu()  # (V, K)
        scores = average_views(views)  # (K,)
        clip_metric.update(views, torch.full((len(views),), sample.label))
        video_metric.update(scores[None], torch.tensor([sample.label]))
        predictions.append(Prediction(sample.video, sample.label, scores.tolist()))
    bar.close()
    video_metric.reduce()
    clip_metric.reduce()
    all_predictions = sorted(prediction for part in gather(predictions) for prediction in part)
    all_failures = sorted(failure for part in gather(failures) for failure in part)
    return Evaluation(video_metric.compute(), clip_metric.compute(), all_predictions, all_failures)
