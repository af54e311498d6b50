"""The worked example of docs/your_own_function.md is applied as it stands there, and is what the page says of it."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import torch
from omegaconf import OmegaConf

from nonlocal_video.cli import compose as edge
from nonlocal_video.cli.tables import composed, read_table, row_config
from nonlocal_video.models import NonLocalBlock, build_model, pairwise
from nonlocal_video.models.complexity import Cost, complexity
from nonlocal_video.models.placement import built_places
from nonlocal_video.runs.network import composed_network
from nonlocal_video.settings import TableConfig, settings_of

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "your_own_function.md").read_text()
PAIRWISE_PY = "nonlocal_video/models/pairwise.py"
TABLE = "configs/experiment/miniature/table2a.yaml"


class Example(NamedTuple):
    """The files of the page's diffs, patched."""

    folder: Path
    functions: ModuleType
    """The patched pairwise.py, under the name of a package of one's own."""


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    if shutil.which("git") is None:
        pytest.skip("git apply needs git")
    folder = tmp_path_factory.mktemp("example")
    diff = "".join(blocks("diff"))
    for name in re.findall(r"^\+\+\+ b/(.+)$", diff, re.MULTILINE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}  # In no repository around it.
    subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=folder, env=environment, check=True)
    return Example(folder, load(folder / PAIRWISE_PY, "my_package"))


@pytest.fixture
def efficient(example: Example, monkeypatch: pytest.MonkeyPatch) -> type[torch.nn.Module]:
    """The class of the page; in this process it has its name in the real `PAIRWISE`."""
    monkeypatch.setitem(pairwise.PAIRWISE, "efficient", example.functions.EfficientAttention)
    return example.functions.EfficientAttention


def names_of(path: Path) -> set[str]:
    """What a module defines."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def test_example_is_a_class_a_line_and_a_row(example: Example) -> None:
    (change, _) = blocks("diff")
    assert re.findall(r"^\+\+\+ b/(.+)$", change, re.MULTILINE) == [PAIRWISE_PY, TABLE]
    assert not re.findall(r"^-(?!--)", change, re.MULTILINE)
    assert names_of(example.folder / PAIRWISE_PY) - names_of(ROOT / PAIRWISE_PY) == {"EfficientAttention"}
    assert list(example.functions.PAIRWISE) == [*pairwise.PAIRWISE, "efficient"]


@pytest.mark.parametrize(("n", "m"), [(9, 4), (300, 200)], ids=["as a matrix", "reordered"])
def test_class_of_the_example_is_the_double_softmax(example: Example, n: int, m: int) -> None:
    """Summed pair by pair, in float64 to 1e-10; the weights of a query are positive and sum to 1."""
    generator = torch.Generator().manual_seed(0)
    theta, phi, g = (
        torch.randn(2, k, c, dtype=torch.float64, generator=generator) for k, c in ((n, 8), (m, 8), (m, 5))
    )
    q = theta.exp() / theta.exp().sum(dim=2, keepdim=True)
    k = phi.exp() / phi.exp().sum(dim=1, keepdim=True)
    weights = torch.einsum("bnc,bmc->bnm", q, k)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, n, dtype=torch.float64), rtol=1e-10, atol=0)
    y = example.functions.EfficientAttention(8)(theta, phi, g)
    torch.testing.assert_close(y, torch.einsum("bnm,bmd->bnd", weights, g), rtol=1e-10, atol=1e-10)


def test_network_builds_with_the_example(efficient: type[torch.nn.Module]) -> None:
    """FLOPs as on the page: those of the definition, and fewer as executed, in res3 only."""
    with torch.device("meta"):
        model = build_model("nl_c2d_r50_32x2", num_classes=400, pairwise="efficient")
    assert [place.pairwise for place in built_places(model)] == ["efficient"] * 5
    costs = complexity(model, length=32, height=224, width=224)
    total = sum(costs.values(), Cost())
    page = re.search(r"([\d.]+) GFLOPs, of\s+which ([\d.]+) are executed", PAGE)
    assert page is not None
    assert [round(macs / 1e9, 2) for macs in (total.macs, total.executed_macs)] == [float(one) for one in page.groups()]
    assert [stage for stage, cost in costs.items() if cost.executed_macs < cost.macs] == ["res3"]


def test_counts_of_the_page_are_those_of_the_class(example: Example) -> None:
    rows = re.findall(r"^\|[^|]+\| (\d+) \| (\d+) \| (\d+) \| ([\d.]+)M \| ([\d.]+)M \|$", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for row in rows:
        n, m, c = map(int, row[:3])
        matrix, reordered = (float(one) * 1e6 for one in row[3:])
        assert matrix == pytest.approx(n * m * 2 * c, rel=0.01)
        assert reordered == pytest.approx(c * c * (n + m), rel=0.01)
        executed = example.functions.EfficientAttention(c).macs(n, c, m, c)[1]
        assert executed == pytest.approx(min(matrix, reordered), rel=0.01)


def test_suite_takes_the_definition_of_the_example(
    example: Example, efficient: type[torch.nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_blocks = load(example.folder / "tests/models/test_nonlocal_block.py", "patched_test_block")
    for subsample in ("none", "before", "after"):
        in_blocks.check_definition(in_blocks.random_block("efficient", subsample=subsample), in_blocks.SHAPE)
    in_half = load(example.folder / "tests/models/test_half_precision.py", "patched_test_half")
    in_half.test_large_activations_keep_values_and_gradients("efficient", 8.0, torch.bfloat16, 0.03, monkeypatch)


def test_table_of_the_example_has_the_row(example: Example) -> None:
    table = read_table("miniature/table2a", configs=example.folder / "configs")
    row = list(table.rows.values())[-1]
    assert (row.name, row.baseline, row.paper) == ("efficient", "c2d", None)
    config = row_config(table, row, ["seed=0"])
    assert config.model.pairwise == "efficient"
    assert config.model.nonlocal_blocks == 1
    assert f"/{config.name} " in PAGE
    assert f"x {config.optim.steps} steps" in PAGE


def test_function_of_ones_own_stays_outside_the_project(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, on the command line and in a row, and as a class."""
    monkeypatch.setitem(sys.modules, "my_package", example.functions)
    (own,) = re.findall(r" (model\.pairwise=my_package\.\w+)$", PAGE, re.MULTILINE)
    (written,) = blocks("yaml")
    rows = OmegaConf.to_container(OmegaConf.create(written))
    table = settings_of(TableConfig, {"name": "page", "title": "", "rows": rows})
    on_command_line = edge.train_config(
        *composed("train", ["experiment=miniature/narrow", "model.nonlocal_blocks=1", own])
    )
    for config in (on_command_line, row_config(table, *table.rows.values())):
        with torch.device("meta"):
            (place,) = built_places(composed_network(config.model))
        assert place.pairwise == "my_package.EfficientAttention"
    assert NonLocalBlock(8, pairwise=example.functions.EfficientAttention).pairwise_name == place.pairwise


@pytest.mark.slow
def test_map_lists_the_files_that_a_sample_passes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.trace_sample"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(f"- {line}" in (ROOT / "nonlocal_video/README.md").read_text() for line in lines)
