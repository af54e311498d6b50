import copy
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nonlocal_video.engine.precise_bn import precise_statistics, with_statistics
from nonlocal_video.models import build_model
from nonlocal_video.system.distributed import rank
from nonlocal_video.tasks.single_label import single_label
from nonlocal_video.types import ClipBatch
from tests.engine.ranks import on_ranks

TASK = single_label(5)


class TwoLayers(nn.Module):
    """Clips -> conv1 -> bn1 -> ReLU -> conv2 -> bn2 -> mean -> dropout, with kernels of one position."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.conv1, self.bn1 = nn.Conv3d(3, 4, 1, bias=False), nn.BatchNorm3d(4)
        self.conv2, self.bn2 = nn.Conv3d(4, 5, 1, bias=False), nn.BatchNorm3d(5)
        self.dropout = nn.Dropout(0.5)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, clips: Tensor) -> Tensor:
        x = self.bn1(self.conv1(clips.float() / 255)).relu()
        return self.dropout(self.bn2(self.conv2(x)).mean(dim=(2, 3, 4)))


def brighter_and_brighter(num_batches: int) -> list[ClipBatch]:
    """Batches whose means differ, so that their mean variance is far from the variance of all."""
    generator = torch.Generator().manual_seed(0)
    return [
        ClipBatch(
            torch.randint(30 * i, 30 * i + 60, (2, 3, 2, 4, 4), dtype=torch.uint8, generator=generator), torch.zeros(2)
        )
        for i in range(num_batches)
    ]


def measured(
    model: nn.Module, batches: Sequence[ClipBatch] | Iterator[ClipBatch], *, precision: str = "fp32"
) -> dict[str, Tensor]:
    statistics = precise_statistics(model, batches, task=TASK, precision=precision, stopped=lambda: False)
    assert statistics is not None
    return statistics


def by_hand(model: TwoLayers, batches: Sequence[ClipBatch]) -> dict[str, np.ndarray]:
    """In NumPy and float64: each batch is normalised by itself; moments are averaged over the batches."""
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    moments: dict[str, list[np.ndarray]] = {"bn1": [], "bn2": []}
    for batch in batches:
        x = batch.clips.double().numpy() / 255
        for number in (1, 2):
            x = np.einsum("dc,bcthw->bdthw", weights[f"conv{number}.weight"][:, :, 0, 0, 0], x)
            mean, square = x.mean((0, 2, 3, 4)), (x**2).mean((0, 2, 3, 4))
            moments[f"bn{number}"].append(np.stack([mean, square]))
            shape = (1, -1, 1, 1, 1)
            x = (x - mean.reshape(shape)) / np.sqrt((square - mean**2).reshape(shape) + 1e-5)
            x = x * weights[f"bn{number}.weight"].reshape(shape) + weights[f"bn{number}.bias"].reshape(shape)
            x = np.maximum(x, 0)
    found = {}
    for name, values in moments.items():
        mean, square = np.mean(values, axis=0)
        found[f"{name}.running_mean"], found[f"{name}.running_var"] = mean, square - mean**2
    return found


def test_statistics_are_those_computed_by_hand() -> None:
    """To 1e-5; the unbiased variance of these batches of 64 positions would be 1.6% larger."""
    model, batches = TwoLayers(), brighter_and_brighter(5)
    expected = by_hand(model, batches)
    for network in (model, nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))):
        statistics = measured(network, batches)
        assert statistics.keys() == expected.keys()
        for name, value in statistics.items():
            assert value.dtype == torch.float32
            assert value.numpy() == pytest.approx(expected[name], rel=1e-5, abs=1e-6), name
    assert measured(model, batches, precision="bf16")["bn2.running_var"].numpy() == pytest.approx(
        expected["bn2.running_var"], rel=0.02
    )


def test_a_network_with_the_statistics_of_one_batch_evaluates_it_as_training_does() -> None:
    """To 1e-4: in training, PyTorch normalises by the biased variance."""
    model = build_model("nl_c2d_small_8x2", num_classes=3, crop=48, dropout=0.0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    batch = ClipBatch(torch.randint(0, 256, (4, 3, 8, 48, 48), dtype=torch.uint8), torch.zeros(4))
    statistics = measured(model, [batch])
    precise = with_statistics(model, statistics).eval()
    with torch.no_grad():
        assert not torch.allclose(model.eval()(batch.clips), precise(batch.clips), atol=0.1)
        assert torch.allclose(model.train()(batch.clips), precise(batch.clips), atol=1e-4)
    assert statistics.keys() <= model.state_dict().keys()
    assert "backbone.bn1.running_mean" in statistics


def test_the_network_and_the_random_state_stay_as_they_were() -> None:
    model = TwoLayers().train()
    model.conv1.eval()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(5)
    state = torch.get_rng_state()

    def drawing() -> Iterator[ClipBatch]:
        for batch in brighter_and_brighter(3):
            torch.rand(1)
            yield batch

    with_statistics(model, measured(model, drawing()))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.children()] == [False, True, True, True, True]
    assert not any(module._forward_hooks for module in model.modules())


def test_a_stop_gives_no_statistics() -> None:
    answers = iter([False, True])
    batches = iter(brighter_and_brighter(5))
    stopped = precise_statistics(TwoLayers(), batches, task=TASK, precision="fp32", stopped=lambda: next(answers))
    assert stopped is None
    assert len(list(batches)) == 3


def test_frozen_layers_are_not_measured_and_others_need_a_batch() -> None:
    assert measured(build_model("c2d_small_8x2", num_classes=3, crop=48, norm="affine"), []) == {}
    model, batches = TwoLayers(), brighter_and_brighter(2)
    model.bn1.eval()
    assert measured(model, batches).keys() == {"bn2.running_mean", "bn2.running_var"}
    model.bn2.eval()
    assert measured(model, []) == {}
    with pytest.raises(ValueError, match="got no batches, expected 1 or more"):
        measured(TwoLayers(), [])


def _share(stop_on: int | None) -> dict[str, Tensor] | None:
    mine = brighter_and_brighter(4)[rank() :: 2]
    return precise_statistics(TwoLayers(), mine, task=TASK, precision="fp32", stopped=lambda: rank() == stop_on)


@pytest.mark.slow
def test_ranks_share_the_batches_and_stop_together() -> None:
    """To 1e-6: sums in another order."""
    expected = measured(TwoLayers(), brighter_and_brighter(4))
    for found in on_ranks(2, partial(_share, None)):
        assert all(torch.allclose(found[name], value, rtol=1e-6) for name, value in expected.items())
    assert on_ranks(2, partial(_share, 1)) == [None, None]
