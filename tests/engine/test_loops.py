import math
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from nonlocal_video.engine.optim import Schedule, build_optimizer
from nonlocal_video.engine.step import TrainState
from nonlocal_video.engine.train import MAX_SKIPPED, Callbacks, train
from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.settings import RuntimeConfig
from nonlocal_video.system.signals import Stopped, StopRequest
from nonlocal_video.tasks.single_label import single_label
from nonlocal_video.types import ClipBatch, Failure
from tests.small_runs import optim_of


def small(name: str = "nl_c2d_small_8x2", norm: str = "batch", dropout: float = 0.0) -> Classifier:
    torch.manual_seed(0)
    return build_model(name, num_classes=2, crop=48, dropout=dropout, norm=norm)


class Trained:
    """A run over these batches, and its callbacks."""

    def __init__(
        self,
        batches: Sequence[ClipBatch],
        *,
        lr: float = 0.05,
        model: Classifier | None = None,
        stop_after: int = 0,
        max_failed: float = 0.01,
        runtime: dict[str, Any] | None = None,
        **optim: Any,
    ) -> None:
        model = model or small()
        settings = optim_of(steps=len(batches), momentum=0.9, nesterov=True, weight_decay=0.0, **optim)
        optimizer = build_optimizer(model.groups(), settings, lr=lr)
        self.state = TrainState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))
        self.records: list[dict] = []
        self.saved: list[int] = []
        self.evaluated: list[int] = []
        self.facts: list[dict] = []
        self.stop, self.stop_after = StopRequest(), stop_after
        train(
            self.state,
            batches,
            task=single_label(2),
            schedule=Schedule(lr, len(batches), milestones=[3]),
            seed=0,
            optim=settings,
            runtime=RuntimeConfig(**{"log_every": 2, "checkpoint_every": 4, **(runtime or {})}),
            max_failed=max_failed,
            callbacks=Callbacks(self.advance, self.log, self.evaluate, self.save, self.nonfinite, self.stop),
        )

    def advance(self, batch: ClipBatch) -> None:
        if self.state.step == self.stop_after:
            self.stop.hear(signal.SIGTERM, None)

    def log(self, record: dict[str, float], failures: list[Failure], batch: ClipBatch) -> None:
        self.records.append({**record, "failures": failures})

    def evaluate(self) -> bool:
        self.evaluated.append(self.state.step)
        return not self.stop()

    def save(self) -> None:
        self.saved.append(self.state.step)

    def nonfinite(self, facts: list[dict]) -> str:
        self.facts.extend(facts)
        return "nonfinite.json"


def red_or_blue(failures: tuple[Failure, ...] = ()) -> ClipBatch:
    clips = torch.zeros(4, 3, 8, 48, 48, dtype=torch.uint8)
    clips[:2, 0], clips[2:, 2] = 200, 200
    return ClipBatch(clips, torch.tensor([0, 0, 1, 1]), failures)


def test_training_learns_a_batch_by_heart_and_writes_at_its_steps() -> None:
    failure = Failure("a.mp4", "a.mp4: broken")
    run = Trained([red_or_blue(), red_or_blue((failure,)), *[red_or_blue() for _ in range(8)]])
    records = run.records
    assert [record["step"] for record in records] == [2, 4, 6, 8, 10]
    assert run.saved == [4, 8, 10]
    assert run.evaluated == [10]
    assert records[0]["failures"] == [failure]
    assert [record["failed_videos"] for record in records] == [1, 1, 1, 1, 1]
    assert [record["lr"] for record in records] == pytest.approx([0.05, 0.005, 0.005, 0.005, 0.005])
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]
    assert records[-1]["top1"] == 100
    assert run.state.step == 10


class Poisoned(list):
    """Batches of a network that is spoilt before batch `at`, and mended after it."""

    def __init__(self, batches: Sequence[ClipBatch], model: Classifier, *, at: int) -> None:
        super().__init__(batches)
        self.model, self.at = model, at

    def __iter__(self) -> Iterator[ClipBatch]:
        for number, batch in enumerate(super().__iter__()):
            kept = self.model.fc.bias.detach().clone()
            if number == self.at:
                self.model.fc.bias.data.fill_(math.nan)
            yield batch
            if number == self.at:
                self.model.fc.bias.data.copy_(kept)


def test_training_stops_at_a_loss_that_is_not_finite_and_names_the_videos() -> None:
    batches = [red_or_blue()._replace(names=(f"{i}.mp4",)) for i in range(20)]
    model = small()
    with pytest.raises(ValueError, match=r"the loss is nan at step 6, learning rate 0\.005.*nonfinite\.json"):
        Trained(Poisoned(batches, model, at=5), model=model, runtime={"log_every": 100, "checkpoint_every": 100})


def test_facts_on_a_loss_that_is_not_finite_are_kept() -> None:
    batches = [red_or_blue()._replace(names=(f"{i}.mp4",)) for i in range(20)]
    model = small()
    run: list[Trained] = []

    class Seen(Trained):
        def nonfinite(self, facts: list[dict]) -> str:
            run.append(self)
            return super().nonfinite(facts)

    with pytest.raises(ValueError, match="the loss is nan"):
        Seen(Poisoned(batches, model, at=5), model=model, runtime={"log_every": 100, "checkpoint_every": 100})
    (bad,) = (fact for fact in run[0].facts if not math.isfinite(fact["loss"]) and fact["step"] == 6)
    assert (bad["videos"], bad["rank"], bad["clips"]) == (["5.mp4"], 0, 4)
    assert bad["lr"] == pytest.approx(0.005)
    assert run[0].saved == []


def test_a_network_that_is_not_finite_is_never_saved() -> None:
    """A rate so large that the weights overflow in the step before the checkpoint, whose loss is still finite."""
    with pytest.raises(ValueError, match=r"the network after step 1: .* tensors are not finite"):
        Trained([red_or_blue() for _ in range(4)], lr=1e38, runtime={"checkpoint_every": 1, "log_every": 1})


def test_a_step_whose_gradient_is_not_finite_is_skipped_and_counted_when_told_to() -> None:
    """The network, its statistics and the optimizer end as if the batch had never come."""
    model, other = small(), small()
    batches = [red_or_blue() for _ in range(6)]
    run = Trained(Poisoned(batches, model, at=2), model=model, lr=0.01, nonfinite="skip")
    without = Trained(batches[:5], model=other, lr=0.01, nonfinite="skip", runtime={"log_every": 100})
    assert (run.state.step, run.state.num_skipped, without.state.num_skipped) == (6, 1, 0)
    assert [record["skipped_steps"] for record in run.records] == [0, 1, 1]
    assert all(math.isfinite(record["loss"]) for record in run.records)
    names = [name for name in model.state_dict() if "num_batches_tracked" in name]
    assert all(model.state_dict()[name] == 5 for name in names)
    # The rate falls after 3 steps of either, one of which was skipped in the first.
    assert [record["lr"] for record in run.records] == pytest.approx([0.01, 0.001, 0.001])


def test_an_interval_in_which_every_step_was_skipped_has_no_loss() -> None:
    model = small()
    run = Trained(Poisoned([red_or_blue() for _ in range(4)], model, at=0), model=model, nonfinite="skip",
                  runtime={"log_every": 1, "checkpoint_every": 100})  # fmt: skip
    assert "loss" not in run.records[0]
    assert all("loss" in record for record in run.records[1:])


def test_training_stops_when_too_many_steps_in_a_row_are_skipped() -> None:
    model = small("c2d_small_8x2")
    model.fc.bias.data.fill_(math.nan)
    with pytest.raises(ValueError, match=f"gradients of {MAX_SKIPPED} steps in a row were not finite"):
        Trained([red_or_blue()] * (MAX_SKIPPED + 10), model=model, nonfinite="skip", runtime={"checkpoint_every": 1000})


def test_gradients_are_scaled_down_to_a_norm() -> None:
    """One step of SGD without momentum's past moves by lr (1 + 0.9) g: its norm is 1.9 lr clip_norm."""
    moved = []
    for clip_norm in (None, 1e-3):
        model = small()
        before = [parameter.detach().clone() for parameter in model.parameters()]
        Trained([red_or_blue()], model=model, lr=0.5, clip_norm=clip_norm)
        total = sum((a - b).square().sum() for a, b in zip(model.parameters(), before, strict=True)) ** 0.5
        moved.append(float(total.detach()))
    assert moved[0] > 0.5 * 1.9 * 1e-3 * 10
    assert moved[1] == pytest.approx(0.5 * 1.9 * 1e-3, rel=1e-3)


def test_a_signal_saves_at_the_next_step_and_ends_the_run() -> None:
    class Seen(Trained):
        def save(self) -> None:
            super().save()
            seen.append(self.state.step)

    seen: list[int] = []
    with pytest.raises(Stopped) as stopped:
        Seen([red_or_blue() for _ in range(30)], stop_after=6, runtime={"checkpoint_every": 100})
    assert stopped.value.code == 128 + signal.SIGTERM
    assert seen in ([6], [7])  # The ranks hear of it a step later.


def test_a_signal_while_it_evaluates_saves_without_the_evaluation() -> None:
    class Interrupted(Trained):
        def evaluate(self) -> bool:
            self.stop.hear(signal.SIGUSR1, None)
            return False

        def save(self) -> None:
            seen.append((self.state.step, self.state.precise_bn))

    seen: list[tuple[int, Any]] = []
    with pytest.raises(Stopped):
        Interrupted([red_or_blue() for _ in range(9)], runtime={"checkpoint_every": 100, "validate_every": 3})
    assert seen == [(3, None)]


def test_an_evaluation_that_a_signal_cut_short_is_made_up_for() -> None:
    """Else the weights of a finished run would be exported without what it measures."""

    class Interrupted(Trained):
        def evaluate(self) -> bool:
            runs.append(self)
            self.stop.hear(signal.SIGUSR1, None)
            return False

    runs: list[Trained] = []
    with pytest.raises(Stopped):
        Interrupted([red_or_blue() for _ in range(3)])
    state = runs[0].state
    assert (state.step, state.evaluated) == (3, 0)
    done: list[str] = []
    callbacks = Callbacks(
        advance=lambda batch: None,
        log=lambda record, failures, batch: None,
        evaluate=lambda: done.append("evaluated") is None,
        save=lambda: done.append(f"saved after {state.evaluated}"),
        nonfinite=lambda facts: "",
        stop=StopRequest(),
    )
    for _ in range(2):
        train(
            state,
            list[ClipBatch](),
            task=single_label(2),
            schedule=Schedule(0.1, 3),
            seed=0,
            optim=optim_of(steps=3),
            runtime=RuntimeConfig(log_every=1, checkpoint_every=1),
            max_failed=0.01,
            callbacks=callbacks,
        )
    assert done == ["evaluated", "saved after 3"]


def test_evaluations_come_at_their_steps_and_after_the_last() -> None:
    run = Trained([red_or_blue() for _ in range(8)], runtime={"validate_every": 3, "checkpoint_every": 100})
    assert run.evaluated == [3, 6, 8]
    assert run.saved == [3, 6, 8]


def test_passes_of_a_step_add_up_to_one_pass_over_its_clips() -> None:
    """In float64, without batch normalisation, which sees the clips of a pass. The loss is computed in float32."""

    def trained(accumulate: int) -> dict[str, torch.Tensor]:
        model = small("c2d_small_8x2", norm="affine").double()
        Trained([red_or_blue() for _ in range(4)], model=model, lr=0.01, runtime={"accumulate": accumulate})
        return model.state_dict()

    whole = trained(1)
    for accumulate in (2, 4):
        for name, weight in trained(accumulate).items():
            assert torch.allclose(weight, whole[name], atol=1e-8), name


def test_training_stops_with_the_names_when_too_many_videos_fail() -> None:
    failures = tuple(Failure(f"{i}.mp4", f"{i}.mp4: broken") for i in range(11))
    assert Trained([red_or_blue(failures), red_or_blue()], max_failed=1.0).state.num_failures == 11
    assert Trained([red_or_blue(failures[:10]), red_or_blue()]).state.num_failures == 10
    with pytest.raises(
        ValueError, match=r"11 of 19 drawn videos cannot be decoded.*max_failed=0\.01(.|\n)*3\.mp4: broken"
    ):
        Trained([red_or_blue(failures), red_or_blue()])


def test_a_time_out_is_counted() -> None:
    failures = (Failure("a.mp4", "a.mp4: not decoded within 60 s", transient=True), Failure("b.mp4", "b.mp4: broken"))
    state = Trained([red_or_blue(failures), red_or_blue()]).state
    assert (state.num_failures, state.num_transient) == (2, 1)


def test_waiting_for_data_shows() -> None:
    class Slow(list):
        def __iter__(self) -> Iterator[ClipBatch]:
            for batch in super().__iter__():
                time.sleep(0.5)
                yield batch

    quick, slow = (Trained(kind([red_or_blue() for _ in range(2)])).records[-1]["data_wait"] for kind in (list, Slow))
    assert 0 <= quick < slow <= 100
