"""The testing loop: every listed video once, all its views together."""

from collections.abc import Sequence

import torch
from tqdm import tqdm

from nonlocal_video.data.loader import Loader
from nonlocal_video.distributed import gather, is_main, local_device
from nonlocal_video.engine.step import autocast
from nonlocal_video.metrics.topk import TopK
from nonlocal_video.metrics.views import average_views
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.types import Evaluation, Failure, Prediction, TestItem


@torch.inference_mode()
def evaluate(model: Classifier, loader: Loader | Sequence[TestItem], *, chunk: int, precision: str) -> Evaluation:
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
    for item in loader:
        bar.update()
        if isinstance(item.views, Failure):
            failures.append(item.views)
            continue
        with autocast(device, precision):
            parts = [model.scores(views) for views in item.views.to(device).chunks(chunk)]
        views = torch.cat(parts).double().cpu()  # (V, K)
        scores = average_views(views)  # (K,)
        clip_metric.update(views, torch.full((len(views),), item.label))
        video_metric.update(scores[None], torch.tensor([item.label]))
        predictions.append(Prediction(item.video, item.label, scores.tolist()))
    bar.close()
    video_metric.reduce()
    clip_metric.reduce()
    all_predictions = sorted(prediction for part in gather(predictions) for prediction in part)
    all_failures = sorted(failure for part in gather(failures) for failure in part)
    return Evaluation(video_metric.compute(), clip_metric.compute(), all_predictions, all_failures)
