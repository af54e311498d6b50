"""tools/prepare_data.py, run as a user runs it."""

import hashlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from nonlocal_video.data.lists.classes import read_classes
from nonlocal_video.data.lists.manifest import read_list
from nonlocal_video.data.prepare.encode import write_video
from nonlocal_video.types import Entry, TimedLabel
from tests import small_runs
from tests.conftest import numbered_frames
from tests.forked import Command

TOOL = Path(__file__).parent.parent / "tools/prepare_data.py"


def prepare(*arguments: str | Path) -> int:
    """Runs the tool in this process; returns its exit code, or raises with its error."""
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["prepare_data.py", *map(str, arguments)]
    try:
        runpy.run_path(str(TOOL), run_name="__main__")
    except SystemExit as exit_:
        if isinstance(exit_.code, int):
            return exit_.code
        raise
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)
    raise AssertionError("the tool ends by an exit code")


def error_of(*arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as exit_:
        prepare(*arguments)
    assert str(exit_.value).startswith("error: ")
    return str(exit_.value)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """FOLDER/CLASS/*: two classes with spaces and signs, four videos, other files."""
    folder = tmp_path / "videos"
    for name, size in (
        ("zip up/a.mp4", 64), ("zip up/b, 3.mkv", 96), ("air_drum_-solo-/c 7.mp4", 64), ("air_drum_-solo-/d.avi", 66),
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(folder / name, numbered_frames(12, height=size, width=96))
    (folder / "notes.txt").write_text("")
    (folder / "zip up/._a.mp4").write_text("a Mac leaves these")
    return folder


LINES = "air_drum_-solo-/c 7.mp4 0\nair_drum_-solo-/d.avi 0\nzip up/a.mp4 1\nzip up/b, 3.mkv 1\n"


def state_of(folder: Path) -> dict[str, tuple[str, int]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock"]
    return {str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}


def num_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


# Lists


def test_a_folder_becomes_a_list_and_its_classes(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lists/train.csv"
    assert prepare(videos, "--out", out) == 0
    assert out.read_text() == LINES
    classes = tmp_path / "lists/train_classes.txt"
    assert read_classes(str(classes), num_classes=2) == ["air_drum_-solo-", "zip up"]
    assert [entry.label for entry in read_list(str(out), root=str(videos), num_classes=2)] == [0, 0, 1, 1]
    assert all(os.path.isfile(entry.path) for entry in read_list(str(out), root=str(videos), num_classes=2))
    said = capsys.readouterr().out
    assert f"4 videos of 2 classes; other files, ignored: 1 (1 .txt: {videos}/notes.txt)" in said
    assert "alphabetical order" in said
    assert "to use it: data=custom data.name=NAME " in said
    assert f"data.root={videos}" in said


def test_classes_give_the_order_however_folders_spell_them(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("zip up\nnobody\nair drum (solo)\n")
    assert prepare(videos, "--out", tmp_path / "a.csv", "--classes", tmp_path / "names.txt") == 0
    labels = {"0": "2", "1": "0"}
    expected = [f"{line[:-1]}{labels[line[-1]]}" for line in LINES.splitlines()]
    assert (tmp_path / "a.csv").read_text().splitlines() == expected
    assert not (tmp_path / "a_classes.txt").exists()
    (tmp_path / "other.txt").write_text("zip up\n")
    message = error_of(videos, "--out", tmp_path / "b.csv", "--classes", tmp_path / "other.txt")
    assert "1 of 2 folders are no classes of --classes: air_drum_-solo-" in message


def test_another_list_is_listed_with_its_missing_videos_named(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.txt").write_text("zip up/a.mp4,5\nzip up/gone.mp4,3\nzip up/b, 3.mkv,0\n")
    source = [tmp_path / "old.txt", "--root", videos]
    assert prepare(*source, "--out", tmp_path / "all.txt") == 0
    assert (tmp_path / "all.txt").read_text() == "zip up/a.mp4 5\nzip up/gone.mp4 3\nzip up/b, 3.mkv 0\n"
    assert (tmp_path / "all.txt.missing.txt").read_text() == "zip up/gone.mp4\n"
    assert "missing: 1 of 3 videos" in capsys.readouterr().out
    assert prepare(*source, "--out", tmp_path / "there.txt", "--drop-missing") == 0
    assert (tmp_path / "there.txt").read_text() == "zip up/a.mp4 5\nzip up/b, 3.mkv 0\n"


def test_an_official_list_finds_its_videos_and_labels(videos: Path, tmp_path: Path) -> None:
    name = "0123456789a_000012_000022"
    os.rename(videos / "zip up/a.mp4", videos / f"zip up/{name}.mp4")
    (tmp_path / "names.txt").write_text("air drum (solo)\nzip up\n")
    (tmp_path / "val.csv").write_text(
        "label,youtube_id,time_start,time_end,split\n"
        "zip up,0123456789a,12,22,val\nair drum (solo),absent78901,0,10,val\n"
    )
    arguments = ["--root", videos, "--classes", tmp_path / "names.txt", "--out", tmp_path / "out.csv"]
    assert prepare(tmp_path / "val.csv", *arguments) == 0
    assert (tmp_path / "out.csv").read_text() == f"zip up/{name}.mp4 1\nabsent78901_000000_000010.mp4 0\n"


def test_several_labels_stay(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "many.txt").write_text("zip up/a.mp4 5 1 2\nzip up/b, 3.mkv 4\n")
    assert prepare(tmp_path / "many.txt", "--root", videos, "--out", tmp_path / "out.txt") == 0
    assert (tmp_path / "out.txt").read_text() == "zip up/a.mp4 5 1 2\nzip up/b, 3.mkv 4\n"
    assert "data.labels=video data.format=path_labels" in capsys.readouterr().out
    (tmp_path / "frames.txt").write_text("frames/a 120 3\nframes/b 90 1\n")
    frames = [tmp_path / "frames.txt", "--format", "path_frames_label", "--root", videos]
    assert "got a folder of frames" in error_of(*frames, "--out", tmp_path / "c.txt")


def test_lists_of_charades_stay_lists_of_charades(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"
    (tmp_path / "charades.csv").write_text(f"{header}\nAAAAA,s,k,6,7,Yes,a,b,c,c092 11.90 21.20,24.83\n")
    (tmp_path / "other.csv").write_text(f"{header}\nBBBBB,s,k,6,7,Yes,a,b,c,,5\n")
    (tmp_path / "same.csv").write_text(f"{header}\nAAAAA,s,k,6,7,Yes,a,b,c,,5\n")
    (tmp_path / "no_times.txt").write_text("zip up/a.mp4 5\n")
    for name in ("AAAAA", "BBBBB"):
        write_video(videos / f"{name}.mp4", numbered_frames(3, height=96, width=96))
    both = [tmp_path / "charades.csv", tmp_path / "other.csv"]
    small = ["--root", videos, "--out", tmp_path / "both.csv", "--resize", tmp_path / "small", "--short-side", "32"]
    assert prepare(*both, *small) == 0
    assert (tmp_path / "both.csv").read_text() == "id,actions\nAAAAA,c092 11.9 21.2\nBBBBB,\n"
    assert "data.labels=clip" in capsys.readouterr().out
    entries = read_list(str(tmp_path / "both.csv"), root=str(tmp_path / "small"), num_classes=157)
    assert entries == [
        Entry("AAAAA", f"{tmp_path}/small/AAAAA.mp4", (TimedLabel(92, 11.9, 21.2),)),
        Entry("BBBBB", f"{tmp_path}/small/BBBBB.mp4", ()),
    ]
    assert all(os.path.isfile(entry.path) for entry in entries)
    out = ["--root", videos, "--out", tmp_path / "c.csv"]
    assert "got AAAAA, expected other videos than in" in error_of(both[0], tmp_path / "same.csv", *out)
    assert "labels of different kinds" in error_of(both[0], tmp_path / "no_times.txt", *out)
    (videos / "AAAAA").mkdir()
    assert prepare(*both, *out) == 0
    assert (tmp_path / "c.csv").read_text() == (tmp_path / "both.csv").read_text()


def test_awkward_names_are_read_back(videos: Path, tmp_path: Path) -> None:
    os.rename(videos / "zip up/a.mp4", videos / 'zip up/x.mp4 "12" 3.mp4')
    os.rename(videos / "air_drum_-solo-", videos / '"air" drum')
    os.rename(videos / "zip up", videos / " zip 1, 2")
    assert prepare(videos, "--out", tmp_path / "a.csv") == 0
    entries = read_list(str(tmp_path / "a.csv"), root=str(videos), num_classes=2)
    assert all(os.path.isfile(entry.path) for entry in entries)
    assert len(entries) == 4
    (videos / "zip\nzap").mkdir()
    write_video(videos / "zip\nzap/a.mp4", numbered_frames(3))
    assert "expected one without line breaks" in error_of(videos, "--out", tmp_path / "b.csv")


# Small copies


def test_copies_are_small_whole_and_listed_and_originals_stay(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state_of(videos)
    out, small = tmp_path / "train.csv", tmp_path / "small"
    assert prepare(videos, "--out", out, "--resize", small, "--short-side", "32", "--jobs", "2") == 0
    assert state_of(videos) == before
    assert out.read_text() == LINES.replace(".mkv", ".mp4").replace(".avi", ".mp4")
    for entry in read_list(str(out), root=str(small), num_classes=2):
        assert num_frames(Path(entry.path)) == 12
        with av.open(entry.path) as container:
            assert min(container.streams.video[0].width, container.streams.video[0].height) == 32
    said = capsys.readouterr().out
    assert "short_side 32, gop 32, crf 18; 2 at a time" in said
    assert "videos made: 4, there before: 0, failed: 0" in said

    made = state_of(small)
    assert prepare(videos, "--out", out, "--resize", small, "--short-side", "32") == 0
    assert state_of(small) == made
    assert "videos made: 0, there before: 4, failed: 0" in capsys.readouterr().out
    message = error_of(videos, "--out", out, "--resize", small, "--short-side", "48", "--crf", "20")
    assert "short_side: was 32, now 48; crf: was 18, now 20" in message
    (tmp_path / "other/zip up").mkdir(parents=True)
    os.link(videos / "zip up/a.mp4", tmp_path / "other/zip up/a.mp4")
    message = error_of(tmp_path / "other", "--out", tmp_path / "o.csv", "--resize", small, "--short-side", "32")
    assert f"root: was {videos}, now {tmp_path / 'other'}" in message
    assert state_of(small) == made


def test_broken_and_missing_videos_are_named_and_the_rest_goes_on(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (videos / "zip up/e.mp4").write_text("no video")
    (tmp_path / "all.txt").write_text(f"{LINES}zip up/e.mp4 1\nzip up/gone.webm 1\n")
    command = [tmp_path / "all.txt", "--root", videos, "--out", tmp_path / "o.csv", "--resize", tmp_path / "small"]
    assert prepare(*command) == 1
    listed = [entry.path for entry in read_list(str(tmp_path / "o.csv"), root=str(tmp_path / "small"), num_classes=2)]
    assert [os.path.isfile(path) for path in listed] == [True] * 4 + [False] * 2
    failed = (tmp_path / "o.csv.failed.txt").read_text()
    assert failed == f"{videos}/zip up/e.mp4: Invalid data found when processing input\n"
    assert (tmp_path / "o.csv.missing.txt").read_text() == "zip up/gone.webm\n"
    assert "videos made: 4, there before: 0, failed: 1" in capsys.readouterr().out

    write_video(videos / "zip up/e.mp4", numbered_frames(5))
    assert prepare(*command) == 0
    assert "videos made: 1, there before: 4, failed: 0" in capsys.readouterr().out
    assert not (tmp_path / "o.csv.failed.txt").exists()


def test_one_class_of_many_folders_is_asked_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("run", "sit"):
        (tmp_path / "set/videos" / name).mkdir(parents=True)
        write_video(tmp_path / "set/videos" / name / "a.mp4", numbered_frames(3))
    assert prepare(tmp_path / "set", "--out", tmp_path / "o.csv") == 0
    said = capsys.readouterr().out
    assert "videos is taken for the one class; if its 2 folders are the classes, name" in said
    assert prepare(tmp_path / "set/videos", "--out", tmp_path / "p.csv") == 0
    assert "taken for the one class" not in capsys.readouterr().out


def test_a_video_that_takes_too_long_is_given_up(videos: Path, tmp_path: Path) -> None:
    write_video(videos / "zip up/long.mp4", (np.full((720, 1280, 3), k % 250, np.uint8) for k in range(100)))
    code = prepare(videos, "--out", tmp_path / "o.csv", "--resize", tmp_path / "small", "--time-limit", "0.1")
    assert code == 1
    assert "long.mp4: not done after 0.1 s (--time-limit)" in (tmp_path / "o.csv.failed.txt").read_text()
    assert not [path for path in (tmp_path / "small").rglob("*") if "long" in path.name]


def start(videos: Path, tmp_path: Path) -> "subprocess.Popen[bytes] | Command":
    """The tool on 30 videos in a process of its own, killed by no one yet but with some videos done."""
    write_video(videos / "zip up/k0.mp4", numbered_frames(60, height=180, width=320))
    for k in range(1, 30):
        shutil.copy(videos / "zip up/k0.mp4", videos / f"zip up/k{k}.mp4")
    command = [TOOL, videos, "--out", tmp_path / "o.csv", "--resize", tmp_path / "small", "--jobs", "2"]
    process = small_runs.start([sys.executable, *map(str, command)], tmp_path / "log")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list((tmp_path / "small").rglob("*.mp4"))) < 5:
        time.sleep(0.01)
    return process


def processes_of(tmp_path: Path) -> list[int]:
    """Those that have a file below this folder open, and those started by our command."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            files = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(name.startswith(str(tmp_path)) for name in files):
            found.append(int(process.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_whole_videos_and_goes_on(videos: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = start(videos, tmp_path)
    children = [int(pid) for pid in subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()]  # fmt: skip
    process.send_signal(number)
    code = process.wait(timeout=60)
    assert code == (-9 if number == signal.SIGKILL else 128 + number)
    assert children, "the pool must have been running"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in children):
        time.sleep(0.1)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    while time.monotonic() < deadline and processes_of(tmp_path / "small"):
        time.sleep(0.1)
    assert processes_of(tmp_path / "small") == []

    done = state_of(tmp_path / "small")
    whole = [Path(name) for name in done if name.endswith(".mp4")]
    assert 5 <= len(whole) < 34, "the stop must come in the middle"
    assert all(num_frames(path) == (60 if path.name.startswith("k") else 12) for path in whole)
    assert not (tmp_path / "o.csv").exists()

    (tmp_path / "small/zip up/k19.mp4.01234567.unfinished").write_text("left by a killed run")
    assert prepare(videos, "--out", tmp_path / "o.csv", "--resize", tmp_path / "small", "--jobs", "2") == 0
    after = state_of(tmp_path / "small")
    assert {name: after[name] for name in map(str, whole)} == {name: done[name] for name in map(str, whole)}
    assert len(after) == 35
    assert not [name for name in after if name.endswith("unfinished")]


# Refusals: nothing may have been written


REFUSED = {
    "a clash": (["--resize", "{tmp}/small"], "1 new videos would be made of several each"),
    "originals": (["--resize", "{tmp}/videos"], "expected a folder outside of the originals"),
    "within originals": (["--resize", "{tmp}/videos/small"], "expected a folder outside of the originals"),
    "by a link": (["--resize", "{tmp}/link"], "expected a folder outside of the originals"),
    "other files": (["--resize", "{tmp}/full"], "got a folder with other files"),
    "another list": (["--out", "{tmp}/there.csv"], "there.csv is there and says something else"),
    "a folder as list": (["--out", "{tmp}/full"], "a folder, expected a file"),
    "a root": (["--root", "{tmp}"], "is a folder, and the paths start from it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_gives_one_clear_message_and_writes_nothing(case: str, videos: Path, tmp_path: Path) -> None:
    if case == "a clash":
        write_video(videos / "zip up/a.mkv", numbered_frames(3))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a.mp4").write_text("")
    (tmp_path / "link").symlink_to(videos)
    (tmp_path / "there.csv").write_text("mine")
    before = state_of(tmp_path)
    options, message = REFUSED[case]
    out = [] if "--out" in options else ["--out", tmp_path / "out.csv"]
    assert message in error_of(videos, *out, *(option.format(tmp=tmp_path) for option in options))
    assert state_of(tmp_path) == before


def test_all_clashes_of_names_are_told_at_once(videos: Path, tmp_path: Path) -> None:
    for k in range(12):
        for ending in (".mp4", ".MKV"):
            (videos / f"zip up/k{k:02d}{ending}").touch()
    shutil.copy(videos / "zip up/a.mp4", videos / "zip up/a.mkv")
    message = error_of(videos, "--out", tmp_path / "o.csv", "--resize", tmp_path / "small")
    assert "13 new videos would be made of several each; rename all but one of:" in message
    lines = message.splitlines()[1:]
    assert lines[0] == f"  zip up/a.mp4: {videos}/zip up/a.mkv, {videos}/zip up/a.mp4"
    assert len(lines) == 11
    assert lines[-1] == "  ... and 3 more"


def test_folders_of_frames_are_listed_and_read_back(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("zip up/clip 12", "zip up/deeper/clip.2", "air_drum_-solo-/x"):
        (videos / name).mkdir(parents=True)
        for k in (1, 2, 3):
            (videos / name / f"img_{k:05d}.jpg").touch()
    (videos / "zip up/clip 12/notes.txt").touch()
    (videos / "zip up/thumb_1.jpg").touch()  # Beside videos, an image is no frame.
    out = tmp_path / "train.csv"
    assert prepare(videos, "--out", out) == 0
    found = {entry.path: entry.label for entry in read_list(str(out), root=str(videos), num_classes=2)}
    assert len(found) == 7
    assert {path: label for path, label in found.items() if os.path.isdir(path)} == {
        f"{videos}/zip up/clip 12": 1, f"{videos}/zip up/deeper/clip.2": 1, f"{videos}/air_drum_-solo-/x": 0
    }  # fmt: skip
    said = capsys.readouterr().out
    assert "7 videos of 2 classes (3 of them folders of frames); other files, ignored: 3 (2 .txt, 1 .jpg: " in said
    message = error_of(videos, "--out", tmp_path / "o.csv", "--resize", tmp_path / "small")
    assert f"--resize: got 3 folders of frames, such as {videos}/" in message
    assert not (tmp_path / "small").exists()


def test_folders_without_classes_are_explained(videos: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "o.csv"]
    assert "expected one for each class" in error_of(videos / "zip up", *out)
    os.rename(videos, tmp_path / "train")
    (tmp_path / "annotations").mkdir()
    assert f"take {tmp_path / 'train'}" in error_of(tmp_path, *out)
    (tmp_path / "none/class").mkdir(parents=True)
    assert "got no videos in 1 folders" in error_of(tmp_path / "none", *out)


def test_lists_without_videos_are_explained(videos: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "o.csv"]
    (tmp_path / "list.txt").write_text("gone.mp4 0\n")
    assert "none of the 1 videos is there" in error_of(tmp_path / "list.txt", "--root", videos, *out)
    assert "name the folder that its paths start from" in error_of(tmp_path / "list.txt", *out)
    (tmp_path / "list.txt").write_text(f"{videos}/zip up/a.mp4 0\n")
    other = tmp_path / "other"
    other.mkdir()
    assert "outside of" in error_of(tmp_path / "list.txt", "--root", other, *out, "--resize", tmp_path / "small")
    assert prepare(tmp_path / "list.txt", "--root", other, *out) == 0
    assert (tmp_path / "o.csv").read_text() == f"{videos}/zip up/a.mp4 0\n"
    message = error_of(tmp_path / "list.txt", "--root", other, "--out", tmp_path / "list.txt", "--force")
    assert "the source itself" in message


def test_a_list_that_is_there_is_replaced_by_force_only(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    assert prepare(videos, "--out", out) == 0
    assert prepare(videos, "--out", out) == 0
    out.write_text("mine")
    error_of(videos, "--out", out)
    assert out.read_text() == "mine"
    assert prepare(videos, "--out", out, "--force") == 0
    assert out.read_text() == LINES


def test_two_runs_do_not_write_into_one_folder(videos: Path, tmp_path: Path) -> None:
    process = start(videos, tmp_path)
    message = error_of(videos, "--out", tmp_path / "p.csv", "--resize", tmp_path / "small")
    assert "another prepare_data.py is writing there" in message
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)


def test_the_mark_of_a_folder_says_how_it_was_made(videos: Path, tmp_path: Path) -> None:
    prepare(videos, "--out", tmp_path / "o.csv", "--resize", tmp_path / "small")
    made_by = json.loads((tmp_path / "small/prepare.json").read_text())
    assert made_by == {"root": str(videos), "short_side": 256, "gop": 32, "crf": 18}
