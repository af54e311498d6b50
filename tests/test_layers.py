import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {
    "types": 0, "distributed": 0, "files": 0, "signals": 0, "plain": 0, "waiting": 0,
    "launch": 1, "data": 1, "models": 1, "metrics": 1,
    "engine": 2, "detection": 2, "reports": 2,
    "settings": 3, "network": 3,
    "commandline": 4, "science": 4, "checks": 4, "evaluation": 4, "build": 4, "recipe": 4, "folder": 4, "refusals": 4,
    "config": 5, "resume": 5,
    "training": 6, "predict": 6, "loading": 6,
    "testing": 7, "tables": 6, "collect": 7, "fitting": 7, "jobs": 8, "dry_run": 9, "sweep": 10,
}  # fmt: skip
FENCES = {
    "hydra": {"commandline.py", "config.py", "fitting.py", "tables.py", "sweep.py"},
    "omegaconf": {"config.py", "fitting.py", "folder.py", "tables.py", "sweep.py"},
    "av": {
        "data/decoders/container.py",
        "data/decoders/index.py",
        "data/decoders/orientation.py",
        "data/decoders/probe.py",
        "data/decoders/pyav.py",
        "data/encode.py",
    },
    "decord": {"data/decoders/decord.py"},
    "torchcodec": {"data/decoders/torchcodec.py"},
    "PIL": {"data/decoders/frames.py"},
    "pycocotools": {"detection"},
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
def test_imports_point_down_and_keep_the_fences(path: Path) -> None:
    inside = path.relative_to(ROOT / "nonlocal_video")
    room = inside.parts[0].removesuffix(".py")
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "nonlocal_video" and len(parts) > 1 and room in LAYERS and parts[1] != room:
            assert LAYERS[parts[1]] < LAYERS[room], f"{inside} (layer {LAYERS[room]}) imports {name}"
        for library, allowed in FENCES.items():
            if name == library or name.startswith(f"{library}."):
                assert str(inside) in allowed or room in allowed, f"{inside} imports {name}"


def test_every_file_has_a_layer() -> None:
    rooms = {path.relative_to(ROOT / "nonlocal_video").parts[0].removesuffix(".py") for path in FILES}
    assert rooms - {"__init__"} <= LAYERS.keys()


NAMING = {
    "resolve_name": {"network.py"},
    "own_function": {"network.py", "config.py", "testing.py", "collect.py"},
    "function_for": {"config.py", "tools/predict.py"},
    "import_module": {"data/decoders/decord.py", "data/decoders/torchcodec.py"},
    "loads of pickle": {"data/dataset.py"},
    "load of torch": {"models/weights/pickled.py", "models/weights/torch_file.py"},
    "load of yaml": {"plain.py"},
    "load of OmegaConf": {"tables.py", "tools/import_weights.py"},
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
