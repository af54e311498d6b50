"""Loading for a GPU, and testing on it."""

from collections.abc import Iterator

import pytest
import torch

from nonlocal_video.data.loader import Loader
from nonlocal_video.system.distributed import local_device
from nonlocal_video.tasks.single_label import single_label
from nonlocal_video.tasks.views import Scorer
from nonlocal_video.types import ClipBatch, Sample, TestItem, Views
from tests.tasks.test_views import network, scorer_of, video

pytestmark = pytest.mark.gpu


class Clips:
    """Clips whose pixels say their number."""

    def get(self, index: int, **_: object) -> Sample:
        return Sample(torch.full((1, 3, 2, 8, 8), index, dtype=torch.uint8), torch.tensor(index), f"{index}.mp4")

    def name(self, index: int, attempt: int) -> str:
        return f"{index}.mp4"


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_pinned_and_arrive_whole(workers: int) -> None:
    """Copies from pinned memory run beside the network, so many of them are under way before one is looked at."""
    plan = [range(start, start + 4) for start in range(0, 64, 4)]
    loader = Loader(Clips(), plan, collate=single_label(64).collate, workers=workers, limit_s=None)
    batches: list[ClipBatch] = list(loader)
    assert all(batch.clips.is_pinned() and batch.labels.is_pinned() for batch in batches)
    moved = [batch.clips.to(local_device(), non_blocking=True) for batch in batches]
    assert torch.cat(moved).amax((1, 2, 3, 4)).tolist() == list(range(64))


def test_views_are_the_same_wherever_they_are_cut() -> None:
    item = video(0, height=60, width=80).views
    assert isinstance(item, Views)
    views = item._replace(corners=((0, 0), (2, 10), (4, 20)), size=(56, 60), flips=True)
    for here, there in zip(views.chunks(7), views.to(local_device()).chunks(7), strict=True):
        assert there.device.type == "cuda"
        assert torch.equal(there.cpu(), here)


def test_scores_are_those_of_a_cpu() -> None:
    """To 1e-3: convolutions in TF32 have 10 bits."""
    model, item = network(), video(1)
    assert isinstance(item.views, Views)
    with torch.inference_mode():
        expected = torch.cat([model.scores(part) for part in item.views.chunks(10)])
    found = scorer_of(model.to(local_device()))(item.views)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-3)


@pytest.fixture
def _whole_memory() -> Iterator[None]:
    """Gives a process the whole memory of the GPU again."""
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def peak(scorer: Scorer, item: TestItem) -> int:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    assert isinstance(item.views, Views)
    scorer(item.views)
    return torch.cuda.max_memory_reserved()


@pytest.mark.usefixtures("_whole_memory")
def test_chunks_become_smaller_where_the_memory_of_the_gpu_ends() -> None:
    """The memory is cut to the middle between what one view needs and what five need together."""
    notes: list[str] = []
    model, item = network().to(local_device()), video(2, height=200, width=200)
    one, five = (peak(scorer_of(model, chunk=chunk), item) for chunk in (1, 5))
    assert five > 1.5 * one
    assert isinstance(item.views, Views)
    expected = scorer_of(model)(item.views)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((one + five) / 2 / torch.cuda.get_device_properties(0).total_memory)
    scorer = scorer_of(model, notes=notes)
    torch.testing.assert_close(scorer(item.views), expected, rtol=0, atol=1e-3)
    assert notes
    assert scorer.chunk in (1, 2)
