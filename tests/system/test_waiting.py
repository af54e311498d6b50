"""Threads that wait for work sleep, in every program; a library changes nothing."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASK = "import os, nonlocal_video.system.waiting; print(os.environ['OMP_WAIT_POLICY'])"
IMPORT = """
import importlib, os, sys
before = dict(os.environ)
for name in sys.argv[1:]: importlib.import_module(name)
changed = {key for key in {*before, *os.environ} if before.get(key) != os.environ.get(key)}
print("CHANGED", {key for key in changed if key.startswith(("OMP", "GOMP", "KMP", "MKL"))})
"""


def python(code: str, *arguments: str, **variables: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env={**environment, **variables}, check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("tool", sorted((ROOT / "tools").glob("*.py")), ids=lambda path: path.name)
def test_every_tool_says_how_to_wait_before_anything_else_is_imported(tool: Path) -> None:
    first = next(node for node in ast.parse(tool.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom))
    assert ast.unparse(first) == "import nonlocal_video.system.waiting"


@pytest.mark.parametrize(("users", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_sleep_unless_the_user_says_otherwise(users: dict[str, str], policy: str) -> None:
    assert python(ASK, **users) == f"{policy}\n"


def test_what_waiting_needs_does_not_load_pytorch() -> None:
    assert python("import sys, nonlocal_video.system.waiting; print('torch' in sys.modules)") == "False\n"


def test_the_package_as_a_library_changes_no_environment() -> None:
    assert python(IMPORT, "nonlocal_video.models", "nonlocal_video.data.loader") == "CHANGED set()\n"
