import pytest
import torch
from torch import nn

from nonlocal_video.engine.validate import contributions
from nonlocal_video.models import build_model
from nonlocal_video.models.classifier import Classifier
from nonlocal_video.models.nonlocal_block import NonLocalBlock
from nonlocal_video.tasks.single_label import single_label
from nonlocal_video.types import ClipBatch

PLACES, TASK = ["res3.0", "res4.1"], single_label(2)


def small(**options: object) -> Classifier:
    torch.manual_seed(0)
    return build_model("c2d_small_8x2", num_classes=2, crop=48, nonlocal_blocks=PLACES, **options)


def clips(number: int = 3) -> ClipBatch:
    return ClipBatch(torch.randint(0, 256, (number, 3, 8, 48, 48), dtype=torch.uint8), torch.zeros(number))


@pytest.mark.parametrize("norm", ["batch", "affine", "none"])
def test_blocks_add_exactly_nothing_at_initialisation(norm: str) -> None:
    assert contributions(small(nonlocal_norm=norm), clips(), task=TASK, precision="fp32") == dict.fromkeys(PLACES, 0.0)


@pytest.mark.parametrize(("norm", "axes"), [("batch", "spacetime"), ("none", "time"), ("affine", "space")])
def test_contribution_is_what_a_block_changes_of_its_input(norm: str, axes: str) -> None:
    """|z - x| / |x| of the running network, to 1e-4."""
    model, batch = small(nonlocal_norm=norm, axes=axes).eval(), clips()
    expected = []
    for block in model.modules():
        if isinstance(block, NonLocalBlock):
            nn.init.normal_(block.bn.weight if norm == "batch" else block.w_z.weight)
            block.register_forward_hook(
                lambda _, x, z: expected.append(
                    sum(((b - a).norm() / a.norm()).item() for a, b in zip(x[0], z, strict=True)) / len(z)
                )
            )
    with torch.no_grad():
        model(batch.clips)
    found = contributions(model, batch, task=TASK, precision="fp32")
    assert found == pytest.approx(dict(zip(PLACES, expected[:2], strict=True)), rel=1e-4)
    assert min(found.values()) > 1e-3
    assert contributions(model, batch, task=TASK, precision="bf16") == pytest.approx(found, rel=0.05)


def test_a_network_without_blocks_has_none() -> None:
    assert (
        contributions(build_model("c2d_small_8x2", num_classes=2, crop=48), clips(), task=TASK, precision="fp32") == {}
    )


def test_nothing_stays_behind() -> None:
    model = small().train()
    model.backbone.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch, state = clips(1), torch.get_rng_state()
    contributions(model, batch, task=TASK, precision="fp32")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert not model.backbone.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
