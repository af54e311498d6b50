import math
from collections.abc import Sequence

import pytest
import torch
from torch.utils.data import DataLoader

from nonlocal_video.engine.evaluate import evaluate
from nonlocal_video.engine.optim import StepSchedule, build_sgd
from nonlocal_video.engine.state import TrainState
from nonlocal_video.engine.train import train
from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.types import Batch, Failure, Sample


def small() -> Classifier:
    torch.manual_seed(0)
    return build_model("nl_c2d_small_8x2", num_classes=2, crop=48, dropout=0.0)


def run(batches: Sequence[Batch], *, lr: float = 0.05, log_every: int = 2) -> tuple[TrainState, list[dict], list[int]]:
    """Trains on these batches; gives the state, the records and the steps at which it was saved."""
    model = small()
    optimizer = build_sgd(model, lr=lr, momentum=0.9, nesterov=True, weight_decay=0.0)
    state = TrainState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))
    records: list[dict] = []
    saved: list[int] = []
    train(
        state,
        batches,
        last_step=len(batches),
        schedule=StepSchedule(lr, [3]),
        seed=0,
        precision="fp32",
        log_every=log_every,
        write_log=lambda record, failures: records.append({**record, "failures": failures}),
        checkpoint_every=4,
        save=lambda: saved.append(state.step),
    )
    return state, records, saved


def red_or_blue(failures: tuple[Failure, ...] = ()) -> Batch:
    clips = torch.zeros(4, 3, 8, 48, 48, dtype=torch.uint8)
    clips[:2, 0], clips[2:, 2] = 200, 200
    return Batch(clips, torch.tensor([0, 0, 1, 1]), failures)


def test_training_learns_a_batch_by_heart_and_writes_at_its_steps() -> None:
    failure = Failure("a.mp4", "a.mp4: broken")
    state, records, saved = run([red_or_blue(), red_or_blue((failure,)), *[red_or_blue() for _ in range(8)]])
    assert [record["step"] for record in records] == [2, 4, 6, 8, 10]
    assert saved == [4, 8, 10]
    assert records[0]["failures"] == [failure]
    assert [record["failed_videos"] for record in records] == [1, 1, 1, 1, 1]
    assert [record["lr"] for record in records] == pytest.approx([0.05, 0.005, 0.005, 0.005, 0.005])
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]
    assert records[-1]["top1"] == 100
    assert state.step == 10


def test_training_stops_at_a_loss_that_is_not_finite() -> None:
    with pytest.raises(ValueError, match="the loss is nan near step"):
        run([red_or_blue() for _ in range(4)], lr=1e30)


def test_scores_of_a_video_are_the_mean_over_its_views_for_any_chunk() -> None:
    model = small().eval()
    torch.nn.init.normal_(model.fc.weight)
    torch.manual_seed(1)
    videos = [Sample(torch.randint(0, 256, (5, 3, 8, 55, 55), dtype=torch.uint8), i % 2, f"{i}.mp4") for i in range(3)]
    broken = Sample(torch.empty(0), 0, "b.mp4", (Failure("b.mp4", "broken"),))
    expected = [torch.stack([model.scores(view[None])[0] for view in sample.clips]).mean(0) for sample in videos]
    for chunk in (1, 2, 5, 100):
        result = evaluate(model, DataLoader([*videos, broken], batch_size=None), chunk=chunk, precision="fp32")
        assert [prediction.video for prediction in result.predictions] == ["0.mp4", "1.mp4", "2.mp4"]
        assert result.failures == [Failure("b.mp4", "broken")]
        for prediction, scores in zip(result.predictions, expected, strict=True):
            assert prediction.scores == pytest.approx(scores.tolist(), abs=1e-5)
        correct = sum(int(scores.argmax()) == sample.label for scores, sample in zip(expected, videos, strict=True))
        top1 = result.video["top1"]
        assert top1 is not None
        assert math.isclose(top1, 100 * correct / 3)
