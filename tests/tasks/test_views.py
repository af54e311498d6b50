import os
import platform
import resource
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor

from nonlocal_video.engine.evaluate import evaluate
from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.tasks.views import Scorer, VideoJudge, is_full
from nonlocal_video.types import Failure, Prediction, TestItem, Views


def network() -> Classifier:
    torch.manual_seed(0)
    model = build_model("nl_c2d_small_8x2", num_classes=2, crop=48).eval()
    torch.nn.init.normal_(model.fc.weight)
    return model


def video(number: int, label: int | None = None, *, height: int = 55, width: int = 55) -> TestItem:
    """Five clips of 8 of 20 frames."""
    generator = torch.Generator().manual_seed(number)
    frames = torch.randint(0, 256, (20, height, width, 3), dtype=torch.uint8, generator=generator)
    rows = torch.randint(0, 20, (5, 8), generator=generator)
    return TestItem(label, f"{number}.mp4", Views(frames, rows, ((0, 0),), (height, width)))


def predict(
    items: list[TestItem], scorer: Scorer, *, combine: str = "mean", keep_views: bool = False
) -> tuple[list[Prediction | Failure], VideoJudge]:
    outcomes: list[Prediction | Failure] = []
    judge = VideoJudge(scorer, combine=combine, keep_views=keep_views)
    evaluate(judge, items, finished=outcomes.append, total=len(items), unit="video")
    return outcomes, judge


def scorer_of(model: Classifier, *, chunk: int | None = 10, notes: list[str] | None = None) -> Scorer:
    return Scorer(model.eval().scores, chunk=chunk, precision="fp32", note=(notes if notes is not None else []).append)


def views_of(item: TestItem, model: Classifier) -> Tensor:
    """(V, K): every view by itself."""
    assert isinstance(item.views, Views)
    with torch.inference_mode():
        return torch.cat([model.scores(item.views.frames[row].permute(3, 0, 1, 2)[None]) for row in item.views.rows])


@pytest.mark.parametrize("chunk", [1, 2, 5, 100, None])
def test_scores_of_a_video_are_the_mean_over_its_views_for_any_chunk(chunk: int | None) -> None:
    model = network()
    items = [video(number, number % 2) for number in range(3)]
    broken = TestItem(0, "b.mp4", Failure("b.mp4", "broken"))
    outcomes, judge = predict([*items[:2], broken, items[2]], scorer_of(model, chunk=chunk))
    assert {outcome.video for outcome in outcomes} == {"0.mp4", "1.mp4", "2.mp4", "b.mp4"}
    assert Failure("b.mp4", "broken") in outcomes
    predictions = {one.video: one for one in outcomes if isinstance(one, Prediction)}
    for item in items:
        views = views_of(item, model)
        prediction = predictions[item.video]
        assert prediction.scores.dtype == torch.float64
        assert prediction.scores.tolist() == pytest.approx(views.double().mean(0).tolist(), abs=1e-5)
        assert prediction.label is not None
        wrong = 1 - prediction.label
        beaten = [int(clip[wrong] > clip[prediction.label]) for clip in views]
        assert list(prediction.clip_ranks) == beaten
        means = [views[: end + 1].double().mean(0) for end in range(5)]
        assert list(prediction.running_ranks) == [int(mean[wrong] > mean[prediction.label]) for mean in means]
    assert judge.pixels == 3 * 5 * 8 * 55 * 55


def test_the_maximum_over_the_views_and_the_views_themselves_can_be_had() -> None:
    model, item = network(), video(0, 1)
    (outcome,), _ = predict([item], scorer_of(model), combine="max", keep_views=True)
    assert isinstance(outcome, Prediction)
    views = views_of(item, model)
    assert outcome.views is not None
    assert torch.allclose(outcome.views, views, atol=1e-5)
    assert outcome.scores.tolist() == pytest.approx(views.amax(0).tolist(), abs=1e-5)


def test_a_video_without_label_has_scores_and_no_ranks() -> None:
    (outcome,), _ = predict([video(0)], scorer_of(network()))
    assert isinstance(outcome, Prediction)
    assert (outcome.label, outcome.clip_ranks, outcome.running_ranks) == (None, (), ())


def test_a_score_that_is_not_finite_names_its_video() -> None:
    model = network()
    model.fc.bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"0\.mp4: a score is not finite"):
        predict([video(0, 1)], scorer_of(model))


def test_full_frame_and_three_crops_agree_on_a_square_video() -> None:
    """To float32's rounding: three equal crops are three times the whole frame."""
    model, item = network(), video(0, 1, height=64, width=64)
    assert isinstance(item.views, Views)
    three = item._replace(views=item.views._replace(corners=((0, 0),) * 3))
    (one,), _ = predict([item], scorer_of(model))
    (other,), _ = predict([three], scorer_of(model))
    assert isinstance(one, Prediction)
    assert isinstance(other, Prediction)
    assert torch.allclose(one.scores, other.scores, atol=1e-6)
    assert one.running_ranks == other.running_ranks


def test_a_wide_frame_is_scored_at_every_position_of_its_map() -> None:
    """The mean over positions of the softmax, as where each window of the final map had been cut out by itself."""
    model = network()
    wide = torch.randint(0, 256, (1, 3, 8, 64, 112), dtype=torch.uint8)
    with torch.inference_mode():
        logits = model._logits(wide)
        assert logits.shape[1] > model._logits(wide[..., :64]).shape[1]
        assert torch.allclose(model.scores(wide), logits.softmax(2).mean(1))


class Small(Classifier):
    """A network on a device that holds three views."""

    def scores(self, clips: Tensor) -> Tensor:
        if len(clips) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
        return super().scores(clips)


def test_chunks_become_smaller_once_when_the_memory_is_full() -> None:
    model = network()
    expected, _ = predict([video(0, 1), video(1, 0)], scorer_of(model))
    model.__class__ = Small
    notes: list[str] = []
    scorer = scorer_of(model, notes=notes)
    outcomes, _ = predict([video(0, 1), video(1, 0)], scorer)
    assert scorer.chunk == 2
    cause = "CUDA out of memory. Tried to allocate 2 GiB."
    assert notes == [f"the memory is full ({cause}); from here on 2 views at a time (runtime.chunk)"]
    for one, other in zip(outcomes, expected, strict=True):
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        assert torch.allclose(one.scores, other.scores, atol=1e-5)


def test_a_view_that_does_not_fit_is_an_error_that_says_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Classifier, _clips: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(Classifier, "scores", full)
    with pytest.raises(ValueError, match="a single view of 8x55x55 does not fit into the memory"):
        predict([video(0, 1)], scorer_of(network()))


def test_other_errors_are_no_full_memory() -> None:
    assert not is_full(RuntimeError("expected a tensor of 3 dimensions"))
    assert not is_full(RuntimeError("could not create a primitive descriptor for a matmul primitive"))
    assert is_full(RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"))


@pytest.mark.skipif(
    (platform.libc_ver()[0], platform.machine()) != ("glibc", "x86_64"),
    reason="needs a heap that keeps what is freed, and oneDNN",
)
def test_no_room_for_generated_code_is_full_memory() -> None:
    """The heap has room for every tensor, but the process gets no new pages for the code of a convolution."""
    script = """
        import resource, torch
        from nonlocal_video.tasks.views import is_full

        clips, weight = torch.zeros(2, 64, 8, 28, 28), torch.zeros(64, 64, 1, 3, 3)
        torch.zeros(6 * 2**20)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used, -1))
        for size in range(10, 28):
            try:
                torch.nn.functional.conv3d(clips[..., :size], weight)
            except RuntimeError as error:
                assert is_full(error), error
                print(error)
    """
    keep = {f"MALLOC_{name}_": str(2**25) for name in ("TRIM_THRESHOLD", "MMAP_THRESHOLD")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, **keep},
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "could not create a primitive" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="needs limits of the memory")
def test_chunks_become_smaller_where_the_memory_really_ends() -> None:
    """A process that may take 250 MB more than it has: the first map of 40 views of 8x112x112 is 257 MB."""
    script = """
        import resource, torch
        from nonlocal_video.models import build_model
        from nonlocal_video.tasks.views import Scorer
        from nonlocal_video.types import Views

        torch.set_num_threads(1)
        model = build_model("c2d_small_8x8", num_classes=5, stem_width=64)
        frames = torch.zeros(8, 112, 112, 3, dtype=torch.uint8)
        views = Views(frames, torch.arange(8).repeat(40, 1), ((0, 0),), (112, 112))
        scorer = Scorer(model.eval().scores, chunk=1, precision="fp32", note=print)
        scorer(views._replace(rows=views.rows[:1]))
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 250 * 2**20, -1))
        scorer.chunk = 40
        print(scorer(views).shape, scorer.chunk)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=False, capture_output=True, text=True, timeout=300
    )
    assert "the memory is full" in done.stdout, done.stderr
    assert "torch.Size([40, 5])" in done.stdout
