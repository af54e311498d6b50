import math
import time
from collections.abc import Iterator, Sequence

import pytest
import torch

from nonlocal_video.engine.evaluate import evaluate
from nonlocal_video.engine.optim import StepSchedule, build_sgd
from nonlocal_video.engine.state import TrainState
from nonlocal_video.engine.train import train
from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.types import Batch, Failure, TestItem, Views


def small(name: str = "nl_c2d_small_8x2", norm: str = "batch") -> Classifier:
    torch.manual_seed(0)
    return build_model(name, num_classes=2, crop=48, dropout=0.0, norm=norm)


def run(
    batches: Sequence[Batch],
    *,
    lr: float = 0.05,
    log_every: int = 2,
    accumulate: int = 1,
    model: Classifier | None = None,
    max_failed: float = 0.01,
) -> tuple[TrainState, list[dict], list[int]]:
    """Trains on these batches; gives the state, the records and the steps at which it was saved."""
    model = model or small()
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
        accumulate=accumulate,
        max_failed=max_failed,
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


def test_passes_of_a_step_add_up_to_one_pass_over_its_clips() -> None:
    """In float64, without batch normalisation, which sees the clips of a pass. The loss is computed in float32."""

    def trained(accumulate: int) -> dict[str, torch.Tensor]:
        model = small("c2d_small_8x2", norm="affine").double()
        run([red_or_blue() for _ in range(4)], model=model, lr=0.01, accumulate=accumulate)
        return model.state_dict()

    whole = trained(1)
    for accumulate in (2, 4):
        for name, weight in trained(accumulate).items():
            assert torch.allclose(weight, whole[name], atol=1e-8), name


def test_training_stops_with_the_names_when_too_many_videos_fail() -> None:
    failures = tuple(Failure(f"{i}.mp4", f"{i}.mp4: broken") for i in range(11))
    assert run([red_or_blue(failures), red_or_blue()], max_failed=1.0)[0].num_failures == 11
    assert run([red_or_blue(failures[:10]), red_or_blue()])[0].num_failures == 10
    with pytest.raises(
        ValueError, match=r"11 of 19 drawn videos cannot be decoded.*max_failed=0\.01(.|\n)*3\.mp4: broken"
    ):
        run([red_or_blue(failures), red_or_blue()])


def test_a_time_out_is_told_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    failures = (Failure("a.mp4", "a.mp4: not decoded within 60 s", by_chance=True), Failure("b.mp4", "b.mp4: broken"))
    state, *_ = run([red_or_blue(failures), red_or_blue()])
    assert (state.num_failures, state.num_by_chance) == (2, 1)
    said = capsys.readouterr()
    assert "a.mp4: not decoded within 60 s; from here this run may not repeat exactly" in said.out + said.err
    assert "b.mp4" not in said.out + said.err


def test_waiting_for_data_shows(capsys: pytest.CaptureFixture[str]) -> None:
    class Slow(list):
        def __iter__(self) -> Iterator[Batch]:
            for batch in super().__iter__():
                time.sleep(0.5)
                yield batch

    quick, slow = (run(kind([red_or_blue() for _ in range(2)]))[1][-1]["data_wait"] for kind in (list, Slow))
    assert 0 <= quick < 5
    assert 5 < slow <= 100


def test_scores_of_a_video_are_the_mean_over_its_views_for_any_chunk() -> None:
    model = small().eval()
    torch.nn.init.normal_(model.fc.weight)
    torch.manual_seed(1)
    rows = torch.randint(0, 20, (5, 8))
    frames = torch.randint(0, 256, (3, 20, 55, 55, 3), dtype=torch.uint8)
    videos = [TestItem(i % 2, f"{i}.mp4", Views(frames[i], rows, ((0, 0),), 55)) for i in range(3)]
    broken = TestItem(0, "b.mp4", Failure("b.mp4", "broken"))
    expected = [
        torch.stack([model.scores(frames[i, row].permute(3, 0, 1, 2)[None])[0] for row in rows]).mean(0)
        for i in range(3)
    ]
    for chunk in (1, 2, 5, 100):
        result = evaluate(model, [*videos, broken], chunk=chunk, precision="fp32")
        assert [prediction.video for prediction in result.predictions] == ["0.mp4", "1.mp4", "2.mp4"]
        assert result.failures == [Failure("b.mp4", "broken")]
        for prediction, scores in zip(result.predictions, expected, strict=True):
            assert prediction.scores == pytest.approx(scores.tolist(), abs=1e-5)
        correct = sum(int(scores.argmax()) == sample.label for scores, sample in zip(expected, videos, strict=True))
        top1 = result.video["top1"]
        assert top1 is not None
        assert math.isclose(top1, 100 * correct / 3)
