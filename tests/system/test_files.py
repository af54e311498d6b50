"""Locks of folders, also on systems other than this one."""

import subprocess
import sys
from pathlib import Path

import pytest

from nonlocal_video.data.census.survey import Depth, survey
from nonlocal_video.data.prepare.encode import Encoding
from nonlocal_video.data.prepare.resize import reencode_all
from nonlocal_video.system.files import is_new, locked

ROOT = Path(__file__).parents[2]
NO_POSIX = """
import importlib, os, pathlib, subprocess, sys, types  # Python knows Windows by its msvcrt.
for name in ("fcntl", "termios", "resource", "pwd", "grp", "tty", "pty", "syslog"):
    sys.modules[name] = None
del os.sched_getaffinity
held = []
def locking(descriptor, action, number):
    assert number == 1 and os.lseek(descriptor, 0, os.SEEK_CUR) > os.fstat(descriptor).st_size
    place = os.fstat(descriptor).st_ino
    if action == fake.LK_UNLCK:
        held.remove(place)
    elif place in held:
        raise PermissionError(13, "Permission denied")
    else:
        held.append(place)
fake = types.SimpleNamespace(LK_NBLCK=2, LK_UNLCK=0, locking=locking)
sys.modules["msvcrt"] = fake
"""
"""Takes from a process what Windows lacks, and gives it locks as Windows has them."""


def python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", NO_POSIX + code, *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_imported_without_what_windows_lacks() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "nonlocal_video").rglob("*.py"))
        if path.name != "__init__.py"
    ]
    code = "for name in sys.argv[1:]: importlib.import_module(name)\nfrom nonlocal_video.data.workers import num_cpus\n"
    assert int(python(code + "print(num_cpus())", *modules)) >= 1


@pytest.mark.parametrize("tool", ["check_data", "prepare_data"])
def test_tools_start_without_what_windows_lacks(tool: str) -> None:
    code = f"import runpy\nsys.argv = ['{tool}.py', '--help']\nrunpy.run_path('tools/{tool}.py', run_name='__main__')"
    assert "usage" in python(code).lower() or tool == "predict"


def test_a_lock_of_windows_is_for_one_and_says_who_holds_it(tmp_path: Path) -> None:
    code = """
from nonlocal_video.system.files import locked
folder = pathlib.Path(sys.argv[1])
def refused():
    try:
        with locked(folder):
            return ""
    except ValueError as error:
        return str(error)
with locked(folder):
    assert len(held) == 1
    text = (folder / "lock").read_text()
    assert text.startswith(f"process {os.getpid()} on "), text
    assert f"process {os.getpid()} on " in refused()
    assert len(held) == 1
assert held == []
assert refused() == ""
with locked(folder):
    assert (folder / "lock").read_text() == text
"""
    python(code, str(tmp_path))


def test_a_file_system_without_locks_gives_them_to_everyone(tmp_path: Path) -> None:
    code = """
from nonlocal_video.system.files import locked
def locking(*_):
    raise OSError(22, "Invalid argument")
fake.locking = locking
with locked(pathlib.Path(sys.argv[1])), locked(pathlib.Path(sys.argv[1])):
    pass
"""
    python(code, str(tmp_path))


def test_census_and_copies_share_the_lock_and_say_so_in_their_words(tmp_path: Path) -> None:
    (tmp_path / "census").mkdir()
    (tmp_path / "census/videos.jsonl").touch()
    with (
        locked(tmp_path / "census"),
        pytest.raises(
            ValueError, match=r"^--out: .*/census: another check_data\.py is writing there \(process \d+ on "
        ),
    ):
        survey([], tmp_path / "census", depth=Depth(1.0, False), jobs=1)
    (tmp_path / "copies").mkdir()
    with (
        locked(tmp_path / "copies"),
        pytest.raises(ValueError, match=r"^--resize: .*/copies: another prepare_data\.py is writing there \(process "),
    ):
        reencode_all({}, Encoding(), root=tmp_path / "root", folder=tmp_path / "copies", processes=1, time_limit_s=1)


def test_a_folder_is_new_until_something_is_written(tmp_path: Path) -> None:
    assert is_new(tmp_path)
    with locked(tmp_path):
        assert is_new(tmp_path)
        (tmp_path / "file.tmp").touch()
        assert is_new(tmp_path)
        (tmp_path / "file").touch()
        assert not is_new(tmp_path)
