from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nonlocal_video.data.clips import random_clip
from nonlocal_video.data.dataset import ValidationVideos
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.loader import Loader, shard_plan
from nonlocal_video.data.transforms import training_crop
from nonlocal_video.engine.validate import validate
from nonlocal_video.metrics.average_precision import mean_ap
from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.system.distributed import rank
from nonlocal_video.tasks.clips import ClipTask
from nonlocal_video.tasks.multi_label import multi_label
from nonlocal_video.tasks.single_label import single_label
from nonlocal_video.types import ClipBatch, Failure
from tests.engine.ranks import on_ranks

ONE, SEVERAL = single_label(7), multi_label(7, scope="video")


def small(num_classes: int = 7) -> Classifier:
    """Dropout would show; the classifier says different things of different clips."""
    torch.manual_seed(0)
    model = build_model("c2d_small_8x2", num_classes=num_classes, crop=48, dropout=0.5)
    nn.init.normal_(model.fc.weight)
    return model


def clips_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    brightness = torch.randint(1, 256, (10, 3, 1, 1, 1), generator=generator)
    noise = torch.rand(10, 3, 8, 48, 48, generator=generator)
    return (noise * brightness).to(torch.uint8), torch.arange(10) % 7


def batches_of(size: int, *failures: Failure) -> list[ClipBatch]:
    clips, labels = clips_and_labels()
    parts = list(zip(clips.split(size), labels.split(size), strict=True))
    return [ClipBatch(c, n, failures if i == 0 else ()) for i, (c, n) in enumerate(parts)]


def outcome(
    batches: list[ClipBatch] | Iterator[ClipBatch], *, model: Classifier | None = None, task: ClipTask = ONE
) -> dict[str, float]:
    found = validate(model or small(), batches, task=task, precision="fp32", stopped=lambda: False)
    assert found is not None
    return found


@pytest.mark.parametrize("size", [1, 4, 10])
def test_scores_are_those_of_the_clips_one_by_one(size: int) -> None:
    model, (clips, labels) = small().eval(), clips_and_labels()
    with torch.no_grad():
        logits = torch.cat([model(clip[None]) for clip in clips])
    found = outcome(batches_of(size))
    assert found.keys() == {"clip_loss", "clip_top1", "clip_top5", "videos", "failed"}
    assert found["clip_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)
    for k in (1, 5):
        correct = (logits.topk(k).indices == labels[:, None]).any(dim=1).sum().item()
        assert found[f"clip_top{k}"] == pytest.approx(10 * correct)
    assert (found["videos"], found["failed"]) == (10, 0)


def of_several(size: int) -> list[ClipBatch]:
    clips, labels = clips_and_labels()
    several = F.one_hot(labels, 7).float() + F.one_hot((labels + 2) % 7, 7)
    return [ClipBatch(c, n) for c, n in zip(clips.split(size), several.split(size), strict=True)]


@pytest.mark.parametrize("size", [1, 4, 10])
def test_several_classes_are_scored_by_their_average_precision(size: int) -> None:
    model, (clips, _) = small().eval(), clips_and_labels()
    with torch.no_grad():
        logits = torch.cat([model(clip[None]) for clip in clips])
    labels = torch.cat([batch.labels for batch in of_several(10)])
    found = outcome(of_several(size), task=SEVERAL)
    assert found.keys() == {"clip_loss", "clip_map", "videos", "failed"}
    assert found["clip_loss"] == pytest.approx(F.binary_cross_entropy_with_logits(logits, labels).item(), rel=1e-4)
    assert found["clip_map"] == pytest.approx(mean_ap(logits, labels > 0).mean)


def test_few_classes_have_no_top5() -> None:
    clips, labels = clips_and_labels()
    assert "clip_top5" not in outcome([ClipBatch(clips, labels % 2)], model=small(2), task=single_label(2))


def test_modes_and_random_state_stay_as_they_were() -> None:
    """Some layers may be in evaluation mode while others train: a frozen backbone."""
    model = small().train()
    model.backbone.eval()
    torch.manual_seed(5)
    state = torch.get_rng_state()

    def drawing() -> Iterator[ClipBatch]:
        for batch in batches_of(4):
            torch.rand(1)
            yield batch

    outcome(drawing(), model=model)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model.dropout.training
    assert not any(module.training for module in model.backbone.modules())


def test_videos_that_failed_are_counted_and_named() -> None:
    failures = [Failure(f"{i}.mp4", f"{i}.mp4: broken") for i in range(8)]
    said: list[str] = []
    batches = batches_of(4, *failures)
    found = validate(small(), batches, task=ONE, precision="fp32", stopped=lambda: False, note=said.append)
    assert found is not None
    assert (found["videos"], found["failed"]) == (10, 8)
    assert found["clip_loss"] == pytest.approx(outcome(batches_of(4))["clip_loss"])
    (text,) = said
    assert text.startswith("validation: 8 videos could not be decoded\n  0.mp4: broken\n")
    assert text.endswith("4.mp4: broken\n  and 3 more")


def test_nothing_to_score_is_an_error_with_the_cause() -> None:
    nothing = ClipBatch(
        torch.empty(0, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), (Failure("a", "a: broken"),)
    )
    with pytest.raises(ValueError, match=r"validation: none of 1 videos can be decoded\n  a: broken"):
        outcome([nothing])


def test_a_stop_gives_no_scores() -> None:
    answers, batches = iter([False, True]), iter(batches_of(2))
    assert validate(small(), batches, task=ONE, precision="fp32", stopped=lambda: next(answers)) is None
    assert len(list(batches)) == 3


def test_every_validation_of_a_list_is_the_same(miniature: Path, tmp_path: Path) -> None:
    entries = read_list(str(miniature / "relation_val.txt"), root=str(miniature), num_classes=2)
    (tmp_path / "broken.mp4").write_text("no video")
    entries[2] = entries[2]._replace(path=str(tmp_path / "broken.mp4"))
    fit = partial(training_crop, jitter=(55, 69), crop=48, flip=True)
    found, task = [], single_label(2)
    for clips in (1, 4):
        pick = partial(random_clip, length=8, stride=4)
        videos = ValidationVideos(entries, seed=0, pick=pick, fit=fit, target=task.validation_target)
        plan = shard_plan(len(videos), clips=clips, rank=0, world_size=1)
        loader = Loader(videos, plan, collate=task.collate, workers=0, limit_s=60)
        found.append(validate(small(2), loader, task=task, precision="fp32", stopped=lambda: False))
    assert found[0] is not None
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert (found[0]["videos"], found[0]["failed"]) == (len(entries) - 1, 1)


def _share(stop_on: int | None) -> tuple[dict[str, float] | None, list[str]]:
    """Rank 1 has no whole video."""
    failures = (Failure(f"{rank()}.mp4", f"{rank()}.mp4: broken"),)
    nothing = ClipBatch(torch.empty(0, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), failures)
    mine, said = [*batches_of(4), nothing] if rank() == 0 else [nothing], list[str]()
    found = validate(small(), mine, task=ONE, precision="fp32", stopped=lambda: rank() == stop_on, note=said.append)
    return found, said


def _share_several() -> dict[str, float] | None:
    """Rank 1 has nothing."""
    mine = of_several(4) if rank() == 0 else []
    return validate(small(), mine, task=SEVERAL, precision="fp32", stopped=lambda: False)


@pytest.mark.slow
def test_ranks_rank_several_classes_together() -> None:
    first, second = on_ranks(2, _share_several)
    assert first == second == pytest.approx(outcome(of_several(4), task=SEVERAL))


@pytest.mark.slow
def test_ranks_count_together_and_stop_together() -> None:
    expected = {**outcome(batches_of(4)), "failed": 2}
    (first, said), (second, nothing_said) = on_ranks(2, partial(_share, None))
    assert first == second == pytest.approx(expected)
    assert "2 videos could not be decoded\n  0.mp4: broken\n  1.mp4: broken" in said[0]
    assert nothing_said == []
    assert on_ranks(2, partial(_share, 1)) == [(None, []), (None, [])]
