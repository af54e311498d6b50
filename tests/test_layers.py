import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {
    "types": 0, "distributed": 0, "files": 0, "signals": 0,
    "launch": 1, "data": 1, "models": 1, "metrics": 1,
    "engine": 2, "detection": 2, "reports": 2,
    "settings": 3,
    "commandline": 4, "science": 4, "checks": 4, "evaluation": 4, "build": 4, "recipe": 4, "refusals": 4,
    "config": 5, "resume": 5,
    "training": 6, "predict": 6, "loading": 6,
    "testing": 7, "tables": 6, "collect": 7, "fitting": 7, "jobs": 8, "dry_run": 9, "sweep": 10,
}  # fmt: skip
FENCES = {
    "hydra": {"commandline.py", "config.py", "fitting.py", "tables.py", "sweep.py"},
    "omegaconf": {"config.py", "fitting.py", "tables.py", "sweep.py"},
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


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
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
