import ast
import re
from functools import cache
from pathlib import Path

import pytest
from importlinter.api import read_configuration
from importlinter.cli import lint_imports

ROOT = Path(__file__).parent.parent
FENCES = {
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "av": {
        "data/decoders/container.py",
        "data/decoders/index.py",
        "data/decoders/pyav.py",
        "data/prepare/encode.py",
    },
    "decord": {"data/decoders/fallback.py"},
    "torchcodec": {"data/decoders/fallback.py"},
    "PIL": {"data/decoders/frames.py", "reports/test/objects.py"},
    "pycocotools": {"data/coco/masks.py", "metrics/detection.py"},
    "pytorchvideo.transforms": set(),
}
FILES = sorted((ROOT / "nonlocal_video").rglob("*.py"))


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def imports(path: Path) -> list[str]:
    found = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            found += [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_behind_their_fences(path: Path) -> None:
    inside = path.relative_to(ROOT / "nonlocal_video")
    for name in imports(path):
        for library, allowed in FENCES.items():
            if name == library or name.startswith(f"{library}."):
                assert str(inside) in allowed or inside.parts[0] in allowed, f"{inside} imports {name}"


def loaded_with(start: str) -> set[str]:
    """The modules of the package and of libraries that a module imports at once, itself or by what it imports."""
    known, new = set[str](), {start}
    while new:
        name = new.pop()
        known.add(name)
        place = ROOT / name.replace(".", "/")
        file = next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)
        if file is not None:
            tree = ast.parse(file.read_text())
            named = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            for node in named:
                module = [node.module] if isinstance(node, ast.ImportFrom) else []
                new |= {str(name) for name in module} | {
                    f"{module[0]}.{alias.name}" if module else alias.name for alias in node.names
                }
            new -= known
    return known


def test_jobs_on_videos_load_neither_torchvision_nor_what_draws() -> None:
    """Each takes seconds to import."""
    loaded = loaded_with("nonlocal_video.cli.jobs") | loaded_with("nonlocal_video.cli.sweep")
    assert "nonlocal_video.runs.train" in loaded
    assert not {name for name in loaded if name.split(".")[0] in ("torchvision", "matplotlib", "scipy", "pycocotools")}
    assert "torchvision.ops" in loaded_with("nonlocal_video.runs.images"), "else this test sees nothing"


def test_imports_point_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", cache_dir=None) == 0


def test_map_has_the_layers_of_the_contract() -> None:
    """One table, in pyproject.toml; the map says what its rooms are for."""
    rooms = read_configuration(str(ROOT / "pyproject.toml"))["contracts_options"][0]["layers"]
    text = (ROOT / "nonlocal_video/README.md").read_text()
    floors = re.findall(r"^\| \d \| (.+?) \|", text, re.MULTILINE)
    assert [re.findall(r"`(\w+)", floor) for floor in floors] == [floor.split(" | ") for floor in rooms]


NAMING = {
    "resolve_name": {"runs/network.py"},
    "own_function": {
        "runs/network.py",
        "runs/test.py",
        "runs/detect.py",
        "runs/images.py",
        "cli/collect.py",
    },
    "composed_network": {"runs/clips.py", "tools/complexity.py"},
    "function_for": {"cli/compose.py", "tools/predict.py"},
    "import_module": {"__init__.py", "data/decoders/fallback.py"},
    "loads of pickle": {"data/dataset.py"},
    "load of torch": {"models/weights/torch_file.py"},
    "load of yaml": {"system/plain.py"},
    "load of OmegaConf": {"cli/tables.py", "tools/import_weights.py"},
}
"""What turns words into code or reads what could, and where it may be called: with words of the user, with constants,
and with what this process has written itself."""
NOWHERE = {
    "instantiate", "call of hydra", "get_class", "get_method", "get_object", "__import__", "eval", "exec", "load_url",
    "unsafe_load", "full_load", "load of pickle", "Unpickler", "load_state_dict_from_url",
}  # fmt: skip


def calls(path: Path) -> set[str]:
    """The functions that a file calls, by their names; methods of modules as `NAME of MODULE`, too."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                found.add(node.func.id)
            elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                found |= {f"{node.func.attr} of {node.func.value.id}", node.func.attr} - {"eval"}
            elif isinstance(node.func, ast.Attribute):
                found |= {node.func.attr} - {"eval"}
    return found


def test_code_is_named_in_one_place() -> None:
    tools, package = sorted((ROOT / "tools").glob("*.py")), ROOT / "nonlocal_video"
    called = {str(path.relative_to(ROOT if path in tools else package)): calls(path) for path in [*FILES, *tools]}
    for inside, names in called.items():
        assert not names & NOWHERE, inside
        for name in names & NAMING.keys():
            assert inside in NAMING[name], f"{inside} calls {name}"
    assert all(name in called[inside] for name, places in NAMING.items() for inside in places)


FOREIGN = {"clip", "clips", "video", "videos", "label", "labels", "top1", "hit", "num_classes", "Classifier"}
"""Words of the tasks on clips, which the loops do not know."""
OUR_OWN = {"nonlocal_video", "clip_norm", "clip_grad_norm_", "_clip"}
"""The package, and gradients."""


@pytest.mark.parametrize("path", sorted((ROOT / "nonlocal_video/engine").glob("*.py")), ids=lambda path: path.name)
def test_loops_know_no_clips(path: Path) -> None:
    words = set(re.findall(r"\w+", path.read_text())) - OUR_OWN
    parts = {part for word in words for part in (word, *word.split("_"))}
    assert not parts & FOREIGN
